#!/bin/sh
# Builds the programs of tests/clients and the Collector under target/clients. Rebuilds a program only
# when its sources change. `tests/setup.sh` installs the languages first.
set -eu
cd "$(dirname "$0")"
built=$(cd ../.. && pwd)/target/clients
mkdir -p "$built"

# Arguments: a name, the source files, and the build command.
build() {
    name=$1
    sources=$2
    shift 2
    # shellcheck disable=SC2086 # a list of files
    sums=$(sha256sum $sources)
    if [ -f "$built/$name.sums" ] && [ "$sums" = "$(cat "$built/$name.sums")" ]; then
        return 0
    fi
    begun=$(date +%s)
    "$@"
    printf '%s\n' "$sums" >"$built/$name.sums"
    printf 'Built %s in %s s\n' "$name" "$(($(date +%s) - begun))"
}

go_version=$(sed -n 's/^go //p' collector/go.mod)

# Go 1.21 and newer download the version in go.mod. For an older Go, such as Debian 12's, this does the
# same: it fetches that version as a module, which Go's checksum database verifies.
find_go() {
    minor=$(go env GOVERSION | sed 's/^go1\.\([0-9]*\).*/\1/')
    if [ "$minor" -ge 21 ]; then
        return 0
    fi
    toolchain=golang.org/toolchain@v0.0.1-go$go_version.$(go env GOOS)-$(go env GOARCH)
    go mod download "$toolchain"
    found=$(go env GOMODCACHE)/$toolchain
    # Files of a module are not executable, and its folder may be read-only except for root.
    rm -rf "$built/go" && cp -r "$found" "$built/go" && chmod -R u+w "$built/go"
    chmod +x "$built"/go/bin/* "$built"/go/pkg/tool/*/*
    PATH=$built/go/bin:$PATH
    export PATH
}

build_go() { # the folder, and the program
    find_go
    (cd "$1" && GOTOOLCHAIN=auto go build -mod=readonly -trimpath -ldflags='-s -w' -o "$built/$2" .)
}

build_python() {
    python3 -m venv --clear "$built/python/$1"
    "$built/python/$1/bin/pip" install --quiet --disable-pip-version-check --requirement "python/$1.txt"
}

build_java() {
    mvn --quiet --batch-mode --file java/pom.xml -Dopentelemetry.version="$1" process-classes
}

build_node() {
    (cd node && npm ci)
}

build collector "$(echo collector/*)" build_go collector otelcol
build go "$(echo go/*)" build_go go go-clients
for environment in otlp zipkin jaeger-thrift jaeger-grpc pytest; do
    build "python-$environment" "python/$environment.txt" build_python "$environment"
done
# An old version of the SDK, and a current one.
for version in 1.31.0 1.67.0; do
    build "java-$version" "java/pom.xml $(echo java/src/main/java/*)" build_java "$version"
done
[ -d node/node_modules ] || rm -f "$built/node.sums"
build node "node/package.json node/package-lock.json" build_node
