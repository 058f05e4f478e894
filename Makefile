# The two commands: `make demo` and `make test`. Both install what is missing first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
export PATH := $(CURDIR)/.cache/uv/bin:$(PATH)
export TOWPATH_TEST_PYENV := $(CURDIR)/.venv
ARGS ?=

.PHONY: demo test setup web build check format licences bench fuzz

demo: setup web build
	.venv/bin/python scripts/demo.py --towpath target/release/towpath $(ARGS)

test: setup web check
	scripts/with-postgres cargo nextest run --workspace --no-fail-fast
	cd web && npm run --silent budget && node scripts/e2e.mjs fixtures
	cargo build --quiet --bin towpath
	.venv/bin/python scripts/demo.py --towpath target/debug/towpath --exit --page-test

setup:
	scripts/setup

# npm runs only when something of the page changed.
WEB_SOURCES := $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -print)
web: web/dist/index.html
web/dist/index.html: $(WEB_SOURCES)
	cd web && npm ci --no-audit --no-fund --loglevel=error && npm run build
	touch $@

build:
	cargo build --release --bin towpath

check: web licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	cd web && npm run check

format:
	cargo fmt --all

licences:
	python3 scripts/licences.py

# Figures of docs/benchmarks.md; needs an idle machine.
bench: setup web
	cargo build --profile dist --bin towpath
	.venv/bin/python benches/run.py --towpath target/dist/towpath $(ARGS)

# Property tests with many more cases.
fuzz: setup
	PROPTEST_CASES=4096 scripts/with-postgres cargo nextest run --workspace --no-fail-fast
