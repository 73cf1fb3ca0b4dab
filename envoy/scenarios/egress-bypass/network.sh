#!/usr/bin/env bash
# Runs the networks of E4 and their programs until Ctrl-C. Run it as root, in the root of the
# repository.
#
#   app      10.4.0.2       the application and its sidecar
#   outside  10.4.0.1       three servers
#            10.0.0.10
#            203.0.113.10
#            198.51.100.10
source tools/networks.sh
here=envoy/scenarios/egress-bypass
# A check replaces 127.0.0.1, so that several checks can run at the same time.
app=bypass-app-127.0.0.1 outside=bypass-outside-127.0.0.1

namespace $app
namespace $outside
cable $app eth0 $outside eth0
ip -n $app address add 10.4.0.2/24 dev eth0
for address in 10.4.0.1/24 10.0.0.10/32 203.0.113.10/32 198.51.100.10/32; do
  ip -n $outside address add $address dev eth0
done
ip -n $app route add default via 10.4.0.1

# The same rules as istio-init with includeOutboundIPRanges: redirect these ranges to the sidecar,
# except the sidecar's own connections. Other traffic bypasses the sidecar.
redirect() {
  ip netns exec $app iptables -t nat -A OUTPUT -p tcp "$@"
}
redirect -m mark --mark 1337 -j RETURN
redirect -d 10.0.0.0/24 -j REDIRECT --to-ports 15001
redirect -d 203.0.113.0/24 -j REDIRECT --to-ports 15001

mkdir -p dist
run $outside nginx -e stderr -p "$PWD" -c $here/nginx.conf
run_envoy $app $here/envoy.yaml
answers $outside http://10.0.0.10/
answers $app http://localhost:9901/ready
serve
