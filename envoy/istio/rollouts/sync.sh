#!/bin/sh
# Keeps an EnvoyFilter equal to the VirtualServices that a rollout controller changes.
#
# usage: sync.sh SETTINGS [ARGUMENT...]
#
# SETTINGS is a file with a plugin document. The arguments are for `sluice render`, such as
# `--selector app=NAME`. NAMESPACE is the namespace of the objects, `default` if it is not set.
# Looks for changes every INTERVAL seconds, two if it is not set; only once if it is 0.
set -u

settings=${1:?a file with a plugin document}
shift
namespace=${NAMESPACE:-default}
interval=${INTERVAL:-2}
others=destinationrules.networking.istio.io,services
applied=

# The objects with the label, and the others that they refer to.
objects() {
  kubectl get --namespace "$namespace" --output yaml --selector istio.io/rev=sluice \
    virtualservices.networking.istio.io &&
    echo --- &&
    kubectl get --namespace "$namespace" --output yaml "$others"
}

# An error leaves the EnvoyFilter as it is. Standard error says what is wrong.
sync() {
  found=$(objects) || return
  filter=$(printf '%s\n' "$found" | sluice render - "$settings" --to envoyfilter "$@") || return
  [ "$filter" != "$applied" ] || return 0
  printf '%s\n' "$filter" | kubectl apply --filename - || return
  applied=$filter
}

while :; do
  sync "$@"
  code=$?
  [ "$interval" != 0 ] || exit "$code"
  sleep "$interval"
done
