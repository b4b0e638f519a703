# What people and CI call. `make test` is the whole of the project's CI, on a fresh clone too.

.PHONY: test setup-tests test-data

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
