#!/bin/sh
# Fuzzes each target (or the named ones) for SECONDS, one after the other, from the samples as
# seeds. Needs cargo-fuzz and a C++ compiler; no nightly: stable is told to accept its flags.
# What is found is kept in target/fuzz, which git ignores; a crash becomes a test.
set -eu
cd "$(dirname "$0")/../.."
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="$PWD/target/fuzz/build"
seconds=${SECONDS_EACH:-600}
command -v cargo-fuzz >/dev/null || { echo "install cargo-fuzz: cargo install cargo-fuzz --locked" >&2; exit 2; }
# The versions that are shipped are the ones that are fuzzed.
cp Cargo.lock tests/fuzz/Cargo.lock
[ $# -gt 0 ] || set -- $(cargo fuzz list --fuzz-dir tests/fuzz)
failed=
for target in "$@"; do
	mkdir -p "target/fuzz/corpus/$target" "target/fuzz/found/$target"
	# No address sanitizer: the crate forbids unsafe code, and without it ten times more is tried.
	cargo fuzz run "$target" --fuzz-dir tests/fuzz --sanitizer none \
		"target/fuzz/corpus/$target" tests/samples -- \
		-max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="target/fuzz/found/$target/" || failed="$failed $target"
done
[ -z "$failed" ] || { echo "crashed:$failed; the inputs are in target/fuzz/found" >&2; exit 1; }
