#!/usr/bin/env bash
# Runs docker-compose.yaml in a real Docker engine, asks it through the published ports, and takes it down.
#
#   ENVOY                     the Envoy for the stand-in image, .tools/envoy by default
#   COMPOSE                   how compose is called; by default `docker compose`, or else docker-compose
#   COMPOSE_TEST_REQUIRED     if not empty, what is missing is an error and no reason to skip
#
# Images are pulled. Where that is not possible it makes stand-ins of the same names, from Envoy and Debian's Prometheus, and
# removes them afterwards. Without an engine it starts one for itself, as root. README.md has more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Debian keeps dockerd where only root looks.
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

# skip WHAT WHY
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

# until_true SECONDS WHAT COMMAND...
until_true() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ $SECONDS -lt $deadline ] || fail "$what: not so in time"
    sleep 0.3
  done
}

# Everything of the test and nothing of the user's: the settings, and files that the test may change.
compose() {
  "${compose[@]}" --project-name "$project" --project-directory "$work/project" \
    --file "$work/project/docker-compose.yaml" --profile observability "$@"
}

# What COMMAND says is only of interest when it fails.
quietly() {
  "$@" >"$work/said" 2>&1 || { cat "$work/said" >&2; fail "$* failed (see above)"; }
}

# --- The engine and the images.

engine_answers() {
  docker info >/dev/null 2>&1
}

find_engine() {
  local install="install Docker (Debian: docker.io docker-compose iptables) and run this as root, or start an engine"
  command -v docker >/dev/null || { skip "everything" "there is no docker; $install"; return 1; }
  if [ -n "${COMPOSE:-}" ]; then
    read -ra compose <<<"$COMPOSE"
  elif docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
  else
    compose=(docker-compose)
  fi
  if ! "${compose[@]}" version >/dev/null 2>&1; then
    skip "everything" "${compose[*]} does not run; install docker compose (Debian: docker-compose)"
    return 1
  fi
  engine_answers && return
  if [ "$(id -u)" != 0 ] || ! command -v dockerd >/dev/null; then
    skip "everything" "no Docker engine answers; $install"
    return 1
  fi
  start_engine
}

# An engine of its own, in a session of its own: Ctrl-C is for this script, which then stops it. It does not turn on routing, as it
# would make a firewall that forwards nothing for it; all that is left of it are some chains of iptables without use.
start_engine() {
  export DOCKER_HOST=unix://$work/engine/docker.sock
  mkdir "$work/engine"
  setsid dockerd --host "$DOCKER_HOST" --data-root "$work/engine/data" --exec-root "$work/engine/exec" \
    --pidfile "$work/engine/pid" --bridge none --ip-forward=false \
    >"$work/engine.log" 2>&1 </dev/null &
  engine=$!
  for _ in {1..100}; do
    engine_answers && return
    kill -0 "$engine" 2>/dev/null || break
    sleep 0.3
  done
  tail -n 20 "$work/engine.log" >&2
  fail "dockerd did not start (see above)"
}

# stand_in IMAGE ENTRYPOINT PROGRAM=PATH...: an image of these programs and the libraries that they name, and nothing else.
stand_in() {
  local image=$1 entrypoint=$2 root entry library
  shift 2
  root=$(mktemp -d "$work/image.XXXX")
  chmod 755 "$root"
  for entry in "$@"; do
    install -D -m 755 "${entry%%=*}" "$root${entry##*=}"
    # Lines are `NAME => PATH (ADDRESS)` and `PATH (ADDRESS)`.
    while read -r library; do
      [ -e "$root$library" ] || install -D -m 755 "$library" "$root$library"
    done < <(ldd "${entry%%=*}" 2>/dev/null | sed -n 's/^\(.* => \|[[:space:]]*\)\(\/[^ ]*\) (0x.*/\2/p')
  done
  tar -C "$root" --owner=0 --group=0 -c . |
    docker import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' --change "ENTRYPOINT $entrypoint" - "$image" >/dev/null
  stand_ins+=("$image")
  rm -rf "$root"
  echo "    $image is a stand-in: it could not be pulled"
}

# What cannot be pulled fails at once where there is no network, and is given up otherwise.
pulled() {
  docker image inspect "$1" >/dev/null 2>&1 || timeout 300 docker pull --quiet "$1" >/dev/null 2>&1
}

