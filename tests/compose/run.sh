#!/usr/bin/env bash
# Tests docker-compose.yaml in a real Docker engine, through the published ports.
#
#   ENVOY                     the Envoy for the stand-in image, .tools/envoy by default
#   COMPOSE                   the command; by default `docker compose`, or else docker-compose
#   COMPOSE_TEST_REQUIRED     if not empty, fails instead of skipping if a requirement is missing
#
# Images are pulled. If that is not possible, the test builds stand-ins with the same names, from
# Envoy and Debian's Prometheus, and removes them afterwards. If no engine is running, it starts its
# own engine, as root. README.md has more details.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Debian installs dockerd in a folder that only root has in its PATH.
PATH=$PATH:/usr/sbin:/sbin
envoy=${ENVOY:-.tools/envoy}
project=sluice-compose-test-$$
started=$SECONDS
work=
engine=
up=
stand_ins=()

fail() {
  echo "compose-test: $*" >&2
  exit 1
}

# skip WHAT WHY: skips a part of the test, or fails if COMPOSE_TEST_REQUIRED is set.
skip() {
  [ -z "${COMPOSE_TEST_REQUIRED:-}" ] || fail "$2"
  echo "compose-test: skipped $1; $2"
}

pass() {
  echo "ok  $*"
}

# shellcheck disable=SC2317 # the trap calls it
clean_up() {
  local code=$?
  trap - EXIT
  if [ -n "$up" ]; then
    [ $code -eq 0 ] || { compose ps; compose logs --tail=30; } >&2 || true
    (quietly compose down --volumes --timeout 5) || code=1
  fi
  [ ${#stand_ins[@]} -eq 0 ] || docker rmi "${stand_ins[@]}" >/dev/null || code=1
  if [ -n "$engine" ]; then
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
  fi
  [ -z "$work" ] || rm -rf "$work" || code=1
  [ $code -eq 0 ] || echo "compose-test: FAILED" >&2
  exit $code
}

# until_true SECONDS WHAT COMMAND...: waits until the command succeeds.
until_true() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ $SECONDS -lt $deadline ] || fail "$what: timed out"
    sleep 0.3
  done
}

# Runs compose with the test's own project name and files, and not with the user's.
compose() {
  "${compose[@]}" --project-name "$project" --project-directory "$work/project" \
    --file "$work/project/docker-compose.yaml" --profile observability "$@"
}

# quietly COMMAND...: prints the output of a command only if it fails.
quietly() {
  "$@" >"$work/said" 2>&1 || { cat "$work/said" >&2; fail "$* failed (see above)"; }
}

# shellcheck source=tests/compose/engine.sh
source tests/compose/engine.sh

# shellcheck source=tests/compose/requests.sh
source tests/compose/requests.sh

# --- The admin interface.

admin() {
  local path=$1
  shift
  curl --silent --show-error --max-time 10 --globoff "$@" "http://127.0.0.1:$SANDBOX_ADMIN_PORT$path"
}

# expect WHAT EXPECTED ACTUAL: fails if the two values differ.
expect() {
  [ "$2" = "$3" ] || fail "$1: expected $(printf %q "$2"), got $(printf %q "$3")"
  pass "$1"
}

# stat NAME: prints the value of a counter or gauge of Envoy.
stat() {
  admin "/stats?filter=^$1\$" | sed 's/.*: //'
}

has_stat() {
  [ "$(stat "$1")" = "$2" ]
}

container() {
  compose ps -q "$1"
}

is_healthy() {
  [ "$(docker inspect --format '{{.State.Health.Status}}' "$(container "$1")")" = healthy ]
}

