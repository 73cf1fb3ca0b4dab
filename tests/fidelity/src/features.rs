//! How many requests had to do with each feature, so that a generator that never hits is noticed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::{Case, Sent};
use crate::native::{FLAGS, ROUTE};
use crate::observe::Seen;

/// Counts by feature.
pub type Counts = BTreeMap<String, usize>;

/// Features that every run of a few thousand requests must hit.
pub const REQUIRED: [&str; 62] = [
    "match uri exact",
    "match uri prefix",
    "match uri regex",
    "match uri, ignoreUriCase",
    "match method",
    "match authority",
    "match scheme",
    "match port",
    "match headers exact",
    "match headers prefix",
    "match headers regex",
    "match headers {}",
    "match headers of a pseudo-header",
    "match withoutHeaders exact",
    "match withoutHeaders prefix",
    "match withoutHeaders regex",
    "match withoutHeaders {}",
    "match queryParams exact",
    "match queryParams prefix",
    "match queryParams regex",
    "match queryParams {}",
    "match of another entry than the first",
    "rule other than the first",
    "rule without match",
    "one destination",
    "several destinations",
    "rewrite uri",
    "rewrite uriRegexRewrite",
    "rewrite authority",
    "redirect uri",
    "redirect prefixRewrite",
    "redirect authority",
    "redirect scheme",
    "redirect port",
    "redirect derivePort",
    "directResponse",
    "headers of the rule, request set",
    "headers of the rule, request add",
    "headers of the rule, request remove",
    "headers of the rule, request host",
    "headers of the rule, response set",
    "headers of the rule, response add",
    "headers of the rule, response remove",
    "headers of a destination, request set",
    "headers of a destination, request add",
    "headers of a destination, request remove",
    "headers of a destination, request host",
    "headers of a destination, response set",
    "headers of a destination, response add",
    "headers of a destination, response remove",
    "fault delay",
    "fault abort",
    "fault delay and abort",
    "fault of 0 %",
    "mirror",
    "several mirrors",
    "timeout",
    "retries",
    "corsPolicy, answered preflight",
    "corsPolicy, other request",
    "no rule matches",
    "unknown host",
];

/// Counts what a request had to do with. The native side says which rule matched.
pub fn count(counts: &mut Counts, case: &Case, sent: &Sent, native: &Seen) {
    let mut add = |name: String| *counts.entry(name).or_default() += 1;
    add(format!("sent: {}", sent.purpose));
    add(format!("status {}", native.status));
    let route = native.header(ROUTE);
    let Some(rule) = rule_of(case, &route) else {
        let is_preflight = sent.purpose == "preflight" && native.status == 200;
        let is_unknown = sent.host.to_lowercase().starts_with("unknown");
        add(match (is_preflight, is_unknown) {
            // The answers of Envoy's CORS filter do not say which route they belong to.
            (true, _) => "corsPolicy, answered preflight".to_owned(),
            (_, true) => "unknown host".to_owned(),
            _ => "no rule matches".to_owned(),
        });
        return;
    };
    let (index, block) = route.split_once('.').unwrap_or((&route, ""));
    if index != "r0" {
        add("rule other than the first".to_owned());
    }
    if block == "m1" {
        add("match of another entry than the first".to_owned());
    }
    let entry: usize = block.trim_start_matches('m').parse().unwrap_or_default();
    match rule["match"].get(entry) {
        Some(block) => of_block(block, &mut add),
        None => add("rule without match".to_owned()),
    }
    of_action(rule, &mut add);
    of_headers("the rule", &rule["headers"], &mut add);
    for target in rule["route"].as_array().into_iter().flatten() {
        if target["weight"] != 0 || rule["route"][1].is_null() {
            of_headers("a destination", &target["headers"], &mut add);
        }
    }
    of_effects(rule, native, &mut add);
}

fn rule_of<'a>(case: &'a Case, route: &str) -> Option<&'a Value> {
    let name = route.split('.').next()?;
    case.rules().iter().find(|rule| rule["name"] == name)
}

fn kind(condition: &Value) -> &'static str {
    let kinds = ["exact", "prefix", "regex"].into_iter();
    kinds.into_iter().find(|kind| condition[kind].is_string()).unwrap_or("{}")
}

fn of_block(block: &Value, add: &mut impl FnMut(String)) {
    if block["uri"].is_object() {
        add(format!("match uri {}", kind(&block["uri"])));
        if block["ignoreUriCase"] == true {
            add("match uri, ignoreUriCase".to_owned());
        }
    }
    for name in ["method", "authority", "scheme", "port"] {
        if !block[name].is_null() {
            add(format!("match {name}"));
        }
    }
    for field in ["headers", "withoutHeaders", "queryParams"] {
        for (name, condition) in block[field].as_object().into_iter().flatten() {
            match name.starts_with(':') || name == "host" {
                true => add("match headers of a pseudo-header".to_owned()),
                false => add(format!("match {field} {}", kind(condition))),
            }
        }
    }
}

fn of_action(rule: &Value, add: &mut impl FnMut(String)) {
    for action in ["rewrite", "redirect"] {
        for name in rule[action].as_object().into_iter().flat_map(|own| own.keys()) {
            add(format!("{action} {name}"));
        }
    }
    if rule["directResponse"].is_object() {
        add("directResponse".to_owned());
    }
    match rule["route"].as_array().map(Vec::len) {
        None => {}
        Some(1) => add("one destination".to_owned()),
        Some(_) => add("several destinations".to_owned()),
    }
}

fn of_headers(place: &str, headers: &Value, add: &mut impl FnMut(String)) {
    for message in ["request", "response"] {
        for operation in ["set", "add", "remove"] {
            let own = &headers[message][operation];
            if !own.is_null() {
                add(format!("headers of {place}, {message} {operation}"));
            }
            let is_host = |name: &String| name == "Host" || name == ":authority";
            if own.as_object().is_some_and(|own| own.keys().any(is_host)) {
                add(format!("headers of {place}, {message} host"));
            }
        }
    }
}

/// What the request shows to have happened.
fn of_effects(rule: &Value, native: &Seen, add: &mut impl FnMut(String)) {
    let flags = native.header(FLAGS);
    match (flags.contains("DI"), flags.contains("FI")) {
        (true, true) => add("fault delay and abort".to_owned()),
        (true, false) => add("fault delay".to_owned()),
        (false, true) => add("fault abort".to_owned()),
        (false, false) if rule["fault"].is_object() => add("fault of 0 %".to_owned()),
        _ => {}
    }
    let names: Vec<_> = native.arrivals.iter().map(|own| own.upstream.as_str()).collect();
    let is_mirrored = rule["mirror"].is_object() || rule["mirrors"].is_array();
    match names.len() {
        0 | 1 => {}
        2 if is_mirrored => add("mirror".to_owned()),
        _ if is_mirrored => add("several mirrors".to_owned()),
        _ => add("retries".to_owned()),
    }
    if native.status == 504 && flags.contains("UT") {
        add("timeout".to_owned());
    }
    if rule["corsPolicy"].is_object() && native.headers.contains_key("access-control-allow-origin")
    {
        add("corsPolicy, other request".to_owned());
    }
}
