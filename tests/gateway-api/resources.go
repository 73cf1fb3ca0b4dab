package gatewayapi

import (
	"fmt"
	"maps"
	"path/filepath"
)

// object is a message of Envoy's configuration as JSON.
type object = map[string]any

const (
	extensions = "type.googleapis.com/envoy.extensions."
	maxMirrors = 4
)

func socketAddress(address string, port int) object {
	return object{"socket_address": object{"address": address, "port_value": port}}
}

// typed returns a message with its type, whose name begins with envoy.extensions.
func typed(name string, fields object) object {
	message := object{"@type": extensions + name}
	maps.Copy(message, fields)
	return message
}

// steering returns the headers by which the filter steers Envoy's routes.
func steering() []string {
	names := []string{"x-sluice-cluster"}
	for index := range maxMirrors {
		names = append(names, fmt.Sprintf("x-sluice-mirror-%d", index))
	}
	return names
}

// filter returns the filter with its document, as a wasm module or as a dynamic module.
func filter(modules string, isNative bool, document string) object {
	text := object{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": document}
	if isNative {
		return object{"name": "sluice", "typed_config": typed(
			"filters.http.dynamic_modules.v3.DynamicModuleFilter", object{
				"dynamic_module_config": object{"name": "sluice"},
				"filter_name":           "sluice", "filter_config": text,
			})}
	}
	file := filepath.Join(modules, "sluice.wasm")
	return object{"name": "sluice", "typed_config": typed("filters.http.wasm.v3.Wasm", object{
		"config": object{
			"name": "sluice", "failure_policy": "FAIL_RELOAD", "configuration": text,
			"vm_config": object{
				"runtime": "envoy.wasm.runtime.v8",
				"code":    object{"local": object{"filename": file}},
			},
		}})}
}

// connectionManager returns the HTTP filter chain of a listener. Without a document there is no
// route, and the answer is 404.
func connectionManager(name string, document string, sluice object) object {
	filters := []any{}
	routes := []any{}
	if document != "" {
		filters = append(filters, sluice)
		routes = append(routes, object{"match": object{"prefix": "/"}, "route": steeredRoute()})
	}
	filters = append(filters, object{
		"name":         "envoy.filters.http.router",
		"typed_config": typed("filters.http.router.v3.Router", nil),
	})
	mutations := []any{}
	for _, name := range steering() {
		mutations = append(mutations, object{"remove": name})
	}
	return object{
		"name": "envoy.filters.network.http_connection_manager",
		"typed_config": typed(
			"filters.network.http_connection_manager.v3.HttpConnectionManager", object{
				"stat_prefix": name, "normalize_path": true,
				"upgrade_configs": []any{object{"upgrade_type": "websocket"}},
				"early_header_mutation_extensions": []any{object{
					"name": "envoy.http.early_header_mutation.header_mutation",
					"typed_config": typed(
						"http.early_header_mutation.header_mutation.v3.HeaderMutation",
						object{"mutations": mutations}),
				}},
				"http_filters": filters,
				"route_config": object{"virtual_hosts": []any{object{
					"name": "sluice", "domains": []string{"*"}, "routes": routes,
					"request_headers_to_remove": []string{"x-sluice-cluster"},
				}}},
			}),
	}
}

// steeredRoute returns the route that the filter steers. A Service that does not exist is answered
// with 500, as the Gateway API requires it; Envoy's default is 503.
func steeredRoute() object {
	mirrors := []any{}
	for _, name := range steering()[1:] {
		mirrors = append(mirrors, object{
			"cluster_header": name, "disable_shadow_host_suffix_append": true,
			"request_headers_mutations": []any{object{"remove": name}},
		})
	}
	return object{
		"cluster_header": "x-sluice-cluster", "timeout": "0s",
		"cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
		"request_mirror_policies":         mirrors,
	}
}

// tlsChain is a filter chain that ends TLS.
type tlsChain struct {
	serverName  string
	certificate string
	key         string
}

// listener returns a listener of Envoy; it ends TLS if there are chains for it.
func listener(name, address string, port int, manager object, chains []tlsChain) object {
	result := object{
		"@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
		"name":  name, "address": socketAddress(address, port),
	}
	if len(chains) == 0 {
		result["filter_chains"] = []any{object{"filters": []any{manager}}}
		return result
	}
	filterChains := []any{}
	for _, chain := range chains {
		match := object{}
		if chain.serverName != "" {
			match["server_names"] = []string{chain.serverName}
		}
		certificate := object{
			"certificate_chain": object{"inline_string": chain.certificate},
			"private_key":       object{"inline_string": chain.key},
		}
		context := object{"common_tls_context": object{"tls_certificates": []any{certificate}}}
		filterChains = append(filterChains, object{
			"filter_chain_match": match, "filters": []any{manager},
			"transport_socket": object{
				"name": "envoy.transport_sockets.tls",
				"typed_config": typed(
					"transport_sockets.tls.v3.DownstreamTlsContext", context),
			},
		})
	}
	result["filter_chains"] = filterChains
	result["listener_filters"] = []any{object{
		"name":         "envoy.filters.listener.tls_inspector",
		"typed_config": typed("filters.listener.tls_inspector.v3.TlsInspector", nil),
	}}
	return result
}

// endpoint is the address of a pod's port.
type endpoint struct {
	address string
	port    int
}

// cluster returns the cluster of a port of a Service.
func cluster(name string, isHTTP2 bool, endpoints []endpoint) object {
	hosts := []any{}
	for _, own := range endpoints {
		hosts = append(hosts, object{
			"endpoint": object{"address": socketAddress(own.address, own.port)},
		})
	}
	protocol := object{"http_protocol_options": object{}}
	if isHTTP2 {
		protocol = object{"http2_protocol_options": object{}}
	}
	options := "upstreams.http.v3.HttpProtocolOptions"
	return object{
		"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
		"name":  name, "type": "STATIC", "connect_timeout": "1s",
		"typed_extension_protocol_options": object{
			"envoy.extensions." + options: typed(options, object{
				"explicit_http_config": protocol,
			}),
		},
		"load_assignment": object{
			"cluster_name": name, "endpoints": []any{object{"lb_endpoints": hosts}},
		},
	}
}
