#!/usr/bin/env bash
# Runs the networks of E8 and their programs until Ctrl-C. Run it as root, in the root of the
# repository.
#
#   app      10.8.0.2       the application and its sidecar
#   gateway  10.8.0.1       the egress gateway, which is also the router between the other two
#            198.51.100.1
#   outside  198.51.100.10  www.example.com
source tools/networks.sh
here=envoy/scenarios/egress-gateway-only
# A check replaces 127.0.0.1, so that several checks can run at the same time.
app=app-127.0.0.1 gateway=gateway-127.0.0.1 outside=outside-127.0.0.1

namespace $app
namespace $gateway
namespace $outside
cable $app eth0 $gateway app
cable $outside eth0 $gateway outside
ip -n $app address add 10.8.0.2/24 dev eth0
ip -n $gateway address add 10.8.0.1/24 dev app
ip -n $gateway address add 198.51.100.1/24 dev outside
ip -n $outside address add 198.51.100.10/24 dev eth0
ip -n $app route add default via 10.8.0.1
ip -n $outside route add default via 198.51.100.1
ip netns exec $gateway sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'

mkdir -p dist
run $outside nginx -e stderr -p "$PWD" -c $here/nginx.conf
run_envoy $gateway $here/gateway.yaml
run_envoy $app $here/sidecar.yaml
answers $outside https://198.51.100.10/
answers $gateway http://localhost:9902/ready
answers $app http://localhost:9901/ready
serve