# --- Asking.

# ask PATH CURL_OPTION...: prints the body, a space and the status.
ask() {
  local path=$1
  shift
  curl --silent --show-error --max-time 20 --write-out ' %{http_code}' "$@" "http://127.0.0.1:$SANDBOX_PORT$path"
}

admin() {
  local path=$1
  shift
  curl --silent --show-error --max-time 10 --globoff "$@" "http://127.0.0.1:$SANDBOX_ADMIN_PORT$path"
}

# expect WHAT EXPECTED ACTUAL
expect() {
  [ "$2" = "$3" ] || fail "$1: expected $(printf %q "$2"), got $(printf %q "$3")"
  pass "$1"
}

# stat NAME: a counter or a gauge of Envoy.
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

# --- What is tested.

test_files() {
  local version default image
  version=$(sed -n 's/^envoy_version=//p' tools/setup.sh)
  default=$(env -u ENVOY_VERSION "${compose[@]}" --file docker-compose.yaml config | sed -n 's/.*image: \(envoyproxy.*\)/\1/p')
  expect "docker-compose.yaml names the Envoy of make setup" "envoyproxy/envoy:v$version" "$default"
  compose config --quiet
  while read -r image; do
    [[ $image =~ :v?[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "$image is not pinned to a release"
  done < <(compose config | sed -n 's/.*image: //p')
  pass "every image is pinned to a release"
}

# What envoy/sandbox.yaml promises.
test_requests() {
  local path=/payment/balance/query v1='{"code":200,"data":"Hello v1, jim!, id: 1","message":null}' start slow
  expect "a user is routed to v2" \
    '{"code":200,"data":"Hello v2, cheng!, id: 1 email: cheng@163.com","message":null} 200' \
    "$(ask $path -H 'end-user: cheng' | tr -d '\n')"
  expect "another user to v1" "$v1 200" "$(ask $path -H 'end-user: jim' | tr -d '\n')"
  expect "a path without a route is not found" " 404" "$(ask /headers -H 'Host: httpbin.example.com')"
  expect "a fault aborts a user's request" "fault filter abort 500" \
    "$(ask $path -H 'Host: abort.example.com' -H 'end-user: cheng')"
  expect "and not another's" "$v1 200" "$(ask $path -H 'Host: abort.example.com' -H 'end-user: jim' | tr -d '\n')"

  start=$SECONDS
  ask $path -H 'Host: delay.example.com' -H 'end-user: cheng' >"$work/delayed" &
  slow=$!
  until_true 5 "a delay is under way" has_stat wasmcustom.sluice.fault.active_faults 1
  wait $slow
  [ $((SECONDS - start)) -ge 6 ] || fail "the delay of 7 s took $((SECONDS - start)) s"
  [[ "$(cat "$work/delayed")" == *'Hello v1, cheng!'* ]] || fail "after the delay came $(cat "$work/delayed")"
  pass "a fault delays a user's request"

  local before
  before=$(stat cluster.kim-payment-service-v2.upstream_rq_total)
  expect "a request that is mirrored is answered by v1" "$v1 200" \
    "$(ask $path -H 'Host: mirror.example.com' -H 'end-user: jim' | tr -d '\n')"
  until_true 5 "v2 gets the copy" has_stat cluster.kim-payment-service-v2.upstream_rq_total $((before + 1))
  expect "the mirror filter counted it" 1 "$(stat wasmcustom.sluice.mirror.mirrored)"
}

test_admin() {
  expect "the admin interface can be read" "LIVE" "$(admin /ready | tr -d '\n')"
  expect "and not be told to quit" "only GET 403" \
    "$(admin /quitquitquit -X POST --write-out '%{http_code}' | tr '\n' ' ')"
  expect "nor by GET" 405 "$(admin /quitquitquit --write-out '%{http_code}' --output /dev/null)"
}

# test_hardening SERVICE USER
test_hardening() {
  local id status said
  id=$(container "$1")
  said=$(docker inspect --format \
    '{{.Config.User}} {{with .HostConfig}}{{.ReadonlyRootfs}} {{.CapDrop}} {{.SecurityOpt}}{{end}}' "$id")
  expect "$1 is confined" "$2 true [ALL] [no-new-privileges:true]" "$said"
  said=$(docker inspect --format '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}' "$id")
  [[ $said =~ ^[1-9][0-9]*\ [1-9][0-9]*\ [1-9][0-9]*$ ]] || fail "$1 is not limited: $said"
  while read -r said; do
    [[ $said == *" 127.0.0.1:"* ]] || fail "$1 is published to the network: $said"
  done < <(docker port "$id")
  pass "$1 is limited, and published on 127.0.0.1 only"
  # Of the process itself, by the kernel.
  status=/proc/$(docker inspect --format '{{.State.Pid}}' "$id")/status
  [ -r "$status" ] || fail "the engine's processes cannot be seen; this test needs an engine on this machine"
  expect "$1 has no rights" \
    "Uid=${2%%:*} CapPrm=0000000000000000 CapEff=0000000000000000 CapBnd=0000000000000000 NoNewPrivs=1" \
    "$(awk '/^(Uid|CapPrm|CapEff|CapBnd|NoNewPrivs):/ { print substr($1, 1, length($1) - 1) "=" $2 }' "$status" | xargs)"
}

# As root, so that it is not the owner of a file that forbids it.
test_read_only() {
  local file said
  for file in /new /sluice/dist/new /sluice/envoy/new; do
    if said=$(docker exec --user 0 "$(container sandbox)" bash -c ">$file" 2>&1); then
      fail "$file could be written"
    fi
    [[ $said == *"Read-only file system"* ]] || fail "$file: $said"
  done
  pass "nothing in the container can be written"
}

# The health check is true now, and false when Envoy hangs.
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
  pass "the health check sees that Envoy hangs"
}

# What a build or an editor puts in the place of a file is there after a restart.
test_update() {
  local files=$work/project
  # With an empty custom section of the name `new`: another module that does the same.
  { cat "$files/dist/router.wasm"; printf '\0\4\3new'; } >"$work/new.wasm"
  chmod 644 "$work/new.wasm"
  cp "$work/new.wasm" "$files/dist/next.wasm"
  mv "$files/dist/next.wasm" "$files/dist/router.wasm"
  sed -i 's/exact: cheng/exact: jim/' "$files/envoy/sandbox.yaml"
  expect "before a restart the old rules hold" 'Hello v1, jim!, id: 1' \
    "$(ask /payment/balance/query -H 'end-user: jim' | jq -rn 'input.data')"
  quietly compose restart sandbox
  until_true 60 "healthy after a restart" is_healthy sandbox
  expect "after it the new ones" 'Hello v2, jim!, id: 1 email: jim@163.com' \
    "$(ask /payment/balance/query -H 'end-user: jim' | jq -rn 'input.data')"
  quietly docker cp "$(container sandbox):/sluice/dist/router.wasm" "$work/seen.wasm"
  cmp "$work/seen.wasm" "$work/new.wasm" || fail "the container has the old module"
  pass "and the container has the new module"
}

dashboard=envoy/grafana/dashboards/sluice.json

queries() {
  jq -r '[.. | objects | .expr? // empty] | .[]' $dashboard
}

test_dashboard() {
  local uid
  uid=$(sed -n 's/^ *uid: \([a-z]*\).*/\1/p' envoy/grafana/provisioning/datasources/*.yaml)
  expect "the dashboard asks the provisioned data source" "[\"$uid\"]" \
    "$(jq -c '[.. | objects | .datasource? // empty | .uid] | unique' $dashboard)"
  expect "its panels have ids of their own" true "$(jq '[.panels[].id] | length == (unique | length)' $dashboard)"
  expect "every panel but headings asks something" true \
    "$(jq 'all(.panels[] | select(.type != "row"); (.targets | length > 0) and all(.targets[]; .datasource.uid))' $dashboard)"
  admin /stats/prometheus | sed -n 's/^\([a-z0-9_]*\){.*/\1/p' | sort -u >"$work/has"
  # A metric is followed by its labels.
  queries | grep -oE '(envoy|sluice)_[a-z0-9_]+\{' | tr -d '{' | sort -u >"$work/asked"
  [ -s "$work/asked" ] || fail "the dashboard asks for nothing"
  expect "Envoy has every metric that the dashboard asks for" "" "$(comm -13 "$work/has" "$work/asked" | xargs)"
  expect "the dashboard shows every metric of the filters" "" \
    "$(grep ^sluice_ "$work/has" | comm -23 - "$work/asked" | xargs)"
}

# Istio takes /plugin.wasm from the last layer.
test_images() {
  local registry=localhost/$project module name image layer
  quietly make image registry="$registry"
  for module in dist/*.wasm; do
    name=$(basename "$module" .wasm)
    image=$(docker image ls --format '{{.Repository}}:{{.Tag}}' "$registry/$name")
    [ -n "$image" ] || fail "make image has made no $registry/$name"
    stand_ins+=("$image")
    docker save --output "$work/image.tar" "$image"
    layer=$(tar -xOf "$work/image.tar" manifest.json | jq -r '.[0].Layers[-1]')
    tar -xOf "$work/image.tar" "$layer" >"$work/layer.tar"
    [ "$(tar -tf "$work/layer.tar")" = plugin.wasm ] || fail "$image has other files: $(tar -tf "$work/layer.tar" | xargs)"
    tar -xOf "$work/layer.tar" plugin.wasm | cmp - "$module" || fail "$image has another module"
  done
  pass "make image makes an image of each module"
}

# ask_prometheus QUERY: how many series it has
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
    # shellcheck disable=SC2016 # Grafana's variable
    has_series "${query//'$__rate_interval'/30s}" || { missing=$query; return 1; }
  done < <(queries)
}

test_prometheus() {
  until_true 30 "Prometheus reads Envoy's statistics" has_series 'up{job="envoy"} == 1'
  pass "Prometheus reads Envoy's statistics"
  local deadline=$((SECONDS + 45)) missing=
  until every_query_has_series; do
    [ $SECONDS -lt $deadline ] || fail "a query of the dashboard has no series: $missing"
    sleep 1
  done
  pass "all $(queries | wc -l) queries of the dashboard have series"
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

  [ -x "$envoy" ] || fail "there is no Envoy at $envoy; make setup installs one"
  compgen -G 'dist/*.wasm' >/dev/null || fail "there are no modules in dist/; make build makes them"
  mkdir -p "$work/project/dist"
  cp -r docker-compose.yaml envoy "$work/project"
  cp dist/*.wasm "$work/project/dist"
  chmod -R a+rX "$work/project"
  ENVOY_VERSION=$("$envoy" --version | sed -n 's/.*version: [0-9a-f]*\/\([0-9.]*\).*/\1/p')
  SANDBOX_PORT=$(free_port)
  SANDBOX_ADMIN_PORT=$(free_port)
  PROMETHEUS_PORT=$(free_port)
  export ENVOY_VERSION SANDBOX_PORT SANDBOX_ADMIN_PORT PROMETHEUS_PORT

  test_files
  envoy_image=envoyproxy/envoy:v$ENVOY_VERSION
  pulled "$envoy_image" ||
    stand_in "$envoy_image" '[]' "$(readlink -f "$envoy")=/usr/local/bin/envoy" /bin/bash=/usr/bin/bash
  up=yes
  quietly compose up -d sandbox
  until_true 60 "healthy" is_healthy sandbox
  pass "the sandbox is healthy"
  test_requests
  test_admin
  test_hardening sandbox 101:101
  test_read_only
  test_health_check
  test_dashboard

  prometheus_image=$(compose config | sed -n 's/.*image: \(prom\/.*\)/\1/p')
  prometheus=yes
  if ! pulled "$prometheus_image"; then
    if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
      stand_in "$prometheus_image" '["/bin/prometheus"]' "$(command -v prometheus)=/bin/prometheus" \
        "$(command -v promtool)=/bin/promtool"
    else
      skip "Prometheus" "neither $prometheus_image nor a Prometheus (Debian: prometheus) is at hand"
      prometheus=
    fi
  fi
  if [ -n "$prometheus" ]; then
    quietly compose up -d prometheus
    until_true 60 "healthy" is_healthy prometheus
    pass "Prometheus is healthy"
    test_hardening prometheus 65534:65534
    test_prometheus
  fi
  test_update
  test_images
  echo "compose-test: passed in $((SECONDS - started)) s"
}

main