free_port() {
  local port
  while port=$((20000 + RANDOM % 10000)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo $port
}

# --- Tests.

test_files() {
  local version default image
  version=$(sed -n 's/^envoy_version=//p' tools/setup.sh)
  default=$(env -u ENVOY_VERSION "${compose[@]}" --file docker-compose.yaml config | sed -n 's/.*image: \(envoyproxy.*\)/\1/p')
  expect "docker-compose.yaml has the same Envoy version as make setup" \
    "envoyproxy/envoy:v$version" "$default"
  compose config --quiet
  while read -r image; do
    [[ $image =~ :v?[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "$image is not pinned to a release"
  done < <(compose config | sed -n 's/.*image: //p')
  pass "every image is pinned to a release"
}

test_admin() {
  expect "the admin interface answers GET" "LIVE" "$(admin /ready | tr -d '\n')"
  expect "the admin interface refuses POST /quitquitquit" "only GET 403" \
    "$(admin /quitquitquit -X POST --write-out '%{http_code}' | tr '\n' ' ')"
  expect "the admin interface refuses GET /quitquitquit" 405 "$(admin /quitquitquit --write-out '%{http_code}' --output /dev/null)"
}

# test_hardening SERVICE USER: checks the restrictions of a service.
test_hardening() {
  local id status said format
  id=$(container "$1")
  format='{{.Config.User}} {{with .HostConfig}}{{.ReadonlyRootfs}} {{.CapDrop}} {{.SecurityOpt}}{{end}}'
  said=$(docker inspect --format "$format" "$id")
  expect "$1 has the security options" "$2 true [ALL] [no-new-privileges:true]" "$said"
  format='{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}'
  said=$(docker inspect --format "$format" "$id")
  [[ $said =~ ^[1-9][0-9]*\ [1-9][0-9]*\ [1-9][0-9]*$ ]] || fail "$1 has no resource limits: $said"
  while read -r said; do
    [[ $said == *" 127.0.0.1:"* ]] || fail "$1 has a port that is published to the network: $said"
  done < <(docker port "$id")
  pass "$1 has resource limits, and ports only on 127.0.0.1"
  # The rights of the process, according to the kernel.
  status=/proc/$(docker inspect --format '{{.State.Pid}}' "$id")/status
  [ -r "$status" ] || fail "the processes of the engine are not visible; this test requires a local engine"
  expect "$1 runs without privileges" \
    "Uid=${2%%:*} CapPrm=0000000000000000 CapEff=0000000000000000 CapBnd=0000000000000000 NoNewPrivs=1" \
    "$(awk '/^(Uid|CapPrm|CapEff|CapBnd|NoNewPrivs):/ { print substr($1, 1, length($1) - 1) "=" $2 }' "$status" | xargs)"
}

# As root, so that file permissions do not prevent writing.
test_read_only() {
  local file said
  for file in /new /sluice/dist/new /sluice/envoy/new; do
    if said=$(docker exec --user 0 "$(container sandbox)" bash -c ">$file" 2>&1); then
      fail "$file is writable"
    fi
    [[ $said == *"Read-only file system"* ]] || fail "$file: $said"
  done
  pass "nothing in the container is writable"
}

# The health check succeeds now, and fails when Envoy hangs.
test_health_check() {
  local id check
  id=$(container sandbox)
  mapfile -t check < <(docker inspect --format '{{range .Config.Healthcheck.Test}}{{println .}}{{end}}' "$id" | sed '1d;/^$/d')
  docker exec "$id" "${check[@]}" || fail "the health check fails on a healthy Envoy"
  docker kill --signal STOP "$id" >/dev/null
  if timeout 10 docker exec "$id" "${check[@]}"; then
    fail "the health check passes while Envoy hangs"
  fi
  docker kill --signal CONT "$id" >/dev/null
  pass "the health check fails while Envoy hangs"
}

# A file that a build or an editor replaces takes effect after a restart.
test_update() {
  local files=$work/project
  # An empty custom section with the name `new` gives a different module with the same behaviour.
  { cat "$files/dist/sluice.wasm"; printf '\0\4\3new'; } >"$work/new.wasm"
  chmod 644 "$work/new.wasm"
  cp "$work/new.wasm" "$files/dist/next.wasm"
  mv "$files/dist/next.wasm" "$files/dist/sluice.wasm"
  sed -i 's/exact: cheng/exact: jim/' "$files/envoy/sandbox.yaml"
  expect "before a restart, the old rules apply" 'Hello v1, jim!, id: 1' \
    "$(ask /payment/balance/query -H 'end-user: jim' | jq -rn 'input.data')"
  quietly compose restart sandbox
  until_true 60 "the sandbox becomes healthy after a restart" is_healthy sandbox
  expect "after a restart, the new rules apply" 'Hello v2, jim!, id: 1 email: jim@163.com' \
    "$(ask /payment/balance/query -H 'end-user: jim' | jq -rn 'input.data')"
  quietly docker cp "$(container sandbox):/sluice/dist/sluice.wasm" "$work/seen.wasm"
  cmp "$work/seen.wasm" "$work/new.wasm" || fail "after a restart, the container has the old module"
  pass "after a restart, the container has the new module"
}

dashboard=envoy/grafana/dashboards/sluice.json

queries() {
  jq -r '[.. | objects | .expr? // empty] | .[]' $dashboard
}

test_dashboard() {
  local uid
  uid=$(sed -n 's/^ *uid: \([a-z]*\).*/\1/p' envoy/grafana/provisioning/datasources/*.yaml)
  expect "the dashboard uses the provisioned data source" "[\"$uid\"]" \
    "$(jq -c '[.. | objects | .datasource? // empty | .uid] | unique' $dashboard)"
  expect "the panels have unique ids" true "$(jq '[.panels[].id] | length == (unique | length)' $dashboard)"
  expect "every panel except headings has a query" true \
    "$(jq 'all(.panels[] | select(.type != "row"); (.targets | length > 0) and all(.targets[]; .datasource.uid))' $dashboard)"
  admin /stats/prometheus | sed -n 's/^\([a-z0-9_]*\){.*/\1/p' | sort -u >"$work/has"
  # In a query, the labels follow the name of the metric.
  queries | grep -oE '(envoy|sluice)_[a-z0-9_]+\{' | tr -d '{' | sort -u >"$work/asked"
  [ -s "$work/asked" ] || fail "the dashboard has no queries"
  expect "Envoy has every metric of the dashboard" "" "$(comm -13 "$work/has" "$work/asked" | xargs)"
  expect "the dashboard shows every metric of the filters" "" \
    "$(grep ^sluice_ "$work/has" | grep -vE '_(sum|count)$' | comm -23 - "$work/asked" | xargs)"
}

# layer_of IMAGE: writes the last layer of an image into a file.
layer_of() {
  local layer
  docker save --output "$work/image.tar" "$1"
  layer=$(tar -xOf "$work/image.tar" manifest.json | jq -r '.[0].Layers[-1]')
  tar -xOf "$work/image.tar" "$layer" >"$work/layer.tar"
}

# Istio reads /plugin.wasm from the last layer.
test_images() {
  local registry=localhost/$project module name image
  quietly make image registry="$registry"
  for module in dist/*.wasm; do
    name=$(basename "$module" .wasm)
    image=$(docker image ls --format '{{.Repository}}:{{.Tag}}' "$registry/$name")
    [ -n "$image" ] || fail "make image did not build $registry/$name"
    stand_ins+=("$image")
    layer_of "$image"
    [ "$(tar -tf "$work/layer.tar")" = plugin.wasm ] || fail "$image contains other files: $(tar -tf "$work/layer.tar" | xargs)"
    tar -xOf "$work/layer.tar" plugin.wasm | cmp - "$module" || fail "$image contains a different module"
  done
  pass "make image builds an image of each module"

  quietly make image-native registry="$registry"
  image=$(docker image ls --format '{{.Repository}}:{{.Tag}}' "$registry/libsluice")
  [ -n "$image" ] || fail "make image-native did not build $registry/libsluice"
  stand_ins+=("$image")
  expect "the tag of the image of libsluice.so has its processor" "${image##*-}" \
    "$(docker image inspect --format '{{.Architecture}}' "$image")"
  layer_of "$image"
  [ "$(tar -tf "$work/layer.tar")" = libsluice.so ] || fail "$image contains other files: $(tar -tf "$work/layer.tar" | xargs)"
  pass "make image-native builds an image of libsluice.so"
}

# ask_prometheus QUERY: prints the number of series in the result.
ask_prometheus() {
  curl --silent --show-error --fail-with-body --max-time 10 --get --data-urlencode "query=$1" \
    "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query" | jq '.data.result | length'
}

has_series() {
  [ "$(ask_prometheus "$1")" -gt 0 ]
}

every_query_has_series() {
  local query
  missing=
  while read -r query; do
    # shellcheck disable=SC2016 # $__rate_interval is a variable of Grafana
    has_series "${query//'$__rate_interval'/30s}" || { missing=$query; return 1; }
  done < <(queries)
}

test_prometheus() {
  until_true 30 "Prometheus reads Envoy's statistics" has_series 'up{job="envoy"} == 1'
  pass "Prometheus reads Envoy's statistics"
  local deadline=$((SECONDS + 45)) missing=
  until every_query_has_series; do
    [ $SECONDS -lt $deadline ] || fail "a query of the dashboard returns no series: $missing"
    sleep 1
  done
  pass "all $(queries | wc -l) queries of the dashboard return series"
}

main() {
  local prometheus_image prometheus envoy_image
  for command in curl jq; do
    command -v $command >/dev/null || fail "$command is missing; install it (Debian: $command)"
  done
  work=$(mktemp -d)
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  find_engine || return 0
  echo "compose-test: $("${compose[@]}" version --short), engine $(docker info --format '{{.ServerVersion}}')"

  [ -x "$envoy" ] || fail "no Envoy at $envoy; make setup installs it"
  compgen -G 'dist/*.wasm' >/dev/null || fail "no modules in dist/; make build creates them"
  [ -s dist/certificates/sandbox.pem ] || fail "no certificates; make certificates creates them"
  mkdir -p "$work/project/dist"
  cp -r docker-compose.yaml envoy "$work/project"
  cp -r --preserve=mode dist/certificates "$work/project/dist"
  cp dist/*.wasm "$work/project/dist"
  chmod -R a+rX "$work/project/envoy" "$work/project"/dist/*.wasm
  chmod a+rX "$work/project" "$work/project/dist" "$work/project/docker-compose.yaml"
  ENVOY_VERSION=$("$envoy" --version | sed -n 's/.*version: [0-9a-f]*\/\([0-9.]*\).*/\1/p')
  SANDBOX_PORT=$(free_port)
  SANDBOX_ADMIN_PORT=$(free_port)
  PROMETHEUS_PORT=$(free_port)
  EGRESS_PORT=$(free_port)
  EGRESS_TLS_PORT=$(free_port)
  SNI_PORT=$(free_port)
  SNI_AUTHORITY_PORT=$(free_port)
  export ENVOY_VERSION SANDBOX_PORT SANDBOX_ADMIN_PORT PROMETHEUS_PORT
  export EGRESS_PORT EGRESS_TLS_PORT SNI_PORT SNI_AUTHORITY_PORT

  test_files
  envoy_image=envoyproxy/envoy:v$ENVOY_VERSION
  pulled "$envoy_image" ||
    stand_in "$envoy_image" '[]' "$(readlink -f "$envoy")=/usr/local/bin/envoy" \
      /bin/bash=/usr/bin/bash
  up=yes
  quietly compose up -d sandbox
  until_true 60 "the sandbox becomes healthy" is_healthy sandbox
  pass "the sandbox is healthy"
  test_requests
  test_other_filters
  test_admin
  test_hardening sandbox 101:101
  test_read_only
  test_health_check
  test_dashboard

  prometheus_image=$(compose config | sed -n 's/.*image: \(prom\/.*\)/\1/p')
  prometheus=yes
  if ! pulled "$prometheus_image"; then
    if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
      stand_in "$prometheus_image" '["/bin/prometheus"]' \
        "$(command -v prometheus)=/bin/prometheus" \
        "$(command -v promtool)=/bin/promtool"
    else
      skip "Prometheus" "$prometheus_image cannot be pulled, and no Prometheus is installed (Debian: prometheus)"
      prometheus=
    fi
  fi
  if [ -n "$prometheus" ]; then
    quietly compose up -d prometheus
    until_true 60 "Prometheus becomes healthy" is_healthy prometheus
    pass "Prometheus is healthy"
    test_hardening prometheus 65534:65534
    test_prometheus
  fi
  test_update
  test_images
  echo "compose-test: passed in $((SECONDS - started)) s"
}

main
