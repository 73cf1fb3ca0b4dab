//! Requests for a VirtualService: each block of conditions is satisfied, each condition is missed
//! once, and requests are odd in ways that clients can be.

use fastrand::Rng;
use serde_json::Value;

use crate::case::{Case, Sent, name};
use crate::words::{
    CONDITION_HEADERS, METHODS, ODD_PATHS, ODD_VALUES, ORIGINS, PATH_PATTERNS, PATHS, Pattern,
    QUERIES, VALUE_PATTERNS, VALUES, one_in, pick,
};

/// What the version of Envoy does in another way than Sluice, by decision. Such requests are left
/// out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Version {
    /// Compares each value of a repeated header alone (1.39 and later). Sluice compares the values
    /// joined by commas: the README of tests/istio.
    pub compares_values_alone: bool,
    /// Reads text as UTF-8 in regular expressions (before 1.39). Sluice reads bytes: the README of
    /// the router filter.
    pub reads_utf8: bool,
}

/// Returns `count` requests for a case.
pub fn requests(rng: &mut Rng, case: &Case, count: usize, version: Version) -> Vec<Sent> {
    let mut all = Vec::new();
    for rule in case.rules() {
        of_rule(rng, case, rule, &mut all);
    }
    all.retain(|sent| is_allowed(case, sent, version));
    rng.shuffle(&mut all);
    // Half of them at most, so that there is room for odd ones.
    all.truncate(count / 2);
    while all.len() < count {
        let known = match all.len() {
            0 => None,
            length => all.get(rng.usize(..length)).cloned(),
        };
        let sent = match (rng.u32(..4), known) {
            (0, _) | (_, None) => random(rng, case),
            (_, Some(known)) => odd(rng, &known),
        };
        if is_allowed(case, &sent, version) {
            all.push(sent);
        }
    }
    all
}

fn base(rng: &mut Rng, case: &Case) -> Sent {
    let own = name(case.number);
    let hosts: Vec<_> = case.spec["hosts"].as_array().into_iter().flatten().collect();
    let host = hosts[rng.usize(..hosts.len())].as_str().unwrap_or(&own).replace('*', "any");
    let host = match rng.u32(..12) {
        0 => format!("{host}:8080"),
        1 => host.to_uppercase(),
        2 => format!("unknown-{host}"),
        _ => host,
    };
    Sent {
        purpose: "base".to_owned(),
        method: "GET".to_owned(),
        host,
        path: "/".to_owned(),
        query: None,
        headers: Vec::new(),
        body: String::new(),
    }
}

fn random(rng: &mut Rng, case: &Case) -> Sent {
    let mut sent = base(rng, case);
    "random".clone_into(&mut sent.purpose);
    pick(rng, &METHODS).clone_into(&mut sent.method);
    pick(rng, &PATHS).clone_into(&mut sent.path);
    if rng.bool() {
        sent.query = Some(pick(rng, &QUERIES).to_owned());
    }
    for header in CONDITION_HEADERS {
        if one_in(rng, 3) {
            sent.add_header(header, pick(rng, &VALUES).as_bytes());
        }
    }
    sent
}

/// Requests for a rule and the blocks of its conditions.
fn of_rule(rng: &mut Rng, case: &Case, rule: &Value, all: &mut Vec<Sent>) {
    let blocks = rule["match"].as_array().cloned().unwrap_or_else(|| vec![Value::Null]);
    for block in &blocks {
        let mut hit = base(rng, case);
        "hit".clone_into(&mut hit.purpose);
        satisfy(rng, &mut hit, block);
        all.push(hit.clone());
        miss(rng, &hit, block, all);
        of_policies(rng, &hit, rule, all);
    }
}

/// A text for a condition: one that satisfies it or, if not `is_hit`, one that nearly does.
fn text(rng: &mut Rng, condition: &Value, patterns: &[Pattern], is_hit: bool) -> String {
    let find = |regex: &str| patterns.iter().find(|own| own.regex == regex);
    if let Some(exact) = condition["exact"].as_str() {
        return if is_hit { exact.to_owned() } else { near(rng, exact) };
    }
    if let Some(prefix) = condition["prefix"].as_str() {
        return match (is_hit, rng.bool()) {
            (true, true) => prefix.to_owned(),
            (true, false) => format!("{prefix}x/y"),
            (false, _) => near(rng, prefix),
        };
    }
    let pattern = condition["regex"].as_str().and_then(find);
    match pattern {
        Some(own) if is_hit || own.misses.is_empty() => pick(rng, own.hits).to_owned(),
        Some(own) => pick(rng, own.misses).to_owned(),
        None => "x".to_owned(),
    }
}

/// A text that is nearly this one.
fn near(rng: &mut Rng, text: &str) -> String {
    match rng.u32(..4) {
        0 => format!("{text}x"),
        1 => text.chars().take(text.len().saturating_sub(1)).collect(),
        2 => swap_case(text),
        _ => format!("{text}/"),
    }
}

