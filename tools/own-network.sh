#!/usr/bin/env bash
# Runs a command in a network of its own, in which this machine has the addresses of the pods and
# services of a cluster, and with an empty /var/lib/sluice. Nothing of it is left afterwards.
#
#   tools/own-network.sh COMMAND [ARGUMENT]...
set -euo pipefail

as_root=()
[ "$(id -u)" = 0 ] || as_root=(--map-root-user)
exec unshare "${as_root[@]}" --net --mount -- bash -euc '
  PATH=$PATH:/usr/sbin
  ip link set lo up
  ip route add local 10.244.0.0/16 dev lo
  ip route add local 10.96.0.0/16 dev lo
  mount -t tmpfs tmpfs /var/lib
  mkdir /var/lib/sluice
  exec "$@"
' own-network "$@"
