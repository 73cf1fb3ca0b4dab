//! One wasm filter in Envoy's configuration.

use super::block::{block, indented, scalar_text};
use crate::filters::Filter;
use crate::tree::Tree;

const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const NETWORK: &str = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm";

/// Where Envoy meets a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the chain of an HTTP connection manager
    Http,
    /// In the chain of a listener
    Network,
    /// In a cluster, before `upstream_codec`
    Upstream,
}

/// The entry of a filter in a list of filters: YAML whose first line stands after `- `.
pub fn filter(filter: Filter, place: Place, module: &str, document: &Tree) -> String {
    let name = filter.name();
    let filename = scalar_text(&module.replace("{filter}", name));
    let (of_type, root, comment) = match place {
        Place::Http => (HTTP, "", failure_comment(filter)),
        Place::Network => (NETWORK, "", failure_comment(filter)),
        Place::Upstream => (HTTP, "    root_id: upstream # here it counts\n", ""),
    };
    let failure_policy = failure_policy(filter);
    let document = indented(block(document, 0).as_str(), 8);
    format!(
        "name: sluice.{name}\n\
         typed_config:\n\
         \x20 \"@type\": {of_type}\n\
         \x20 config:\n\
         \x20   name: {name}\n\
         {root}\
         \x20   vm_config:\n\
         \x20     runtime: envoy.wasm.runtime.v8\n\
         \x20     code: {{local: {{filename: {filename}}}}}\n\
         {comment}\
         \x20   failure_policy: {failure_policy}\n\
         \x20   configuration:\n\
         \x20     \"@type\": type.googleapis.com/google.protobuf.Struct\n\
         \x20     value:\n\
         \x20       {document}\n"
    )
}

/// What becomes of requests when the module has failed.
pub fn failure_policy(filter: Filter) -> &'static str {
    if filter == Filter::Fault { "FAIL_OPEN" } else { "FAIL_RELOAD" }
}

fn failure_comment(filter: Filter) -> &'static str {
    if filter == Filter::Fault {
        "    # Without faults is better than without service.\n"
    } else {
        "    # A trap in the module would fail its worker's requests for good; this loads it again.\n"
    }
}

/// What a cluster has whose hosts the outlier filter watches: YAML whose first line is not indented.
pub fn watched_cluster(module: &str, document: &Tree) -> String {
    let filter = filter(Filter::Outlier, Place::Upstream, module, document);
    let filter = indented(&filter, 6);
    let filter = filter.trim_end();
    format!(
        "# The outlier filter names the hosts that are left.\n\
         load_balancing_policy:\n\
         \x20 policies:\n\
         \x20 - typed_extension_config:\n\
         \x20     name: envoy.load_balancing_policies.override_host\n\
         \x20     typed_config:\n\
         \x20       \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost\n\
         \x20       override_host_sources: [{{header: x-sluice-host}}]\n\
         \x20       fallback_policy:\n\
         \x20         policies:\n\
         \x20         - typed_extension_config:\n\
         \x20             name: envoy.load_balancing_policies.round_robin\n\
         \x20             typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin}}\n\
         typed_extension_protocol_options:\n\
         \x20 envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n\
         \x20   \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n\
         \x20   explicit_http_config: {{http_protocol_options: {{}}}}\n\
         \x20   http_filters:\n\
         \x20   - {filter}\n\
         \x20   - name: envoy.filters.http.upstream_codec\n\
         \x20     typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}}\n"
    )
}
