#!/bin/sh
# Runs a command with a private PostgreSQL cluster:  tests/postgres.sh cargo test
# The cluster is in a temporary folder, listens on a unix socket there and is removed at the end.
# Its address is in PACEGATE_TEST_POSTGRES_URL.
set -eu

newest=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 2>/dev/null | sort -V | tail -n 1)
if [ -n "$newest" ]; then
    bin=$newest/bin
elif command -v pg_config >/dev/null; then
    bin=$(pg_config --bindir)
else
    echo "PostgreSQL is not installed: run 'make setup-tests'" >&2
    exit 1
fi

folder=$(mktemp -d /tmp/pacegate-pg.XXXXXX)

# PostgreSQL refuses to run as root. Debian's package creates the user `postgres`.
as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd "$folder" && exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@")
    else
        (cd "$folder" && exec "$@")
    fi
}

started=no
# shellcheck disable=SC2329 # the trap calls it
clean_up() {
    trap - EXIT INT TERM HUP
    if [ "$started" = yes ]; then
        as_server "$bin/pg_ctl" stop --silent --mode=immediate --pgdata="$folder/data" || true
    fi
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ "$(id -u)" -eq 0 ]; then
    chown postgres:postgres "$folder"
fi
as_server "$bin/initdb" --pgdata="$folder/data" --username=pacegate --auth=trust --encoding=UTF8 \
    --locale=C --no-sync >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }
cat >>"$folder/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$folder'
max_connections = 400
CONF
# Tests may lose their data when the machine crashes. Benchmarks have to wait for the disk.
if [ "${PACEGATE_TEST_POSTGRES_DURABLE:-no}" = no ]; then
    cat >>"$folder/data/postgresql.conf" <<CONF
fsync = off
synchronous_commit = off
full_page_writes = off
CONF
fi
as_server "$bin/pg_ctl" start --silent --wait --timeout=60 --pgdata="$folder/data" --log="$folder/log" \
    || { cat "$folder/log" >&2; exit 1; }
started=yes

PACEGATE_TEST_POSTGRES_URL="postgres://pacegate@localhost/postgres?host=$folder"
export PACEGATE_TEST_POSTGRES_URL
# Not `exec`: the trap has to run when the command ends.
"$@"
