#!/bin/sh
# Installs the missing tools that the tests need: Debian packages, and under target/ a Python with
# numpy and the programs of tests/clients. If nothing is missing, it needs no root rights and changes
# nothing.
set -eu

missing=
need() { # a package, and a command that succeeds if it is installed
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has_postgres() {
    ls /usr/lib/postgresql/*/bin/initdb || { command -v pg_config && [ -x "$(pg_config --bindir)/initdb" ]; }
}

need postgresql has_postgres
need openssl command -v openssl
need git command -v git
need util-linux command -v setpriv
need nodejs command -v node
need npm command -v npm
need python3 command -v python3
need python3-venv python3 -c 'import ensurepip, venv'
need default-jdk-headless command -v javac
need maven command -v mvn
need golang-go command -v go

install_packages() {
    echo "Installing what the tests need:$missing"
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        as_root=sudo
    fi
    if ! command -v apt-get >/dev/null || { [ -n "$as_root" ] && ! command -v sudo >/dev/null; }; then
        echo "These are missing and cannot be installed from here:$missing" >&2
        exit 1
    fi
    # Debian would also create a cluster. The tests create their own.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        $as_root mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
}
[ -z "$missing" ] || install_packages

# The Python environment of tests/reference. Rebuilt when Python or the requirements change.
reference=target/reference
requirements=tests/reference/requirements.txt
cd "$(dirname "$0")/.."
if ! cmp -s "$requirements" "$reference/installed.txt" || ! "$reference/bin/python" -c 'import numpy'; then
    python3 -m venv --clear "$reference"
    "$reference/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$reference/installed.txt"
fi

# The programs that use the tracers' own SDKs.
tests/clients/setup.sh
