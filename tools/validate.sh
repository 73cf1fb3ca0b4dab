#!/usr/bin/env bash
# Validates every configuration in envoy/, and those that `sluice render` writes in its tests, with
# Envoy, including modules and plugin configurations.
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
# Validates the copy of the configuration that the argument names.
validate() {
  if output=$("$envoy" --mode validate --config-path "$copy" --log-level error 2>&1); then
    echo "ok      $1"
  else
    echo "FAILED  $1"
    printf '%s\n' "$output" | sed 's/^/        /'
    failed=$((failed + 1))
  fi
}

for configuration in "${configurations[@]}"; do
  # Use the original files: a scenario copies its files to dist/ only when it runs.
  sed -E 's|dist/scenarios/([a-z-]+/[a-z-]+-credential[a-z-]*\.yaml)|envoy/scenarios/\1|' "$configuration" >"$copy"
  validate "$configuration"
done

rendered=0
for expected in cli/tests/golden/render-*/expected; do
  # The first line has the exit status. The machine may have its certificate authorities elsewhere.
  grep -q '^static_resources:' "$expected" || continue
  sed -e 1d -e '/^--- standard error$/,$d' \
    -e 's|/etc/ssl/certs/ca-certificates.crt|dist/certificates/ca.pem|' "$expected" >"$copy"
  validate "$expected"
  rendered=$((rendered + 1))
done
[ "$rendered" -gt 0 ] || fail "no rendered configurations in cli/tests/golden/"
[ "$failed" -eq 0 ] || fail "$failed of $((${#configurations[@]} + rendered)) configurations failed"
