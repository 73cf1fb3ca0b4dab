# shellcheck shell=bash disable=SC2154,SC2034 # run.sh sets the variables, and reads them
# The Docker engine and the images of run.sh.

engine_answers() {
  docker info >/dev/null 2>&1
}

find_engine() {
  local install="install Docker (Debian: docker.io docker-compose iptables) and run this as root, or start an engine"
  command -v docker >/dev/null || { skip "everything" "docker is missing; $install"; return 1; }
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
    skip "everything" "no Docker engine is running; $install"
    return 1
  fi
  start_engine
}

# Starts an engine in its own session, so that only this script gets Ctrl-C and then stops it. The
# engine does not turn on IP forwarding, because it would then set the firewall to drop forwarded
# traffic. All that remains afterwards are some unused iptables chains.
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

# stand_in IMAGE ENTRYPOINT PROGRAM=PATH...: builds an image with these programs and their shared
# libraries, and nothing else.
stand_in() {
  local image=$1 entrypoint=$2 root entry library
  shift 2
  root=$(mktemp -d "$work/image.XXXX")
  chmod 755 "$root"
  for entry in "$@"; do
    install -D -m 755 "${entry%%=*}" "$root${entry##*=}"
    # Lines of ldd are `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`.
    while read -r library; do
      [ -e "$root$library" ] || install -D -m 755 "$library" "$root$library"
    done < <(ldd "${entry%%=*}" 2>/dev/null | sed -n 's/^\(.* => \|[[:space:]]*\)\(\/[^ ]*\) (0x.*/\2/p')
  done
  tar -C "$root" --owner=0 --group=0 -c . |
    docker import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' \
      --change "ENTRYPOINT $entrypoint" - "$image" >/dev/null
  stand_ins+=("$image")
  rm -rf "$root"
  echo "    $image is a stand-in, because it could not be pulled"
}

# pulled IMAGE: pulls an image. Fails at once without a network, and after a timeout otherwise.
pulled() {
  docker image inspect "$1" >/dev/null 2>&1 || timeout 300 docker pull --quiet "$1" >/dev/null 2>&1
}