/// Gives the request what a block asks for.
fn satisfy(rng: &mut Rng, sent: &mut Sent, block: &Value) {
    if block["uri"].is_object() {
        sent.path = path(text(rng, &block["uri"], &PATH_PATTERNS, true));
        if block["ignoreUriCase"] == true && rng.bool() {
            sent.path = swap_case(&sent.path);
        }
    }
    for (name, condition) in entries(&block["headers"]) {
        match name {
            ":path" => "/a".clone_into(&mut sent.path),
            ":method" | ":scheme" | ":authority" | "host" => {}
            _ => sent.add_header(name, text(rng, condition, &VALUE_PATTERNS, true).as_bytes()),
        }
    }
    if block["method"].is_object() {
        sent.method = match block["method"]["exact"].as_str() {
            Some(exact) => exact.to_owned(),
            None => pick(rng, &["PUT", "POST"]).to_owned(),
        };
    }
    if block["scheme"]["exact"] == "https" {
        sent.add_header("x-forwarded-proto", b"https");
    }
    let parameters = entries(&block["queryParams"]);
    let parameters = parameters
        .map(|(name, own)| format!("{name}={}", text(rng, own, &VALUE_PATTERNS, true)))
        .collect::<Vec<_>>();
    if !parameters.is_empty() {
        sent.query = Some(query(parameters.join("&")));
    }
}

/// Requests that miss one condition of a block each.
fn miss(rng: &mut Rng, hit: &Sent, block: &Value, all: &mut Vec<Sent>) {
    if block["uri"].is_object() {
        let near = text(rng, &block["uri"], &PATH_PATTERNS, false);
        all.push(hit.with("near miss of uri", |own| own.path = path(near)));
        all.push(hit.with("uri in another case", |own| own.path = swap_case(&own.path)));
        all.push(hit.with("uri with a query", |own| own.query = Some("extra=1".to_owned())));
    }
    for (name, condition) in entries(&block["headers"]).filter(|(name, _)| !is_pseudo(name)) {
        let near = text(rng, condition, &VALUE_PATTERNS, false);
        all.push(hit.with("header absent", |own| own.remove_header(name)));
        all.push(hit.with("near miss of header", |own| {
            own.remove_header(name);
            own.add_header(name, near.as_bytes());
        }));
        all.push(hit.with("header empty", |own| {
            own.remove_header(name);
            own.add_header(name, b"");
        }));
        all.push(hit.with("header repeated", |own| own.add_header(name, b"kim")));
    }
    for (name, condition) in entries(&block["withoutHeaders"]) {
        for is_hit in [true, false] {
            let value = text(rng, condition, &VALUE_PATTERNS, is_hit);
            all.push(hit.with("header of withoutHeaders", |own| {
                own.remove_header(name);
                own.add_header(name, value.as_bytes());
            }));
        }
    }
    for (name, condition) in entries(&block["queryParams"]) {
        let near = text(rng, condition, &VALUE_PATTERNS, false);
        let known = hit.query.clone().unwrap_or_default();
        all.push(hit.with("parameter absent", |own| own.query = None));
        let parameter = [format!("{name}={near}"), name.to_owned(), format!("{name}=1")];
        for parameter in parameter {
            all.push(hit.with("near miss of parameter", |own| {
                own.query = Some(query(parameter.clone()));
            }));
            all.push(hit.with("parameter repeated", |own| {
                own.query = Some(query(format!("{known}&{parameter}")));
            }));
        }
    }
    if block["method"].is_object() {
        let other = pick(rng, &["get", "DELETE", "PURGE", "OPTIONS"]);
        all.push(hit.with("near miss of method", |own| other.clone_into(&mut own.method)));
    }
    if block["scheme"].is_object() {
        all.push(hit.with("another scheme", |own| {
            let is_https = own.has_header("x-forwarded-proto");
            own.remove_header("x-forwarded-proto");
            own.add_header("x-forwarded-proto", if is_https { b"http" } else { b"https" });
        }));
    }
    if block["authority"].is_object() {
        all.push(hit.with("another authority", |own| own.host = format!("other.{}", own.host)));
    }
}

