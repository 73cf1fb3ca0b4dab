#!/usr/bin/env bash
# Lets Envoy check every configuration under envoy/, modules and plugin configurations included.
#
#   ENVOY    the Envoy to ask, .tools/envoy by default
set -euo pipefail
# The configurations name the modules relative to here.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

envoy=${ENVOY:-.tools/envoy}

fail() {
  echo "validate: $*" >&2
  exit 1
}

[ -x "$envoy" ] || fail "there is no Envoy at $envoy; make setup installs one"

# Kubernetes objects, Grafana's files and what scenarios are made of are YAML of another kind.
configurations=()
if [ -d envoy ]; then
  mapfile -t configurations < <(
    find envoy -name '*.yaml' -not -path 'envoy/istio/*' -not -path 'envoy/grafana/*' \
      -not -name istio.yaml -not -name scenario.yaml -not -name '*-credential*.yaml' | LC_ALL=C sort
  )
fi
[ ${#configurations[@]} -gt 0 ] || fail "there is no configuration under envoy/"

copy=$(mktemp --suffix .yaml)
trap 'rm -f "$copy"' EXIT

failed=0
for configuration in "${configurations[@]}"; do
  # A scenario's own files are only copied to dist/ when it runs.
  sed -E 's|dist/scenarios/([a-z-]+/[a-z-]+-credential[a-z-]*\.yaml)|envoy/scenarios/\1|' "$configuration" >"$copy"
  if output=$("$envoy" --mode validate --config-path "$copy" --log-level error 2>&1); then
    echo "ok      $configuration"
  else
    echo "FAILED  $configuration"
    printf '%s\n' "$output" | sed 's/^/        /'
    failed=$((failed + 1))
  fi
done
[ "$failed" -eq 0 ] || fail "$failed of ${#configurations[@]} configurations failed"
