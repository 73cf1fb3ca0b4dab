//! `trafficPolicy.loadBalancer` (`applyLoadBalancer` of istiod).

use serde_json::{Value, json};

use super::surroundings::Surroundings;
use crate::render::left_out::LeftOut;
use crate::render::object::Object;
use crate::render::part::{Part, duration_text};

/// Load balancing of a cluster.
#[derive(Debug, Default)]
pub struct Balancing {
    /// Fields of the cluster
    pub fields: Object,
    /// The hash policies of the routes to the cluster
    pub hash_policy: Vec<Value>,
}

/// Load balancing with these settings; by default, Istio selects the host with the fewest requests.
pub fn balancing(
    balancer: Option<&Part<'_>>,
    around: Surroundings<'_>,
    left_out: &mut LeftOut,
) -> Balancing {
    let mut balancing = Balancing::default();
    if around.filter_selects_hosts {
        if let Some(balancer) = balancer {
            let reason = "cannot be combined with outlier detection by the filter, which selects \
                          hosts itself; set outlier.enforcement to envoy";
            left_out.add(&balancer.path, reason);
        }
        return balancing;
    }
    let mut policy = "LEAST_REQUEST";
    if let Some(balancer) = balancer {
        for name in ["localityLbSetting", "zoneAwareLbSetting"] {
            if let Some(setting) = balancer.field(name).filter(|own| !is_off(own)) {
                left_out.add(&setting.path, "the rendered endpoints have no localities");
            }
        }
        match balancer.text("simple") {
            Some("ROUND_ROBIN") => policy = "ROUND_ROBIN",
            Some("RANDOM") => policy = "RANDOM",
            Some("PASSTHROUGH") => {
                let reason = "PASSTHROUGH needs the address that the client called, which only a \
                              sidecar knows; the cluster uses LEAST_REQUEST";
                left_out.add(&format!("{}.simple", balancer.path), reason);
            }
            _ => {}
        }
        if let Some(hash) = balancer.field("consistentHash") {
            if around.has_mirrors && around.is_for_http {
                let reason = "requests that are mirrored select hosts at random, because the \
                              routes of mirrors have no hash policy";
                left_out.add(&hash.path, reason);
            }
            let (name, config) = ring(&hash);
            policy = name;
            if let Some((field, config)) = config {
                balancing.fields.set(field, config);
            }
            balancing.hash_policy.extend(hash_policy(&hash, around, left_out));
        }
        if let Some(start) = slow_start(balancer) {
            let field = match policy {
                "ROUND_ROBIN" => "round_robin_lb_config",
                "LEAST_REQUEST" => "least_request_lb_config",
                _ => "",
            };
            // As in Istio, only these two have it.
            if !field.is_empty() {
                balancing.fields.set(field, json!({ "slow_start_config": start }));
            }
        }
    }
    balancing.fields.set("lb_policy", policy);
    balancing
}

/// Returns whether a setting for localities is switched off.
fn is_off(setting: &Part<'_>) -> bool {
    setting.field("enabled").is_some() && !setting.flag("enabled")
}

/// The policy of a consistent hash, and its settings (`ApplyRingHashLoadBalancer`).
fn ring(hash: &Part<'_>) -> (&'static str, Option<(&'static str, Value)>) {
    let ring_of = |size: u64| ("ring_hash_lb_config", json!({ "minimum_ring_size": size }));
    if let Some(maglev) = hash.field("maglev") {
        let size = maglev.count("tableSize").map(|size| json!({ "table_size": size }));
        return ("MAGLEV", size.map(|size| ("maglev_lb_config", size)));
    }
    let size = match hash.field("ringHash") {
        Some(ring) => ring.count("minimumRingSize"),
        None => Some(hash.count("minimumRingSize").unwrap_or(1024)),
    };
    ("RING_HASH", size.map(ring_of))
}

/// The hash policy of routes to the cluster (`consistentHashToHashPolicy`).
fn hash_policy(hash: &Part<'_>, around: Surroundings<'_>, left_out: &mut LeftOut) -> Option<Value> {
    if hash.flag("useSourceIp") {
        return Some(json!({ "connection_properties": { "source_ip": true } }));
    }
    if !around.is_for_http {
        left_out.add(&hash.path, "connections can only be hashed by useSourceIp");
        return None;
    }
    if let Some(header) = hash.text("httpHeaderName") {
        return Some(json!({ "header": { "header_name": header } }));
    }
    if let Some(name) = hash.text("httpQueryParameterName") {
        return Some(json!({ "query_parameter": { "name": name } }));
    }
    let cookie = hash.field("httpCookie")?;
    let mut own = Object::default();
    own.set("name", cookie.text("name").unwrap_or_default());
    own.set_some("ttl", cookie.duration("ttl").map(duration_text));
    own.set_some("path", cookie.text("path"));
    let attributes: Vec<_> = cookie
        .elements("attributes")
        .iter()
        .map(|own| json!({ "name": own.text("name"), "value": own.text("value") }))
        .collect();
    if !attributes.is_empty() {
        own.set("attributes", attributes);
    }
    Some(json!({ "cookie": Value::from(own) }))
}

/// `slow_start_config` (`setWarmup`).
fn slow_start(balancer: &Part<'_>) -> Option<Value> {
    let Some(warmup) = balancer.field("warmup") else {
        let time = balancer.duration("warmupDurationSecs")?;
        return Some(json!({ "slow_start_window": duration_text(time) }));
    };
    let aggression = warmup.number("aggression").unwrap_or(1.0);
    Some(json!({
        "slow_start_window": warmup.duration("duration").map(duration_text),
        // Envoy requires a key, which no runtime has.
        "aggression": { "default_value": aggression, "runtime_key": "sluice.warmup.aggression" },
        "min_weight_percent": { "value": warmup.number("minimumPercent").unwrap_or(10.0) },
    }))
}
