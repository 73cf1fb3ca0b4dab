# All targets for people and CI. A target installs only what it needs, such as Envoy or Node.js.
#
# ENVOY=/path/to/envoy uses your own Envoy instead of the one that `make setup` installs.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Targets depend on setup targets, which have to run first. cargo is parallel itself.
.NOTPARALLEL:

# Absolute paths, because cargo runs each test in the folder of its package.
envoy := $(abspath $(or $(ENVOY),.tools/envoy))
wasm_test_runner := $(abspath .tools/bin/wasm-bindgen-test-runner)

# Each folder in filters/ is a package sluice-FOLDER.
filters := $(patsubst filters/%/Cargo.toml,--package sluice-%,$(wildcard filters/*/Cargo.toml))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: ## install the toolchain, Envoy, httpbin and the test runner for wasm
	@tools/setup.sh

.PHONY: setup-rust
setup-rust:
	@tools/setup.sh rust

.PHONY: setup-envoy
setup-envoy:
	@tools/setup.sh rust envoy

.PHONY: setup-tests
setup-tests:
	@tools/setup.sh rust envoy wasm-tests tls-tests

.PHONY: setup-scenarios
setup-scenarios:
	@tools/setup.sh rust envoy scenarios

.PHONY: build
build: setup-rust ## build the wasm modules into dist/
	cargo xtask build

.PHONY: install
install: setup-rust ## install the command sluice into ~/.cargo/bin, with manual and completions
	cargo install --path cli --locked
	@tools/install-manual.sh

.PHONY: certificates certs
certs: certificates
certificates: ## create the certificates for scenarios and tests in dist/certificates
	@tools/certificates.sh

.PHONY: test
test: setup-tests build certificates ## run all tests: native, real Envoy, wasm in Node.js
	ENVOY='$(envoy)' cargo test --workspace --locked
	CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER='$(wasm_test_runner)' \
	  cargo test --package sluice-conformance --target wasm32-unknown-unknown --locked

.PHONY: costs
costs: build ## rewrite the tables of module costs and interfaces: tests/wasm/*.json
	SLUICE_REWRITE_COSTS=1 \
	  cargo test --package sluice-wasm-tests --test costs --test interfaces --locked

.PHONY: memory
memory: build ## test that module memory does not grow over a million streams; takes minutes
	cargo test --package sluice-wasm-tests --test memory --locked -- --ignored

.PHONY: churn
churn: setup-envoy build ## test outlier detection while hosts come and go for two minutes
	ENVOY='$(envoy)' cargo test --package sluice-e2e --test rollout --locked -- --ignored long_churn

.PHONY: test-istio
test-istio: setup-envoy ## test the manifests with a real istiod and compare with Istio; requires Go
	@tools/setup.sh istio
	@$(MAKE) build certificates
	cargo build --package sluice-cli --package sluice-istio --locked
	ENVOY='$(envoy)' cargo run --package sluice-istio --locked

.PHONY: corpus
corpus: setup-rust ## compare sluice check with Istio's validation; SLUICE_CORPUS=DIR adds a folder
	@tools/setup.sh verdict || [ $$? = 77 ]
	cargo build --package sluice-cli --package sluice-istio --locked
	cargo run --package sluice-istio --locked -- verdicts

.PHONY: bench
bench: setup-envoy build ## measure the filters, compared with Envoy's own features
	cargo build --release --package sluice-bench --locked
	@for benchmark in requests rules patterns start lists updates delays waiting mirrors sni egress \
	    outliers; do \
	  echo; echo "== $$benchmark"; \
	  ENVOY='$(envoy)' target/release/sluice-bench $$benchmark || exit 1; \
	done

fuzz_seconds ?= 60

.PHONY: fuzz
fuzz: setup-rust ## fuzz each target for fuzz_seconds=60; requires a nightly compiler and cargo-fuzz
	@for target in client_hello document request; do \
	  mkdir -p "tests/fuzz/corpus/$$target"; \
	  cargo +nightly fuzz run --fuzz-dir tests/fuzz "$$target" -- \
	    -max_total_time=$(fuzz_seconds) -max_len=3000 -verbosity=0 -print_final_stats=1 || exit 1; \
	done

.PHONY: sandbox
sandbox: setup-envoy build certificates ## run Envoy with the modules until Ctrl-C
	@ENVOY='$(envoy)' tools/sandbox.sh

.PHONY: compose-test
compose-test: setup-envoy build certificates ## test docker-compose.yaml, if there is Docker
	@ENVOY='$(envoy)' tests/compose/run.sh

.PHONY: scenario
scenario: setup-scenarios build certificates ## run one until Ctrl-C: make scenario NAME=fault-delay
	@ENVOY='$(envoy)' cargo run --quiet --package sluice-scenarios --locked -- run '$(NAME)'

.PHONY: scenarios
scenarios: setup-scenarios build certificates ## check the output of all scenarios; NAME=... for one
	@ENVOY='$(envoy)' cargo run --quiet --package sluice-scenarios --locked -- check $(NAME)

.PHONY: fmt
fmt: setup-rust ## format the source code
	cargo fmt --all

.PHONY: lint
lint: setup-rust ## check format and lints, for native and wasm targets
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy $(filters) --target wasm32-wasip1 --locked -- -D warnings

.PHONY: deny
deny: setup-rust ## check licences, duplicates and advisories of dependencies; builds cargo-deny
	@tools/setup.sh deny
	@tools/deny.sh

.PHONY: validate
validate: setup-envoy build certificates ## validate configurations with Envoy
	@ENVOY='$(envoy)' tools/validate.sh

.PHONY: size
size: build ## print the size of each module, plain and compressed
	@for module in dist/*.wasm; do \
	  echo "$$module  $$(wc -c <"$$module") bytes, $$(gzip -9c "$$module" | wc -c) with gzip"; \
	done

.PHONY: image
registry ?= localhost/sluice
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
image: build ## build an image of each module; registry=localhost/sluice, docker=podman
	@for module in dist/*.wasm; do \
	  name=$$(basename "$$module" .wasm); \
	  $(or $(docker),docker) build --quiet --file Containerfile \
	    --build-arg MODULE="$$name" --build-arg VERSION='$(version)' \
	    --tag "$(registry)/$$name:$(version)" . || exit 1; \
	done

.PHONY: clean
clean: ## remove build output, but keep the tools in .tools
	cargo clean
	rm -rf dist
