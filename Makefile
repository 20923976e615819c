# The daily loop. Everything is built with the one profile `release`, outside the clone.
#
#   make demo     build, then a grid of three instances on this machine with a SQL prompt   (ARGS="--no-shell --data DIR …")
#   make test     build, then all tests, those with real instances too                      (ARGS="name of a test")
#   make check    formatting, clippy and docs, warnings denied; reads only
#   make fix      writes what `make check` would ask for and a tool can do
#   make bench    pgbench against a grid and against PostgreSQL with synchronous standbys   (ARGS="--short …")
#   make build    the two programs, quorate and quorate-admin

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export CARGO_TARGET_DIR ?= $(HOME)/.cache/quorate/target
BIN := $(CARGO_TARGET_DIR)/release
ARGS ?=

# All commands name the whole workspace: with one set of packages cargo settles on one set of features, and RocksDB is compiled once.
CARGO_SCOPE := --release --workspace

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

.PHONY: build
build:
	@scripts/install-prerequisites build
	cargo build $(CARGO_SCOPE) --bins

.PHONY: demo
demo: build
	@exec "$(BIN)/quorate" demo $(ARGS)

# The programs are built with the tests, which start them as processes of their own. Tests that measure how long a failure is felt run
# alone (nextest's configuration says so for them; cargo knows no such thing, and runs one test at a time).
.PHONY: test
test:
	@scripts/install-prerequisites build test
	cargo build $(CARGO_SCOPE) --bins --tests
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo "cargo nextest run $(CARGO_SCOPE) $(ARGS)"; \
		cargo nextest run $(CARGO_SCOPE) --no-fail-fast $(ARGS); \
	else \
		echo "cargo test $(CARGO_SCOPE) $(ARGS)"; \
		RUST_TEST_THREADS=1 cargo test $(CARGO_SCOPE) --no-fail-fast --all-targets $(ARGS); \
	fi

.PHONY: check
check:
	@scripts/install-prerequisites build
	cargo fmt --all --check
	cargo clippy $(CARGO_SCOPE) --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_SCOPE) --locked --no-deps --document-private-items

.PHONY: fix
fix:
	@scripts/install-prerequisites build
	cargo clippy $(CARGO_SCOPE) --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

.PHONY: bench
bench:
	@scripts/install-prerequisites build bench
	cargo build $(CARGO_SCOPE) --bins
	@exec bench/run --quorate "$(BIN)/quorate" $(ARGS)
