//! Random faults, mirrors, timeouts, retries and CORS policies.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::words::{MIRRORS, MISSING, VALUE_PATTERNS, one_in, pick};

/// Adds policies to a rule, such as Istio accepts beside its action.
pub fn add(rng: &mut Rng, rule: &mut Value) {
    if one_in(rng, 5) {
        rule["corsPolicy"] = cors(rng);
    }
    if !rule["route"].is_array() {
        return;
    }
    if one_in(rng, 6) {
        rule["fault"] = fault(rng);
    }
    if one_in(rng, 6) {
        add_mirrors(rng, rule);
    }
    if one_in(rng, 6) {
        rule["timeout"] = pick(rng, &["100ms", "0.15s", "5s", "1h"]).into();
    }
    if one_in(rng, 6) {
        rule["retries"] = retries(rng);
    }
}

fn share(rng: &mut Rng) -> Value {
    json!({ "value": pick(rng, &[100, 100, 100, 0]) })
}

fn fault(rng: &mut Rng) -> Value {
    let mut fault = json!({});
    let kind = rng.u32(..3);
    if kind != 0 {
        fault["abort"] = match one_in(rng, 4) {
            true => json!({ "grpcStatus": pick(rng, &["UNAVAILABLE", "OK", "NOT_FOUND"]) }),
            false => json!({ "httpStatus": pick(rng, &[200, 400, 418, 503, 555]) }),
        };
        // Without a percentage, no request is aborted.
        if !one_in(rng, 6) {
            fault["abort"]["percentage"] = share(rng);
        }
    }
    if kind != 1 {
        fault["delay"] = json!({ "fixedDelay": "20ms" });
        match rng.u32(..6) {
            0 => {}
            1 => fault["delay"]["percent"] = pick(rng, &[0, 100]).into(),
            _ => fault["delay"]["percentage"] = share(rng),
        }
    }
    fault
}

fn add_mirrors(rng: &mut Rng, rule: &mut Value) {
    let copy = |rng: &mut Rng| match rng.u32(..8) {
        // Nobody notices that there is no such cluster.
        0 => json!({ "host": MISSING }),
        1..4 => json!({ "host": "copy", "subset": "1" }),
        4..7 => json!({ "host": "copy", "subset": "2" }),
        _ => json!({ "host": "c", "subset": "v2" }),
    };
    if rng.bool() {
        rule["mirror"] = copy(rng);
        match rng.u32(..4) {
            0 => rule["mirrorPercent"] = pick(rng, &[0, 100]).into(),
            1 => rule["mirrorPercentage"] = share(rng),
            _ => {}
        }
        return;
    }
    let count = rng.usize(1..=MIRRORS);
    let mirror = |_| {
        let mut mirror = json!({ "destination": copy(rng) });
        if rng.bool() {
            mirror["percentage"] = share(rng);
        }
        mirror
    };
    rule["mirrors"] = (0..count).map(mirror).collect();
}

fn retries(rng: &mut Rng) -> Value {
    let attempts = rng.u32(..3);
    let mut retries = json!({ "attempts": attempts });
    if attempts > 0 {
        if rng.bool() {
            let conditions = ["5xx", "503", "gateway-error,429", "retriable-4xx,reset", "500, 409"];
            retries["retryOn"] = pick(rng, &conditions).into();
        }
        if one_in(rng, 3) {
            retries["perTryTimeout"] = "100ms".into();
        }
    }
    retries
}

fn cors(rng: &mut Rng) -> Value {
    let mut origins = vec![json!({ "exact": "https://a.example.com" })];
    if one_in(rng, 3) {
        origins.push(json!({ "prefix": "https://b." }));
    }
    if one_in(rng, 3) {
        origins.push(json!({ "regex": "https?://[a-z]+[.]example[.]com" }));
    }
    if one_in(rng, 6) {
        origins = vec![json!({ "regex": pick(rng, &VALUE_PATTERNS).regex })];
    }
    if one_in(rng, 8) {
        origins.push(json!({ "exact": "*" }));
    }
    let mut cors = json!({ "allowOrigins": origins });
    if rng.bool() {
        cors["allowMethods"] = if one_in(rng, 4) { json!(["*"]) } else { json!(["GET", "POST"]) };
    }
    if rng.bool() {
        let headers = if one_in(rng, 4) { json!(["*"]) } else { json!(["x-user", "X-Other"]) };
        cors["allowHeaders"] = headers;
    }
    if rng.bool() {
        cors["exposeHeaders"] = json!(["x-set"]);
    }
    if rng.bool() {
        cors["maxAge"] = pick(rng, &["60s", "24h", "90s"]).into();
    }
    if rng.bool() {
        cors["allowCredentials"] = rng.bool().into();
    }
    if one_in(rng, 3) {
        cors["unmatchedPreflights"] = pick(rng, &["FORWARD", "IGNORE"]).into();
    }
    cors
}
