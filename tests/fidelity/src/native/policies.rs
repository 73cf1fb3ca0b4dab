//! Policies as istiod's `TranslateFault`, `TranslateCORSPolicy`, `TranslateRequestMirrorPolicy` and
//! `retry.ConvertPolicy` translate them.

use serde_json::{Value, json};

use super::conditions::string_match;
use super::terms::{cluster, extension, seconds};

/// The numbers of gRPC statuses that the generator uses.
fn grpc_status(name: &str) -> u32 {
    match name {
        "OK" => 0,
        "NOT_FOUND" => 5,
        "UNAVAILABLE" => 14,
        other => panic!("{other} has no number here"),
    }
}

/// `translatePercentToFractionalPercent`, for whole percentages
fn share(percentage: &Value) -> Option<Value> {
    let value = percentage["value"].as_f64()?;
    Some(json!({ "numerator": (value * 10000.0) as u32, "denominator": "MILLION" }))
}

fn of_hundred(numerator: u64) -> Value {
    json!({ "numerator": numerator, "denominator": "HUNDRED" })
}

/// The `HTTPFault` of a route.
pub fn fault(fault: &Value) -> Option<Value> {
    let mut own = json!({ "@type": extension("fault", "HTTPFault") });
    let (delay, abort) = (&fault["delay"], &fault["abort"]);
    if delay.is_object() {
        let old = || of_hundred(delay["percent"].as_u64().unwrap_or_default());
        own["delay"] = json!({
            "fixed_delay": seconds(delay["fixedDelay"].as_str().expect("a delay")),
            "percentage": share(&delay["percentage"]).unwrap_or_else(old),
        });
    }
    if abort.is_object() {
        own["abort"] = match abort["grpcStatus"].as_str() {
            Some(name) => json!({ "grpc_status": grpc_status(name) }),
            None => json!({ "http_status": abort["httpStatus"] }),
        };
        if let Some(share) = share(&abort["percentage"]) {
            own["abort"]["percentage"] = share;
        }
    }
    fault.is_object().then_some(own)
}

/// The `CorsPolicy` of a route.
pub fn cors(policy: &Value) -> Option<Value> {
    if !policy.is_object() {
        return None;
    }
    let list = |name: &str| {
        let items = policy[name].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
    };
    let origins = policy["allowOrigins"].as_array().into_iter().flatten();
    let mut own = json!({
        "@type": extension("cors", "CorsPolicy"),
        "allow_origin_string_match": origins.map(string_match).collect::<Vec<_>>(),
        "allow_methods": list("allowMethods"),
        "allow_headers": list("allowHeaders"),
        "expose_headers": list("exposeHeaders"),
        "filter_enabled": { "default_value": of_hundred(100) },
        "forward_not_matching_preflights": policy["unmatchedPreflights"] != "IGNORE",
    });
    if policy["allowCredentials"].is_boolean() {
        own["allow_credentials"] = policy["allowCredentials"].clone();
    }
    if let Some(age) = policy["maxAge"].as_str() {
        // Whole seconds.
        let text = seconds(age);
        let number: f64 = text.trim_end_matches('s').parse().expect("a number");
        own["max_age"] = (number as u64).to_string().into();
    }
    Some(own)
}

/// The mirrors of a route. One with a share of 0 is left out.
pub fn mirrors(rule: &Value) -> Vec<Value> {
    let mut own = Vec::new();
    let mut add = |destination: &Value, share: Value| {
        if share["numerator"] != 0 {
            own.push(json!({
                "cluster": cluster(destination),
                "runtime_fraction": { "default_value": share },
                "trace_sampled": false,
                "disable_shadow_host_suffix_append": true,
            }));
        }
    };
    if rule["mirror"].is_object() {
        let old = || of_hundred(rule["mirrorPercent"].as_u64().unwrap_or(100));
        add(&rule["mirror"], share(&rule["mirrorPercentage"]).unwrap_or_else(old));
    }
    for mirror in rule["mirrors"].as_array().into_iter().flatten() {
        let share = share(&mirror["percentage"]);
        add(&mirror["destination"], share.unwrap_or_else(|| of_hundred(100)));
    }
    own
}

/// The retry policy of a route; `None` if there are no retries. The mesh of this test has none by
/// default, as the filters do not know those of a mesh.
pub fn retries(retries: &Value) -> Option<Value> {
    let attempts = retries["attempts"].as_u64().filter(|own| *own > 0)?;
    let defaults = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
    let mut own = json!({
        "num_retries": attempts,
        "retry_on": defaults,
        "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [{
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            },
        }],
    });
    if let Some(text) = retries["retryOn"].as_str() {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let (codes, mut names): (Vec<_>, Vec<_>) =
            parts.partition(|part| part.parse::<u16>().is_ok());
        if !codes.is_empty() && !text.contains("retriable-status-codes") {
            names.push("retriable-status-codes");
        }
        own["retry_on"] = names.join(",").into();
        let codes = codes.iter().filter_map(|code| code.parse::<u16>().ok());
        own["retriable_status_codes"] = codes.collect::<Vec<_>>().into();
    }
    if let Some(timeout) = retries["perTryTimeout"].as_str() {
        own["per_try_timeout"] = seconds(timeout).into();
    }
    Some(own)
}
