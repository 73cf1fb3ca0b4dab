#!/usr/bin/env bash
# Validates every configuration in envoy/ with Envoy, including modules and plugin configurations.
#
#   ENVOY    the Envoy to use, .tools/envoy by default
set -euo pipefail
# Paths of modules in the configurations are relative to this folder.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

envoy=${ENVOY:-.tools/envoy}

fail() {
  echo "validate: $*" >&2
  exit 1
}

[ -x "$envoy" ] || fail "no Envoy at $envoy; make setup installs it"

# Skip YAML files that are not Envoy configurations: Kubernetes objects, Grafana's files, and the
# scenario files.
configurations=()
if [ -d envoy ]; then
  mapfile -t configurations < <(
    find envoy -name '*.yaml' -not -path 'envoy/istio/*' -not -path 'envoy/grafana/*' \
      -not -name istio.yaml -not -name scenario.yaml -not -name '*-credential*.yaml' | LC_ALL=C sort
  )
fi
[ ${#configurations[@]} -gt 0 ] || fail "no configurations in envoy/"

copy=$(mktemp --suffix .yaml)
trap 'rm -f "$copy"' EXIT

failed=0
for configuration in "${configurations[@]}"; do
  # Use the original files: a scenario copies its files to dist/ only when it runs.
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
