# Functions for the network.sh of scenarios, which sources this file in the root of the repository.
# They create network namespaces and run programs in them. When the script ends, both are removed.
set -euo pipefail
PATH=$PATH:/usr/sbin
envoy=${ENVOY:-.tools/envoy}

for program in ip:iproute2 iptables:iptables nginx:nginx-light curl:curl; do
  command -v "${program%:*}" >/dev/null ||
    { echo "${program%:*} is missing; install it (Debian: ${program#*:})" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "network namespaces require root" >&2; exit 1; }

programs=() namespaces=()
clean_up() {
  trap - EXIT
  [ ${#programs[@]} -eq 0 ] || kill "${programs[@]}" 2>/dev/null || true
  wait
  for namespace in "${namespaces[@]}"; do
    ip netns del "$namespace"
  done
}
trap clean_up EXIT
trap 'exit 0' INT TERM

# namespace NAME: creates a network namespace.
namespace() {
  ip netns add "$1"
  namespaces+=("$1")
  ip -n "$1" link set lo up
}

# cable NAMESPACE DEVICE NAMESPACE DEVICE: connects two namespaces.
cable() {
  ip -n "$1" link add "$2" type veth peer name "$4" netns "$3"
  ip -n "$1" link set "$2" up
  ip -n "$3" link set "$4" up
}

# run NAMESPACE COMMAND...: starts a program.
run() {
  ip netns exec "$@" &
  programs+=($!)
}

# run_envoy NAMESPACE CONFIGURATION: starts an Envoy.
run_envoy() {
  run "$1" "$envoy" -c "$2" --disable-hot-restart --concurrency 1 --log-level error \
    --file-flush-interval-msec 20
}

# answers NAMESPACE URL: waits until the URL answers.
answers() {
  for _ in $(seq 300); do
    ! ip netns exec "$1" curl -sk --max-time 1 -o /dev/null "$2" || return 0
    sleep 0.1
  done
  echo "nothing answers at $2" >&2
  exit 1
}

# serve: prints `ready`, and waits until a program or the script ends.
serve() {
  echo ready
  wait -n "${programs[@]}" || true
  echo "a program ended" >&2
  exit 1
}
