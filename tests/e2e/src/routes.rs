//! Envoy's routes for a listener.

use serde_json::{Value, json};

/// Ways in which Envoy's routes make the copies that the mirror filter requests.
#[derive(Clone)]
pub enum Mirroring {
    /// One policy for each of this number of mirrors, with the cluster in the filter's header. The
    /// upstream of the original receives the headers.
    ByHeader(usize),
    /// One route for each list of clusters, by index of the mirror: the possible copies of one
    /// request, longer lists first. No upstream receives the headers.
    ByRoute(Vec<Vec<(usize, &'static str)>>),
    /// Like `ByRoute`, with the suffix `-shadow` on the host of copies.
    WithHostSuffix(Vec<Vec<(usize, &'static str)>>),
    /// Envoy's own mirroring of this percentage of the requests to this cluster.
    Native(&'static str, u32),
}

/// Settings of the routes of a listener.
pub(crate) struct Routes<'a> {
    /// The cluster of all requests; the one in `x-sluice-cluster` if absent
    pub cluster: Option<&'a str>,
    pub mirroring: Option<&'a Mirroring>,
    pub retry_policy: Option<&'a Value>,
    pub direct_response: bool,
}

impl Routes<'_> {
    /// The virtual host.
    pub fn to_json(&self) -> Value {
        let mut removed = Vec::new();
        if self.cluster.is_none() {
            removed.push("x-sluice-cluster".to_owned());
        }
        if !matches!(self.mirroring, Some(Mirroring::ByHeader(_))) {
            removed.extend((0..3).map(header));
        }
        json!({
            "name": "sluice",
            "domains": ["*"],
            "request_headers_to_remove": removed,
            "response_headers_to_add": [{
                "header": { "key": "x-test-cluster", "value": "%UPSTREAM_CLUSTER%" },
            }],
            "routes": self.routes(),
        })
    }

    fn routes(&self) -> Vec<Value> {
        if self.direct_response {
            return vec![
                json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }),
            ];
        }
        let mut routes =
            vec![json!({ "match": { "connect_matcher": {} }, "route": self.route(json!([])) })];
        let (by_route, has_suffix) = match self.mirroring {
            Some(Mirroring::ByRoute(lists)) => (lists.as_slice(), false),
            Some(Mirroring::WithHostSuffix(lists)) => (lists.as_slice(), true),
            _ => (&[][..], false),
        };
        for clusters in by_route {
            let conditions: Vec<_> = clusters
                .iter()
                .map(|(place, cluster)| {
                    json!({ "name": header(*place), "string_match": { "exact": cluster } })
                })
                .collect();
            let policies: Vec<_> = clusters
                .iter()
                .map(|(_, cluster)| {
                    json!({
                        "cluster": cluster,
                        "disable_shadow_host_suffix_append": !has_suffix,
                        "request_headers_mutations": [{ "remove": "authorization" }],
                    })
                })
                .collect();
            let names: Vec<_> = clusters.iter().map(|(_, cluster)| *cluster).collect();
            routes.push(json!({
                // For the access log.
                "name": format!("mirrored to {}", names.join(",")),
                "match": { "prefix": "/", "headers": conditions },
                "route": self.route(json!(policies)),
            }));
        }
        let policies = match self.mirroring {
            Some(Mirroring::ByHeader(count)) => (0..*count)
                .map(|place| {
                    let removals: Vec<_> =
                        (0..*count).map(|place| json!({ "remove": header(place) })).collect();
                    json!({
                        "cluster_header": header(place),
                        "disable_shadow_host_suffix_append": true,
                        "request_headers_mutations": removals,
                    })
                })
                .collect(),
            Some(Mirroring::Native(cluster, percentage)) => json!([{
                "cluster": cluster,
                "disable_shadow_host_suffix_append": true,
                "runtime_fraction": { "default_value": { "numerator": percentage } },
            }]),
            _ => json!([]),
        };
        routes.push(json!({ "match": { "prefix": "/" }, "route": self.route(policies) }));
        routes
    }

    fn route(&self, policies: Value) -> Value {
        let mut route = json!({
            "timeout": "0s",
            "request_mirror_policies": policies,
        });
        match self.cluster {
            Some(cluster) => route["cluster"] = cluster.into(),
            None => route["cluster_header"] = "x-sluice-cluster".into(),
        }
        if let Some(retry_policy) = self.retry_policy {
            route["retry_policy"] = retry_policy.clone();
        }
        route
    }
}

fn header(place: usize) -> String {
    format!("x-sluice-mirror-{place}")
}
