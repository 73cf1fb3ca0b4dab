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

# Packages of the wasm modules.
filters := $(shell sed -n 's/^name = /--package /p' $(filter-out filters/native/Cargo.toml, \
  $(wildcard filters/*/Cargo.toml filters/*/module/Cargo.toml)))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

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

.PHONY: module
module: setup-rust ## build libsluice.so, the filters as a dynamic module of Envoy, into dist/
	cargo xtask module

.PHONY: install
install: setup-rust ## install the command sluice into ~/.cargo/bin, with manual and completions
	cargo install --path cli --locked
	@tools/install-manual.sh

.PHONY: certificates certs
certs: certificates
certificates: ## create the certificates for scenarios and tests in dist/certificates
	@tools/certificates.sh

.PHONY: test
test: setup-tests build module certificates ## run all tests: native, real Envoy, wasm in Node.js
	cargo xtask test-module
	ENVOY='$(envoy)' cargo test --workspace --locked
	ENVOY='$(envoy)' SLUICE_E2E_BUNDLE=1 cargo test --package sluice-e2e --locked \
	  --test conformance --test fault --test fault_response --test mirror --test shadow \
	  --test splits
	ENVOY='$(envoy)' ATTACH=native cargo test --package sluice-e2e --locked \
	  --test bundle --test configuration --test conformance --test effects --test ending \
	  --test fault --test fault_response --test grpc --test hostile_input --test mirror \
	  --test observability --test outlier_marks --test route_metrics --test shadow --test splits \
	  --test tracing
	CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER='$(wasm_test_runner)' \
	  cargo test --package sluice-conformance --target wasm32-unknown-unknown --locked

.PHONY: matrix
versions ?= 1.36.4 1.37.0 1.38.2 1.39.3 1.40.0
matrix: setup-rust build module ## test with older Envoys too: make matrix versions="1.38.2 1.40.0"
	@tools/matrix.sh $(versions)

.PHONY: fidelity
configurations ?= 2000
requests ?= 200000
fidelity: setup-envoy build module ## compare with Envoy: configurations=2000 requests=200000
	cargo build --package sluice-fidelity --locked
	ENVOY='$(envoy)' target/debug/sluice-fidelity $(configurations) $(requests)

.PHONY: costs
costs: build ## rewrite the tables of module costs and interfaces: tests/wasm/*.json
	SLUICE_REWRITE_COSTS=1 \
	  cargo test --package sluice-wasm-tests --test costs --test interfaces --locked

.PHONY: capabilities
capabilities: build ## rewrite the lists of host calls that Envoy allows the modules
	cargo xtask capabilities
	UPDATE_GOLDEN=1 cargo test --package sluice-cli --locked --lib --test golden

.PHONY: memory
memory: build ## test that module memory does not grow over a million streams; takes minutes
	cargo test --package sluice-wasm-tests --test memory --locked -- --ignored

callbacks ?= 5000000

.PHONY: hostile
hostile: build ## run the modules in a hostile host: callbacks=5000000; takes minutes
	cargo run --package sluice-wasm-tests --bin sluice-hostile --locked -- $(callbacks)

.PHONY: churn
churn: setup-envoy build module ## test with hosts, and then documents, that change for two minutes
	ENVOY='$(envoy)' cargo test --package sluice-e2e --test rollout --locked -- --ignored long_churn
	ENVOY='$(envoy)' cargo test --package sluice-e2e --test updates --locked -- --ignored \
	  --nocapture

.PHONY: test-istio
test-istio: setup-envoy ## test with a real istiod and compare with Istio; pairs=N; requires Go
	@tools/setup.sh istio
	@$(MAKE) build module certificates
	cargo build --package sluice-cli --package sluice-istio --locked
	ENVOY='$(envoy)' SLUICE_PAIRS='$(pairs)' cargo run --package sluice-istio --locked

.PHONY: test-mesh
test-mesh: setup-envoy ## test envoy/istio and HTTPRoutes with a Kubernetes API; pairs=N; needs Go
	@tools/setup.sh kubernetes
	@$(MAKE) build
	cargo build --package sluice-cli --package sluice-istio --locked
	ENVOY='$(envoy)' SLUICE_PAIRS='$(pairs)' tools/own-network.sh target/debug/sluice-istio kubernetes

