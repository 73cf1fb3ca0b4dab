# For the network.sh of scenarios, which source it in the root of the repository: network namespaces, and programs in them. All of it
# is taken away when the script ends.
set -euo pipefail
PATH=$PATH:/usr/sbin
envoy=${ENVOY:-.tools/envoy}

for program in ip:iproute2 iptables:iptables nginx:nginx-light curl:curl; do
  command -v "${program%:*}" >/dev/null ||
    { echo "${program%:*} is missing; install it (Debian: ${program#*:})" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "network namespaces ask for root" >&2; exit 1; }

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

# namespace NAME
namespace() {
  ip netns add "$1"
  namespaces+=("$1")
  ip -n "$1" link set lo up
}

# cable NAMESPACE DEVICE NAMESPACE DEVICE
cable() {
  ip -n "$1" link add "$2" type veth peer name "$4" netns "$3"
  ip -n "$1" link set "$2" up
  ip -n "$3" link set "$4" up
}

# run NAMESPACE COMMAND...
run() {
  ip netns exec "$@" &
  programs+=($!)
}

# run_envoy NAMESPACE CONFIGURATION
run_envoy() {
  run "$1" "$envoy" -c "$2" --disable-hot-restart --concurrency 1 --log-level error --file-flush-interval-msec 20
}

# answers NAMESPACE URL: waits until it does.
answers() {
  for _ in $(seq 300); do
    ! ip netns exec "$1" curl -sk --max-time 1 -o /dev/null "$2" || return 0
    sleep 0.1
  done
  echo "nothing answers at $2" >&2
  exit 1
}

# serve: says that all is there, and waits until a program or the script ends.
serve() {
  echo ready
  wait -n "${programs[@]}" || true
  echo "a program ended" >&2
  exit 1
}
