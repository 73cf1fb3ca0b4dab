#!/usr/bin/env bash
# Creates the certificates for scenarios and tests in dist/certificates: CAs, and a key and a
# certificate for each name below. They are valid for 30 days. The script replaces all of them when
# any is missing or expires within two days.
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

# The CAs: `ca` for the tests and the mesh. The other two are for Istio's tutorials, where
# new-example.com replaces example.com.
declare -A authorities=(
  [ca]="/CN=Sluice test CA"
  [example.com]="/O=example Inc./CN=example.com"
  [new-example.com]="/O=example Inc./CN=example.com"
)

# The subject alternative names of each certificate.
declare -A names=(
  [nginx]="DNS:nginx.example.com"
  [server]="DNS:www.example.com,DNS:wiki.example.org,DNS:*.wiki.example.org"
  [other-server]="DNS:other.example.com,DNS:*.any.example.org"
  [egress-gateway]="DNS:egress-gateway.example.net"
  [sidecar]="DNS:sidecar.example.net"
  [sandbox]="DNS:*.example.com,DNS:*.pay.example.com,DNS:*.example.org"
  [outside]="DNS:www.example.com,DNS:edition.example.com,DNS:example.org,DNS:*.example.org"
  [httpbin.example.com]="DNS:httpbin.example.com"
  [new-httpbin.example.com]="DNS:httpbin.example.com"
  [helloworld-v1.example.com]="DNS:helloworld-v1.example.com"
  [client.example.com]="DNS:client.example.com"
  [mesh-gateway]="URI:spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"
  [mesh-httpbin]="URI:spiffe://cluster.local/ns/default/sa/httpbin"
  [mesh-other]="URI:spiffe://cluster.local/ns/default/sa/other"
  [my-nginx.mesh-external.svc.cluster.local]="DNS:my-nginx.mesh-external.svc.cluster.local"
  [new-client.example.com]="DNS:client.example.com"
)

# The CA of each certificate that the first CA does not sign.
declare -A issuers=(
  [httpbin.example.com]=example.com
  [new-httpbin.example.com]=new-example.com
  [helloworld-v1.example.com]=example.com
  [client.example.com]=example.com
  [my-nginx.mesh-external.svc.cluster.local]=example.com
  [new-client.example.com]=example.com
)

is_current() {
  [ -s "$folder/$1.pem" ] && [ -s "$folder/$1.key" ] &&
    openssl x509 -in "$folder/$1.pem" -noout -checkend $((2 * 86400)) >/dev/null
}

current=true
for name in "${!authorities[@]}" "${!names[@]}"; do
  is_current "$name" || current=false
done
! $current || exit 0

# Build in a temporary folder and move it at the end: other programs must not see a partial set.
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

# run COMMAND...: prints the output of a command only if it fails.
run() {
  "$@" >"$new/log" 2>&1 || { cat "$new/log" >&2; fail "$* failed"; }
}

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
for name in "${!authorities[@]}"; do
  run openssl req -x509 "${new_key[@]}" -days $days -subj "${authorities[$name]}" \
    -addext "keyUsage=critical,keyCertSign" -keyout "$new/$name.key" -out "$new/$name.pem"
done
for name in "${!names[@]}"; do
  issuer=${issuers[$name]:-ca}
  run openssl req "${new_key[@]}" -subj "/CN=$name" -keyout "$new/$name.key" -out "$new/request"
  printf 'subjectAltName=%s\n' "${names[$name]}" >"$new/extensions"
  run openssl x509 -req -in "$new/request" -days $days -CA "$new/$issuer.pem" -CAkey "$new/$issuer.key" \
    -CAcreateserial -extfile "$new/extensions" -out "$new/$name.pem"
done
rm -f "$new/request" "$new/extensions" "$new/log" "$new"/*.srl
mkdir -p dist
rm -rf "$folder"
mv "$new" "$folder"
chmod 755 "$folder"
# In a container, the sandbox runs as another user. Its key protects nothing.
chmod 644 "$folder/sandbox.key"
trap - EXIT
