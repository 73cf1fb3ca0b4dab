//! Random conditions of rules.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::case::PORT;
use crate::words::{
    CONDITION_HEADERS, METHODS, PARAMETERS, PATH_PATTERNS, PATHS, PREFIXES, VALUE_PATTERNS, VALUES,
    one_in, pick,
};

/// An entry of `match`, with a name for logs.
pub fn block(rng: &mut Rng, index: usize) -> Value {
    let mut block = json!({ "name": format!("m{index}") });
    if !one_in(rng, 4) {
        block["uri"] = uri(rng);
        if one_in(rng, 3) {
            block["ignoreUriCase"] = rng.bool().into();
        }
    }
    for (field, odds) in [("headers", 3), ("withoutHeaders", 7)] {
        if one_in(rng, odds) {
            let count = if one_in(rng, 4) { 2 } else { 1 };
            let mut headers = json!({});
            for _ in 0..count {
                headers[pick(rng, &CONDITION_HEADERS)] = match one_in(rng, 5) {
                    true => json!({}),
                    false => value(rng),
                };
            }
            block[field] = headers;
        }
    }
    if one_in(rng, 12) {
        let (name, condition) = pseudo_header(rng);
        block["headers"][name] = condition;
    }
    if one_in(rng, 15) {
        // Istio translates this to the absence of the header.
        block["withoutHeaders"]["x-user"] = json!({ "regex": "*" });
    }
    if one_in(rng, 5) {
        block["method"] = match rng.u32(..4) {
            0 => json!({ "regex": "GET|PUT|P.*" }),
            1 => json!({ "prefix": "P" }),
            _ => json!({ "exact": pick(rng, &METHODS) }),
        };
    }
    if one_in(rng, 4) {
        let count = if one_in(rng, 4) { 2 } else { 1 };
        let mut parameters = json!({});
        for _ in 0..count {
            parameters[pick(rng, &PARAMETERS)] = match rng.u32(..8) {
                0 => json!({}),
                1 => json!({ "exact": "" }),
                2 => json!({ "prefix": "1" }),
                3 | 4 => json!({ "exact": "1" }),
                _ => value(rng),
            };
        }
        block["queryParams"] = parameters;
    }
    if one_in(rng, 10) {
        block["authority"] = match rng.u32(..3) {
            0 => json!({ "prefix": "case-" }),
            1 => json!({ "regex": r"[a-z]*\.?case-[0-9]+\.test(:[0-9]+)?" }),
            _ => json!({ "prefix": "other." }),
        };
    }
    if one_in(rng, 10) {
        block["scheme"] = match rng.u32(..3) {
            0 => json!({ "exact": "https" }),
            1 => json!({ "prefix": "http" }),
            _ => json!({ "regex": "https?" }),
        };
    }
    if one_in(rng, 15) {
        block["port"] = pick(rng, &[PORT, PORT, 9090]).into();
    }
    block
}

fn uri(rng: &mut Rng) -> Value {
    match rng.u32(..5) {
        0 | 1 => json!({ "exact": pick(rng, &PATHS) }),
        2 | 3 => json!({ "prefix": pick(rng, &PREFIXES) }),
        _ => json!({ "regex": pick(rng, &PATH_PATTERNS).regex }),
    }
}

fn value(rng: &mut Rng) -> Value {
    match rng.u32(..4) {
        0 => json!({ "exact": pick(rng, &VALUES) }),
        1 => json!({ "exact": "kim" }),
        2 => json!({ "prefix": pick(rng, &["k", "kim", "v1", "user=", "1"]) }),
        _ => json!({ "regex": pick(rng, &VALUE_PATTERNS).regex }),
    }
}

/// A condition on what Envoy has as a header.
fn pseudo_header(rng: &mut Rng) -> (&'static str, Value) {
    match rng.u32(..5) {
        0 => (":method", json!({ "exact": "GET" })),
        // The whole target, with the query.
        1 => (":path", json!({ "prefix": "/a" })),
        2 => (":authority", json!({ "prefix": "case-" })),
        3 => ("host", json!({ "regex": "case-.*" })),
        _ => (":scheme", json!({ "exact": "http" })),
    }
}
