#!/usr/bin/env bash
# Makes the certificates of the scenarios and tests, in dist/certificates: a CA, and for each name below a
# key and a certificate of that CA. They are valid for 30 days and made anew in the last two of them.
#
#   tools/certificates.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=dist/certificates
days=30

fail() {
  echo "certificates: $*" >&2
  exit 1
}

command -v openssl >/dev/null || fail "openssl is missing; install it (Debian: openssl)"

# The names, and for whom they are.
declare -A names=(
  [nginx]="DNS:nginx.example.com"
  [server]="DNS:www.example.com,DNS:wiki.example.org,DNS:*.wiki.example.org"
  [other-server]="DNS:other.example.com,DNS:*.any.example.org"
  [egress-gateway]="DNS:egress-gateway.example.net"
  [sidecar]="DNS:sidecar.example.net"
  # Outside of the mesh: a server that asks for client certificates, and a client's, before and after its renewal.
  [my-nginx]="DNS:my-nginx.mesh-external.svc.cluster.local"
  [client]="DNS:client.example.com"
  [client-renewed]="DNS:client.example.com"
)

is_current() {
  [ -s "$folder/$1.pem" ] && [ -s "$folder/$1.key" ] &&
    openssl x509 -in "$folder/$1.pem" -noout -checkend $((2 * 86400)) >/dev/null
}

current=true
for name in ca "${!names[@]}"; do
  is_current "$name" || current=false
done
! $current || exit 0

# Complete or not at all: what runs meanwhile must not see half of it.
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

# run COMMAND...: what it says is only of interest when it fails.
run() {
  "$@" >"$new/log" 2>&1 || { cat "$new/log" >&2; fail "$* failed"; }
}

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
run openssl req -x509 "${new_key[@]}" -days $days -subj "/CN=Sluice test CA" \
  -addext "keyUsage=critical,keyCertSign" -keyout "$new/ca.key" -out "$new/ca.pem"
for name in "${!names[@]}"; do
  run openssl req "${new_key[@]}" -subj "/CN=$name" -keyout "$new/$name.key" -out "$new/request"
  printf 'subjectAltName=%s\n' "${names[$name]}" >"$new/extensions"
  run openssl x509 -req -in "$new/request" -days $days -CA "$new/ca.pem" -CAkey "$new/ca.key" \
    -CAcreateserial -extfile "$new/extensions" -out "$new/$name.pem"
done
rm -f "$new/request" "$new/extensions" "$new/log" "$new"/*.srl
mkdir -p dist
rm -rf "$folder"
mv "$new" "$folder"
chmod 755 "$folder"
trap - EXIT
