#!/bin/sh
# Fuzzes each target, or the named ones, for SECONDS_EACH seconds, with the samples as seeds. Needs
# cargo-fuzz and a C++ compiler. RUSTC_BOOTSTRAP makes the stable compiler accept nightly flags.
# Findings are in target/fuzz, which git ignores. Add a test for each crash.
set -eu
cd "$(dirname "$0")/../.."
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="$PWD/target/fuzz/build"
seconds=${SECONDS_EACH:-600}
command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is not installed: run 'cargo install cargo-fuzz --locked'" >&2; exit 2; }
# Fuzzes the dependency versions that are shipped.
cp Cargo.lock tests/fuzz/Cargo.lock
[ $# -gt 0 ] || set -- $(cargo fuzz list --fuzz-dir tests/fuzz)
failed=
for target in "$@"; do
	mkdir -p "target/fuzz/corpus/$target" "target/fuzz/found/$target"
	# No address sanitizer: the crate forbids unsafe code, and runs are ten times as fast without it.
	cargo fuzz run "$target" --fuzz-dir tests/fuzz --sanitizer none \
		"target/fuzz/corpus/$target" tests/samples -- \
		-max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="target/fuzz/found/$target/" || failed="$failed $target"
done
[ -z "$failed" ] || { echo "crashed:$failed; the inputs are in target/fuzz/found" >&2; exit 1; }
