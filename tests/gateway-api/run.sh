#!/usr/bin/env bash
# Runs the conformance tests of the Gateway API with the wasm module, and again with the dynamic
# module, and prints a table of the results. `make test-gateway-api` builds what it needs.
#
#   ENVOY=/path/to/envoy tests/gateway-api/run.sh
#
# TEST=NAME runs one test. ATTACH=wasm or ATTACH=native runs with one module only. The logs are in
# dist/gateway-api.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

built=.tools/gateway-api
status=0
for attach in ${ATTACH:-wasm native}; do
  output=dist/gateway-api/$attach
  rm -rf "$output"
  mkdir -p "$output"
  start=$SECONDS
  ATTACH=$attach OUTPUT=$output MODULES=dist ECHO=$built/echo SLUICE=target/debug/sluice \
    GATEWAY_API_DEFINITIONS=$(cat "$built/definitions") \
    tools/own-network.sh "$built/conformance" -test.v -test.timeout 20m >"$output/log" 2>&1 ||
    status=1
  grep '^control plane:' "$output/log" | sort -u || true
  if [ -f "$output/results" ]; then
    cat "$output/results"
  else
    tail -20 "$output/log"
    status=1
  fi
  echo "with the $attach module, in $((SECONDS - start)) s; the log is $output/log"
done
exit $status
