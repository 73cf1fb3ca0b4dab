#!/usr/bin/env bash
# Measures the run time of sluice for its start, for checks of ten thousand rules, and for a diff.
# Each time is the best of five runs.
#
#   cli/tests/speed.sh [PROGRAM]      target/release/sluice by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
program=$(realpath "${1:-target/release/sluice}")
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cd "$folder"

# Prints a virtual service with $1 rules. The condition $2 contains the number of the rule for %d.
rules() {
  printf 'clusterName: "{host}"\nvirtualServices:\n- hosts: [a.example.com]\n  http:\n'
  seq "$1" | while read -r number; do
    # shellcheck disable=SC2059 # the condition is the format
    printf "  - match: [{$2}]\n    route: [{destination: {host: b}}]\n" "$number"
  done
}

# Prints $1 VirtualServices of Istio with two rules each.
services() {
  seq "$1" | while read -r number; do
    cat <<END
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: s-$number, namespace: default}
spec:
  hosts: [s-$number]
  http:
  - match: [{headers: {end-user: {exact: cheng}}}]
    route: [{destination: {host: s-$number, subset: v2, port: {number: 80}}}]
  - route: [{destination: {host: s-$number, subset: v1, port: {number: 80}}}]
END
  done
}

# fastest NAME ARGUMENT...
fastest() {
  local name=$1 start end least=9999999999
  shift
  for _ in 1 2 3 4 5; do
    start=$(date +%s%N)
    "$program" "$@" >/dev/null
    end=$(date +%s%N)
    [ $(((end - start) / 1000)) -ge "$least" ] || least=$(((end - start) / 1000))
  done
  printf '%-42s %4d ms\n' "$name" "$(((least + 500) / 1000))"
}

rules 1 'headers: {end-user: {exact: user-%d}}' >small.yaml
rules 10000 'headers: {end-user: {exact: user-%d}}' >headers.yaml
rules 10000 'uri: {prefix: /api/%d/}' >prefixes.yaml
rules 5000 'uri: {regex: "/api/%d/[a-z]+(/.*)?"}' >regexes.yaml
services 10000 >services.yaml
seq 100000 | while read -r number; do
  printf '{"method": "GET", "authority": "a.example.com", "path": "/api/%d/x"}\n' \
    "$((number % 12000))"
done >access.log

fastest '--version' --version
fastest 'check: 1 rule' check small.yaml
fastest 'check: 10,000 rules by header' check headers.yaml
fastest 'check: 10,000 rules by prefix' check prefixes.yaml
fastest 'check: 5,000 rules by regular expression' check regexes.yaml
fastest 'check: 10,000 VirtualServices' check services.yaml
fastest 'diff: 100,000 requests, 10,000 rules' diff prefixes.yaml prefixes.yaml -r access.log
