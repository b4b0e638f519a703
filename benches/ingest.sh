#!/bin/sh
# How many spans a second are taken and durably stored, beside an OpenTelemetry Collector that writes the
# same requests to a file, or discards them:
#   benches/ingest.sh                     everything, about half an hour
#   benches/ingest.sh protobuf overload   of protobuf single run gzip json grpc overload
# SECONDS_EACH (10), ROUNDS (3), REQUESTS (1000: distinct ones of each kind) and OVERLOAD_SECONDS (30) change
# how long that takes; PROFILE (release, or bench: built faster, without link-time optimization) what is
# measured. Needs wrk, h2load (Debian: nghttp2-client), psql, python3, and the Collector that `make setup-tests`
# builds. Figures are printed, never judged; a count that does not add up ends it.
set -eu
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
for program in wrk h2load psql python3; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 1; }
done
collector=target/clients/otelcol
[ -x "$collector" ] || { echo "$collector is not there: run 'make setup-tests'" >&2; exit 1; }

# On a disk, not in memory: what is measured waits for it.
folder=$(mktemp -d "$PWD/target/ingest.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cargo bench --quiet --locked --bench decode -- "$folder" "${REQUESTS:-1000}" >&2
# Afterwards: both profiles put their program in one place.
cargo build --locked --profile "$profile"

PACEGATE_TEST_POSTGRES_DURABLE=yes tests/postgres.sh \
    python3 benches/ingest/measure.py "$PWD/target/release/pacegate" "$PWD/$collector" "$folder" "$@"
