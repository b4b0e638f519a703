#!/bin/sh
# Measures how many spans a second the service accepts and durably stores. Compares it with an
# OpenTelemetry Collector that writes the same requests to a file, or discards them.
#
#   benches/ingest.sh                     everything, about half an hour
#   benches/ingest.sh protobuf overload   some of protobuf single run gzip json grpc overload
#
# Environment variables, with defaults:
# - SECONDS_EACH (10), ROUNDS (3) and OVERLOAD_SECONDS (30) set the duration.
# - REQUESTS (1000) is the number of distinct requests of each kind.
# - PROFILE (release) is the build to measure. `bench` builds faster, without link-time optimization.
#
# Needs wrk, h2load (Debian: nghttp2-client), psql, python3, and the Collector that `make setup-tests`
# builds. Prints figures without judging them, but fails if the counts of spans do not match.
set -eu
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
for program in wrk h2load psql python3; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 1; }
done
collector=target/clients/otelcol
[ -x "$collector" ] || { echo "$collector is missing: run 'make setup-tests'" >&2; exit 1; }

# On a disk, not in memory, because the measured programs wait for the disk.
folder=$(mktemp -d "$PWD/target/ingest.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cargo bench --quiet --locked --bench decode -- "$folder" "${REQUESTS:-1000}" >&2
# After the benchmark's build, because both profiles write their program to the same path.
cargo build --locked --profile "$profile"

PACEGATE_TEST_POSTGRES_DURABLE=yes tests/postgres.sh \
    python3 benches/ingest/measure.py "$PWD/target/release/pacegate" "$PWD/$collector" "$folder" "$@"
