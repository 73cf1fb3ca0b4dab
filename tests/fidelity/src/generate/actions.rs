//! Random actions of rules.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::words::{MISSING, REWRITES, one_in, pick};

const SUBSETS: [&str; 2] = ["v1", "v2"];

/// Adds destinations, and a rewrite to some.
pub fn forward(rng: &mut Rng, rule: &mut Value) {
    let rewrites_host = one_in(rng, 10);
    let has_several = one_in(rng, 3);
    rule["route"] = match has_several {
        true => {
            let count = rng.usize(2..=3);
            let chosen = rng.usize(..count);
            let mut targets: Vec<_> = (0..count).map(|_| destination(rng)).collect();
            for (index, target) in targets.iter_mut().enumerate() {
                target["weight"] = if index == chosen { 100 } else { 0 }.into();
                // With several destinations the rule wins, so both may edit the same headers.
                if one_in(rng, 4) {
                    target["headers"] = operations(rng, "", !rewrites_host);
                }
            }
            targets.into()
        }
        false => {
            let mut target = destination(rng);
            if one_in(rng, 4) {
                target["weight"] = pick(rng, &[0, 1, 100]).into();
            }
            if one_in(rng, 4) {
                // The router's README: with a single destination, the destination wins in Istio and
                // the rule in Sluice. So they edit different headers.
                target["headers"] = operations(rng, "-destination", !rewrites_host);
            }
            json!([target])
        }
    };
    if rewrites_host {
        rule["rewrite"] = json!({ "authority": "rewritten.example.com" });
    }
    if one_in(rng, 4) {
        match one_in(rng, 3) {
            true => {
                let (expression, substitution) = pick(rng, &REWRITES);
                rule["rewrite"]["uriRegexRewrite"] =
                    json!({ "match": expression, "rewrite": substitution });
            }
            false => {
                let paths = ["/", "/new", "/new/", "/new/path", "/n?x=1", "/%2F", "/new//x"];
                rule["rewrite"]["uri"] = pick(rng, &paths).into();
            }
        }
    }
}

fn destination(rng: &mut Rng) -> Value {
    let mut target = match rng.u32(..20) {
        0 => json!({ "host": MISSING }),
        1..8 => json!({ "host": "a" }),
        8..13 => json!({ "host": "b" }),
        _ => json!({ "host": "c", "subset": pick(rng, &SUBSETS) }),
    };
    if one_in(rng, 5) {
        target["port"] = json!({ "number": 80 });
    }
    json!({ "destination": target })
}

/// A redirect. A new prefix requires that all paths are prefixes, or there is none.
pub fn redirect(rng: &mut Rng, rule: &mut Value) -> Value {
    let mut redirect = json!({});
    match rng.u32(..7) {
        0 => redirect["uri"] = "/elsewhere".into(),
        1 => redirect["uri"] = "/elsewhere?x=1".into(),
        2 => redirect["scheme"] = "https".into(),
        3 => redirect["authority"] = "www.example.com".into(),
        4 => redirect["authority"] = "www.example.com:8888".into(),
        _ => {
            redirect["prefixRewrite"] = pick(rng, &["/", "/new", "/new/"]).into();
            for block in rule["match"].as_array_mut().into_iter().flatten() {
                if let Some(uri) = block.get_mut("uri")
                    && uri["prefix"].is_null()
                {
                    *uri = json!({ "prefix": pick(rng, &["/a", "/api/", "/"]) });
                }
            }
        }
    }
    if one_in(rng, 4) {
        redirect["authority"] = "other.example.com".into();
    }
    if one_in(rng, 3) {
        redirect["scheme"] = pick(rng, &["https", "http"]).into();
    }
    match rng.u32(..5) {
        0 => redirect["port"] = pick(rng, &[8443, 443, 80]).into(),
        1 => {
            let ports = ["FROM_REQUEST_PORT", "FROM_PROTOCOL_DEFAULT"];
            redirect["derivePort"] = pick(rng, &ports).into();
        }
        _ => {}
    }
    if rng.bool() {
        redirect["redirectCode"] = pick(rng, &[301, 302, 303, 307, 308]).into();
    }
    redirect
}

/// A direct response.
pub fn direct_response(rng: &mut Rng) -> Value {
    let status = pick(rng, &[200, 201, 204, 302, 404, 418, 503, 599]);
    let mut response = json!({ "status": status });
    match rng.u32(..3) {
        0 => response["body"] = json!({ "string": "fixed\n" }),
        // The bytes 0xff 0x00 0x41.
        1 => response["body"] = json!({ "bytes": "/wBB" }),
        _ => {}
    }
    response
}

/// Edits of headers. `end` makes the names of a place different from those of other places.
pub fn operations(rng: &mut Rng, end: &str, can_edit_host: bool) -> Value {
    let mut operations = json!({});
    for message in ["request", "response"] {
        let mut of = json!({});
        if rng.bool() {
            of["set"][format!("x-set{end}")] = format!("{message} 100%% {end}").into();
        }
        if one_in(rng, 3) {
            // Clients and upstreams send it too.
            of["set"][format!("X-Both{end}")] = format!("set by {message}{end}").into();
        }
        if rng.bool() {
            of["add"][format!("x-added{end}")] = format!("added{end}").into();
        }
        if one_in(rng, 3) {
            of["add"][format!("x-both{end}")] = format!("added{end}").into();
        }
        if rng.bool() {
            let names = [format!("x-both{end}"), format!("X-Gone{end}")];
            of["remove"] = json!([names[rng.usize(..2)]]);
        }
        if message == "request" && can_edit_host && one_in(rng, 6) {
            of["set"][pick(rng, &["Host", ":authority"])] =
                format!("edited{end}.example.com").into();
        }
        if of != json!({}) {
            operations[message] = of;
        }
    }
    operations
}
