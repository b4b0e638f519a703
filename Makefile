# Entry points for developers and CI. `make test` runs all CI checks, on a fresh clone too.

.PHONY: demo build release run action test setup-tests test-data fuzz

# ---- run ----

# Sends a made-up pipeline to the real service, prints the comment on a slowed pull request, and
# keeps the pages at http://127.0.0.1:8080. A debug build, because it compiles faster.
demo:
	cargo run --locked -- demo

# Runs the service with a database file in this folder, at http://127.0.0.1:8080.
run:
	cargo run --locked -- serve

# ---- build ----

# A debug build for development.
build:
	cargo build --locked

# Builds target/release/pacegate. The Dockerfile runs the same command.
release:
	cargo build --release --locked

# Builds the companion action's bundle, action/dist, which is not committed.
action: action/node_modules/.package-lock.json
	npm --prefix action run build --silent

action/node_modules/.package-lock.json: action/package.json action/package-lock.json action/.npmrc
	cd action && npm ci
	@touch $@

# ---- tests ----

# Runs all checks: format, lints, documentation, test data, every test on both databases, licences.
# Ends with a table of the seconds that each part took.
test: setup-tests
	@tests/run.sh

# Installs the missing tools that the tests need.
setup-tests:
	@tests/setup.sh

# GitHub's API description and example payloads, from npm; not committed.
test-data: target/openapi/github.json

tests/node_modules/.package-lock.json: tests/package.json tests/package-lock.json tests/.npmrc
	cd tests && npm ci
	@touch $@

target/openapi/github.json: tests/openapi/extract.mjs tests/node_modules/.package-lock.json
	node tests/openapi/extract.mjs

# Fuzzes each decoder, the redactor and the templater. `SECONDS=600` sets the time for each target,
# TARGETS="otlp_json redact" selects targets. Not part of `make test`.
fuzz:
	SECONDS_EACH=$(or $(SECONDS),600) tests/fuzz/run.sh $(TARGETS)