.PHONY: test-gateway-api
test-gateway-api: setup-envoy ## run the conformance tests of the Gateway API; requires Go
	@tools/setup.sh gateway-api
	@$(MAKE) build module
	cargo build --package sluice-cli --locked
	@ENVOY='$(envoy)' TEST='$(TEST)' tests/gateway-api/run.sh

.PHONY: corpus
corpus: setup-envoy ## compare checks and behaviour with Istio; SLUICE_CORPUS=DIR adds a folder
	@tools/setup.sh istio verdict || [ $$? = 77 ]
	@$(MAKE) build
	cargo build --package sluice-cli --package sluice-istio --locked
	ENVOY='$(envoy)' cargo run --package sluice-istio --locked -- references verdicts behaviour

.PHONY: bench
bench: setup-envoy build module ## measure the filters, compared with Envoy's own features
	cargo build --release --package sluice-bench --locked
	@set -- requests rules patterns start lists updates update-costs delays waiting mirrors sni \
	  egress outliers; \
	number=0; \
	for benchmark; do \
	  number=$$((number + 1)); \
	  echo; echo "== $$benchmark ($$number of $$#)"; \
	  ENVOY='$(envoy)' target/release/sluice-bench $$benchmark || exit 1; \
	done

minutes ?= 20

.PHONY: soak
soak: setup-envoy build module ## run all filters at full load for minutes=20; fails if memory grows
	cargo build --release --package sluice-bench --locked
	ENVOY='$(envoy)' target/release/sluice-bench soak $(minutes)

fuzz_seconds ?= 60

.PHONY: fuzz
fuzz: setup-rust ## fuzz each target for fuzz_seconds=60, or only targets="NAME..."; requires jq
	@tools/fuzz.sh $(fuzz_seconds) $(targets)

count ?= 20000

.PHONY: hostile-requests
hostile-requests: setup-envoy build module ## send hostile connections, count=20000 of each kind
	ENVOY='$(envoy)' SLUICE_HOSTILE_REQUESTS=$(count) cargo test --package sluice-e2e --locked \
	  --test hostile_requests -- --nocapture

.PHONY: sandbox
sandbox: setup-envoy build certificates ## run Envoy with the modules until Ctrl-C
	@[ '$(SANDBOX_ATTACH)' != native ] || $(MAKE) module
	@ENVOY='$(envoy)' tools/sandbox.sh

.PHONY: playground
playground: setup-rust ## build the page dist/playground: sluice check and explain in a browser
	@tools/setup.sh playground
	@tools/playground.sh

.PHONY: test-playground
test-playground: setup-envoy build certificates playground ## test the page in headless Chromium
	@tools/setup.sh playground-tests
	cargo build --package sluice-cli --package sluice-playground-server --locked
	ENVOY='$(envoy)' node --test tests/playground

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

# target=aarch64-unknown-linux-gnu builds for another processor, which requires BuildKit or podman.
.PHONY: image-native
processor = $(or $(firstword $(subst -, ,$(target))),$(shell uname -m))
platform = $(patsubst x86_64,amd64,$(patsubst aarch64,arm64,$(processor)))
image-native: setup-rust ## build an image of libsluice.so; registry=localhost/sluice, docker=podman
	cargo xtask module $(target)
	$(or $(docker),docker) build --quiet --file Containerfile.native \
	  --platform 'linux/$(platform)' \
	  --build-arg FOLDER='$(patsubst %/,%,dist/$(target))' --build-arg VERSION='$(version)' \
	  --tag '$(registry)/libsluice:$(version)-$(platform)' .

.PHONY: reproducible
reproducible: setup-rust ## build the last commit twice and compare the files byte by byte
	@tools/reproducible.sh

.PHONY: release
release: setup-rust ## gather modules, command, SBOMs, provenance and checksums in dist/release
	@tools/setup.sh sbom
	@tools/release.sh

.PHONY: clean
clean: ## remove build output, but keep the tools in .tools
	cargo clean
	rm -rf dist
