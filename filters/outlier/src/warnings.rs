//! Warnings about an Envoy configuration in which the filter cannot do its work. Each is logged
//! once in a process, for a cluster if it is about one.

use sluice_host::shared_data::SharedData;

/// The listener has the filter, but Envoy's own detection ejects the hosts of the cluster.
pub fn needs_no_listener<H: SharedData>(host: &H) {
    if is_first("listener", "", host) {
        let other = match H::IS_NATIVE {
            true => "use outlier.wasm with outlier.enforcement: filter",
            false => "set outlier.enforcement: filter",
        };
        log::warn!(
            "outlier warning=\"has no effect in a listener, Envoy's outlier_detection ejects the \
             hosts; remove it there and add the error_matcher to the clusters, or {other}\""
        );
    }
}

/// The load balancer of the cluster does not read the list of hosts.
pub fn ignores_lists(cluster: &str, host: &impl SharedData) {
    if is_first("lists", cluster, host) {
        log::warn!(
            "outlier cluster={cluster:?} warning=\"ejected hosts get requests, the cluster lacks \
             load_balancing_policy: {{policies: [{{typed_extension_config: {{\
             name: envoy.load_balancing_policies.override_host, typed_config: {{\
             '@type': {TYPE}.override_host.v3.OverrideHost, \
             override_host_sources: [{{header: x-sluice-host}}], fallback_policy: {{policies: \
             [{{typed_extension_config: {{name: envoy.load_balancing_policies.round_robin, \
             typed_config: {{'@type': {TYPE}.round_robin.v3.RoundRobin}}}}}}]}}}}}}}}]}}\""
        );
    }
}

const TYPE: &str = "type.googleapis.com/envoy.extensions.load_balancing_policies";

/// The `root_id` of the plugin names another cluster than the one of an attempt.
pub fn is_elsewhere(named: &[u8], cluster: &[u8], host: &impl SharedData) {
    let [named, cluster] = [named, cluster].map(String::from_utf8_lossy);
    if is_first("root_id", &named, host) {
        log::error!(
            "outlier cluster={cluster:?} error=\"the plugin has root_id: upstream/{named}, but is \
             in this cluster too; the name is ignored\""
        );
    }
}

/// The route of the request has a fixed cluster, so that the fallback cannot be chosen.
pub fn cannot_fall_back(cluster: &str, host: &impl SharedData) {
    if is_first("fallback", cluster, host) {
        log::warn!(
            "outlier cluster={cluster:?} warning=\"fallback is not used: it needs the router \
             filter before this one, and a route with cluster_header: x-sluice-cluster\""
        );
    }
}

/// Returns whether this warning is the first of its kind for the cluster, in all workers.
fn is_first(kind: &str, cluster: &str, host: &impl SharedData) -> bool {
    let key = ["sluice.outlier warned ", kind, " ", cluster].concat().into_bytes();
    let stored = host.stored(&key);
    let is_first = stored.as_ref().is_none_or(|stored| stored.value.is_empty());
    is_first && host.replace(&key, b"1", stored.map(|stored| stored.version))
}