/// Requests for what a rule does besides forwarding.
fn of_policies(rng: &mut Rng, hit: &Sent, rule: &Value, all: &mut Vec<Sent>) {
    if rule["corsPolicy"].is_object() {
        let origin = pick(rng, &ORIGINS);
        let of_origin = hit.with("origin", |own| own.add_header("origin", origin.as_bytes()));
        let preflight = of_origin.with("preflight", |own| {
            "OPTIONS".clone_into(&mut own.method);
            own.add_header("access-control-request-method", b"POST");
        });
        let with_headers = preflight.with("preflight", |own| {
            own.add_header("access-control-request-headers", b"x-user,x-new");
        });
        all.extend([of_origin, preflight, with_headers]);
    }
    if rule["retries"].is_object() {
        for status in ["503", "500", "429", "409"] {
            all.push(hit.with("failing upstream", |own| {
                own.add_header("x-test-status", status.as_bytes());
            }));
        }
    }
    // Slow requests take their time, so there are only some.
    let is_limited = ["100ms", "0.15s"].iter().any(|own| rule["timeout"] == **own)
        || rule["retries"]["perTryTimeout"].is_string();
    if is_limited && one_in(rng, 3) {
        all.push(hit.with("slow upstream", |own| own.add_header("x-test-delay", b"400")));
    }
    if rule["fault"]["abort"].is_object() {
        all.push(hit.with("gRPC", |own| {
            own.add_header("content-type", b"application/grpc");
            own.add_header("te", b"trailers");
        }));
    }
    let is_edited = |own: &Value| own["headers"].is_object();
    if is_edited(rule) || rule["route"].as_array().is_some_and(|own| own.iter().any(is_edited)) {
        all.push(hit.with("edited headers", |own| {
            for name in ["x-both", "x-gone", "x-set", "x-added", "x-both", "x-gone-destination"] {
                own.add_header(name, b"client");
            }
        }));
    }
    if rule["rewrite"].is_object() || rule["redirect"].is_object() {
        let query = pick(rng, &QUERIES);
        all.push(hit.with("query with a rewrite", |own| own.query = Some(query.to_owned())));
        all.push(hit.with("longer path", |own| own.path.push_str("/b%20c//d")));
    }
    if rule["mirror"].is_object() || rule["mirrors"].is_array() {
        all.push(hit.with("body with a mirror", |own| {
            "body of a client".clone_into(&mut own.body);
            own.add_header("x-user", b"\xff");
        }));
    }
}

/// A copy that is odd in one way.
fn odd(rng: &mut Rng, base: &Sent) -> Sent {
    let header = pick(rng, &CONDITION_HEADERS);
    match rng.u32(..9) {
        0 | 1 => base.with("odd path", |own| pick(rng, &ODD_PATHS).clone_into(&mut own.path)),
        2 => base.with("odd query", |own| own.query = Some(pick(rng, &QUERIES).to_owned())),
        3 => base.with("odd header", |own| {
            own.remove_header(header);
            own.add_header(header, pick(rng, &ODD_VALUES));
        }),
        4 => base.with("header twice", |own| {
            own.add_header(header, pick(rng, &VALUES).as_bytes());
            own.add_header(header, pick(rng, &ODD_VALUES));
        }),
        5 => base.with("another method", |own| pick(rng, &METHODS).clone_into(&mut own.method)),
        6 => base.with("body", |own| {
            own.body = "body ".repeat(rng.usize(1..2000));
        }),
        7 => base.with("odd path", |own| own.path = swap_case(&own.path)),
        _ => base.with("another host", |own| own.host = format!("unknown.{}", own.host)),
    }
}

/// Whether a request is not one of those that are treated differently by decision.
fn is_allowed(case: &Case, sent: &Sent, version: Version) -> bool {
    // The README of the router filter: Envoy's route, not the rule, limits the deadline of a gRPC
    // request and tells it to the upstream.
    let has_deadlines = case
        .rules()
        .iter()
        .any(|rule| rule["timeout"].is_string() || rule["retries"]["perTryTimeout"].is_string());
    // The README of the router filter: which ports a redirect leaves out depends on the listener in
    // Istio, and on the request in Sluice.
    let redirects_port = case.rules().iter().any(|rule| !rule["redirect"]["port"].is_null());
    if redirects_port && sent.has_header("x-forwarded-proto") {
        return false;
    }
    if has_deadlines && sent.has_header("content-type") {
        return false;
    }
    let blocks =
        case.rules().iter().flat_map(|rule| rule["match"].as_array().into_iter().flatten());
    let mut conditions = blocks.flat_map(|block| {
        entries(&block["headers"]).chain(entries(&block["withoutHeaders"])).collect::<Vec<_>>()
    });
    !conditions.any(|(name, condition)| {
        let is_own = |(own, _): &&(String, Vec<u8>)| own.eq_ignore_ascii_case(name);
        let values: Vec<_> = sent.headers.iter().filter(is_own).collect();
        let is_utf8 = values.iter().all(|(_, value)| value.is_ascii());
        (version.compares_values_alone && values.len() > 1)
            || (version.reads_utf8 && !is_utf8 && condition["regex"].is_string())
    })
}

fn is_pseudo(name: &str) -> bool {
    name.starts_with(':') || name == "host"
}

fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// A path that clients can send.
fn path(text: String) -> String {
    if text.starts_with('/') { text } else { format!("/{text}") }
}

/// A query that clients can send.
fn query(text: String) -> String {
    text.replace(' ', "%20")
}

fn swap_case(text: &str) -> String {
    let swap = |c: char| match c.is_ascii_lowercase() {
        true => c.to_ascii_uppercase(),
        false => c.to_ascii_lowercase(),
    };
    text.chars().map(swap).collect()
}
