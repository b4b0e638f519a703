# What people and CI call. `make test` is the whole of the project's CI, on a fresh clone too.

.PHONY: demo build release run action test setup-tests test-data fuzz

# ---- run ----

# A made-up pipeline against the real service: prints the comment on a slowed pull request and
# leaves the pages up at http://127.0.0.1:8080. A debug build, because a newcomer waits less for it.
demo:
	cargo run --locked -- demo

# The service on a database file in this folder, at http://127.0.0.1:8080.
run:
	cargo run --locked -- serve

# ---- build ----

# For work on the code.
build:
	cargo build --locked

# What is installed: target/release/pacegate. The Dockerfile runs the same command.
release:
	cargo build --release --locked

# The companion action's bundle, which is never kept in the repository: action/dist.
action: action/node_modules/.package-lock.json
	npm --prefix action run build --silent

action/node_modules/.package-lock.json: action/package.json action/package-lock.json action/.npmrc
	cd action && npm ci
	@touch $@

# ---- tests ----

# Format, lints, documentation, test data, every test on both databases, licences; ends with a
# table of how long each part took.
test: setup-tests
	@tests/run.sh

# Installs what the tests need and this machine lacks.
setup-tests:
	@tests/setup.sh

# GitHub's API description and example payloads, from npm; kept out of the repository.
test-data: target/openapi/github.json

tests/node_modules/.package-lock.json: tests/package.json tests/package-lock.json tests/.npmrc
	cd tests && npm ci
	@touch $@

target/openapi/github.json: tests/openapi/extract.mjs tests/node_modules/.package-lock.json
	node tests/openapi/extract.mjs

# Each decoder, the redactor and the templater against arbitrary input: `make fuzz SECONDS=600`
# gives each that long, TARGETS="otlp_json redact" names some. Not part of `make test`.
fuzz:
	SECONDS_EACH=$(or $(SECONDS),600) tests/fuzz/run.sh $(TARGETS)
