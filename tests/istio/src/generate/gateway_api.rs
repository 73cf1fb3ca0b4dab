//! Random HTTPRoutes and GRPCRoutes from a seed, and requests for them.

use fastrand::Rng;
use serde_json::{Value, json};

use super::sidecar::add_trouble;
use super::{METHODS, PATHS, QUERIES, USERS, one_in, pick};
use crate::behaviour::requests::Sent;

/// The Services of backends.
pub const BACKENDS: [&str; 3] = ["v1", "v2", "v3"];

/// The Services that get copies.
pub const COPIES: [&str; 2] = ["c1", "c2"];

/// The namespaces of routes. The Services are in the first.
pub const NAMESPACES: [&str; 2] = ["routes", "team"];

/// The port of the Services.
pub const PORT: u16 = 80;

const PREFIXES: [&str; 7] = ["/", "/", "/a", "/a/", "/api", "/api/v1", "/old"];
const EXPRESSIONS: [&str; 5] =
    ["/a/.*", "/api/v[0-9]+/.*", "/(a|old)/[^/]+", "/.*[.]png", "/[a-z]*"];
const GRPC_SERVICES: [&str; 3] = ["shop.Cart", "shop.CartV2", "shop.Order"];
const GRPC_METHODS: [&str; 3] = ["Get", "GetAll", "Put"];

/// Routes of one host or of no host, and the hosts of requests for them.
pub struct Group {
    /// The name of the group
    pub name: String,
    /// Kind, namespace, and `spec` of each
    pub routes: Vec<(&'static str, &'static str, Value)>,
    /// The hosts of requests
    pub asked: Vec<String>,
    /// Whether requests are those of gRPC
    pub is_grpc: bool,
}

/// The routes of the `index`th group, which are attached to `parent`.
pub fn group(rng: &mut Rng, index: usize, parent: &Value) -> Group {
    let name = format!("g{index}");
    let host = format!("{name}.example.com");
    let is_grpc = index % 5 == 4;
    let mut routes = Vec::new();
    let mut add = |rng: &mut Rng, hostnames: &[String]| {
        let count = rng.usize(1..=4);
        let namespace = pick(rng, &[NAMESPACES[0], NAMESPACES[0], NAMESPACES[1]]);
        let rule = if is_grpc { grpc_rule } else { http_rule };
        let rules: Vec<_> = (0..count).map(|_| rule(rng)).collect();
        let spec = json!({ "parentRefs": [parent], "hostnames": hostnames, "rules": rules });
        let kind = if is_grpc { "GRPCRoute" } else { "HTTPRoute" };
        routes.push((kind, namespace, spec));
    };
    let mut asked = vec![host.clone(), host.to_uppercase(), format!("{host}:8090")];
    let count = rng.usize(1..=3);
    (0..count).for_each(|_| add(rng, std::slice::from_ref(&host)));
    if index % 5 == 3 {
        // A wildcard beside an exact name, and both in one route.
        add(rng, &[format!("*.{host}")]);
        add(rng, &[format!("a.{host}")]);
        add(rng, &[format!("b.{host}"), format!("*.c.{host}")]);
        asked = ["a", "b", "x", "x.y", "x.c"].map(|own| format!("{own}.{host}")).into();
    }
    Group { name, routes, asked, is_grpc }
}

/// A random request for a group.
pub fn asked(rng: &mut Rng, group: &Group) -> Sent {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
    if rng.bool() {
        add("x-user", pick(rng, &USERS));
    }
    if one_in(rng, 4) {
        add("x-debug", "1");
    }
    let (method, path) = if group.is_grpc {
        add("content-type", "application/grpc");
        add("te", "trailers");
        let (service, method) = (pick(rng, &GRPC_SERVICES), pick(rng, &GRPC_METHODS));
        ("POST", format!("/{service}/{method}"))
    } else {
        if one_in(rng, 4) {
            add("origin", pick(rng, &["https://a.example.com", "https://evil.example"]));
            if rng.bool() {
                add("access-control-request-method", "GET");
            }
        }
        (pick(rng, &METHODS), format!("{}{}", pick(rng, &PATHS), pick(rng, &QUERIES)))
    };
    add_trouble(rng, &mut headers);
    Sent {
        case: group.name.clone(),
        service: group.name.clone(),
        kind: "",
        port: 0,
        method: method.to_owned(),
        host: group.asked[rng.usize(..group.asked.len())].clone(),
        path,
        query: Vec::new(),
        headers,
    }
}

fn http_rule(rng: &mut Rng) -> Value {
    let mut rule = json!({});
    if !one_in(rng, 6) {
        let count = rng.usize(1..=2);
        rule["matches"] = (0..count).map(|_| http_match(rng)).collect();
    }
    let mut filters = header_modifiers(rng, "route");
    if one_in(rng, 6) {
        filters.push(redirect(rng, replaces_prefix(&rule)));
        rule["filters"] = filters.into();
        return rule;
    }
    if one_in(rng, 4) {
        filters.push(rewrite(rng, replaces_prefix(&rule)));
    }
    if one_in(rng, 4) {
        let count = rng.usize(1..=2);
        (0..count).for_each(|_| filters.push(mirror(rng)));
    }
    if one_in(rng, 5) {
        filters.push(cors(rng));
    }
    if !filters.is_empty() {
        rule["filters"] = filters.into();
    }
    if one_in(rng, 4) {
        rule["timeouts"] = match rng.u32(..4) {
            0 => json!({ "request": "0s" }),
            1 => json!({ "backendRequest": "220ms" }),
            2 => json!({ "request": "400ms", "backendRequest": "220ms" }),
            _ => json!({ "request": "400ms" }),
        };
    }
    if one_in(rng, 3) {
        rule["retry"] = retry(rng);
    }
    backends(rng, &mut rule);
    rule
}

fn grpc_rule(rng: &mut Rng) -> Value {
    let mut rule = json!({});
    if !one_in(rng, 6) {
        let count = rng.usize(1..=2);
        rule["matches"] = (0..count).map(|_| grpc_match(rng)).collect();
    }
    let mut filters = header_modifiers(rng, "route");
    if one_in(rng, 4) {
        filters.push(mirror(rng));
    }
    if !filters.is_empty() {
        rule["filters"] = filters.into();
    }
    backends(rng, &mut rule);
    rule
}

fn http_match(rng: &mut Rng) -> Value {
    let mut matched = json!({});
    if !one_in(rng, 5) {
        matched["path"] = match rng.u32(..4) {
            0 => json!({ "type": "Exact", "value": pick(rng, &PATHS[..10]) }),
            1 => json!({ "type": "RegularExpression", "value": pick(rng, &EXPRESSIONS) }),
            _ => json!({ "type": "PathPrefix", "value": pick(rng, &PREFIXES) }),
        };
    }
    if one_in(rng, 3) {
        matched["headers"] = json!([user(rng)]);
        if one_in(rng, 4) {
            matched["headers"] = json!([user(rng), { "name": "X-Debug", "value": "1" }]);
        }
    }
    if one_in(rng, 5) {
        matched["method"] = pick(rng, &METHODS).into();
    }
    if one_in(rng, 5) {
        matched["queryParams"] = match rng.u32(..3) {
            0 => json!([{ "name": "q", "type": "RegularExpression", "value": "[0-9]+" }]),
            1 => json!([{ "name": "q", "value": "1" }, { "name": "r", "value": "x" }]),
            _ => json!([{ "name": "q", "value": "1" }]),
        };
    }
    matched
}

fn grpc_match(rng: &mut Rng) -> Value {
    let mut matched = json!({});
    let kind = pick(rng, &["Exact", "Exact", "RegularExpression"]);
    let is_exact = kind == "Exact";
    let mut method = json!({ "type": kind });
    let parts = rng.u32(..3);
    if parts < 2 {
        let expression = pick(rng, &["shop[.]Cart.*", "shop[.].*"]);
        let service = if is_exact { pick(rng, &GRPC_SERVICES) } else { expression };
        method["service"] = service.into();
    }
    if parts > 0 {
        let name = if is_exact { pick(rng, &GRPC_METHODS) } else { "Get.*" };
        method["method"] = name.into();
    }
    if !one_in(rng, 5) {
        matched["method"] = method;
    }
    // istiod ranks a match without any condition above a rule without matches, which is the same.
    if matched == json!({}) || one_in(rng, 3) {
        matched["headers"] = json!([user(rng)]);
    }
    matched
}

fn user(rng: &mut Rng) -> Value {
    match rng.u32(..3) {
        0 => json!({ "name": "x-user", "type": "RegularExpression", "value": "[a-z]+" }),
        1 => json!({ "name": "X-User", "value": "kimberly" }),
        _ => json!({ "name": "x-user", "type": "Exact", "value": "kim" }),
    }
}

/// Edits of headers, with other names for rules than for backends: which of the two wins is open.
/// Values have no %, since Envoy rejects the routes that istiod makes of them.
fn header_modifiers(rng: &mut Rng, place: &str) -> Vec<Value> {
    let mut filters = Vec::new();
    for (kind, field, removed) in [
        ("RequestHeaderModifier", "requestHeaderModifier", "x-debug"),
        ("ResponseHeaderModifier", "responseHeaderModifier", "x-upstream"),
    ] {
        if !one_in(rng, 4) {
            continue;
        }
        let mut edits = json!({
            "set": [{ "name": format!("X-Set-{place}"), "value": format!("{kind} of {place}") }],
        });
        if rng.bool() {
            edits["add"] = json!([{ "name": format!("x-added-{place}"), "value": place }]);
        }
        if one_in(rng, 3) {
            edits["remove"] = json!([removed]);
        }
        filters.push(json!({ "type": kind, field: edits }));
    }
    filters
}

/// Whether a rule may replace the prefix of a path: all its matches have one.
fn replaces_prefix(rule: &Value) -> bool {
    let matches = rule["matches"].as_array();
    matches.is_some_and(|own| own.len() == 1 && own[0]["path"]["type"] == "PathPrefix")
}

fn path_modifier(rng: &mut Rng, has_prefix: bool) -> Value {
    if has_prefix && rng.bool() {
        let value = pick(rng, &["/", "/new", "/new/"]);
        return json!({ "type": "ReplacePrefixMatch", "replacePrefixMatch": value });
    }
    json!({ "type": "ReplaceFullPath", "replaceFullPath": pick(rng, &["/", "/elsewhere"]) })
}

fn redirect(rng: &mut Rng, has_prefix: bool) -> Value {
    let mut redirect = json!({});
    if rng.bool() {
        redirect["path"] = path_modifier(rng, has_prefix);
    }
    if one_in(rng, 3) {
        redirect["hostname"] = "www.example.com".into();
    }
    if one_in(rng, 3) {
        redirect["scheme"] = pick(rng, &["http", "https"]).into();
    }
    if one_in(rng, 3) {
        redirect["port"] = pick(rng, &[80, 443, 8443]).into();
    }
    if rng.bool() {
        redirect["statusCode"] = pick(rng, &[301, 302, 303, 307, 308]).into();
    }
    json!({ "type": "RequestRedirect", "requestRedirect": redirect })
}

fn rewrite(rng: &mut Rng, has_prefix: bool) -> Value {
    let mut rewrite = json!({});
    if one_in(rng, 3) {
        rewrite["hostname"] = "other.example.com".into();
    }
    if rewrite == json!({}) || rng.bool() {
        rewrite["path"] = path_modifier(rng, has_prefix);
    }
    json!({ "type": "URLRewrite", "urlRewrite": rewrite })
}

fn mirror(rng: &mut Rng) -> Value {
    let name = pick(rng, &COPIES);
    let backend = json!({ "name": name, "namespace": NAMESPACES[0], "port": PORT });
    let mut mirror = json!({ "backendRef": backend });
    match rng.u32(..4) {
        0 => mirror["percent"] = pick(rng, &[0, 100]).into(),
        1 => mirror["fraction"] = json!({ "numerator": pick(rng, &[0, 7]), "denominator": 7 }),
        _ => {}
    }
    json!({ "type": "RequestMirror", "requestMirror": mirror })
}

fn cors(rng: &mut Rng) -> Value {
    let origin = pick(rng, &["https://a.example.com", "https://*.example.com", "*"]);
    let mut cors = json!({ "allowOrigins": [origin], "allowMethods": ["GET", "POST"] });
    if rng.bool() {
        cors["allowHeaders"] = json!(["x-user"]);
        cors["exposeHeaders"] = json!(["x-set"]);
        cors["maxAge"] = 60.into();
    }
    if rng.bool() {
        cors["allowCredentials"] = rng.bool().into();
    }
    json!({ "type": "CORS", "cors": cors })
}

fn retry(rng: &mut Rng) -> Value {
    let mut retry = json!({});
    if rng.bool() {
        retry["attempts"] = rng.u32(1..4).into();
    }
    if !one_in(rng, 3) {
        retry["codes"] = pick(rng, &[[500, 503].as_slice(), &[502], &[503, 404]]).into();
    }
    if one_in(rng, 4) {
        retry["backoff"] = "25ms".into();
    }
    retry
}

fn backends(rng: &mut Rng, rule: &mut Value) {
    let backend = |rng: &mut Rng, name: &str, weight: Option<u32>| {
        let mut backend = json!({ "name": name, "namespace": NAMESPACES[0], "port": PORT });
        if let Some(weight) = weight {
            backend["weight"] = weight.into();
        }
        let filters = header_modifiers(rng, "backend");
        if !filters.is_empty() {
            backend["filters"] = filters.into();
        }
        backend
    };
    let chosen = rng.usize(..BACKENDS.len());
    rule["backendRefs"] = match rng.u32(..12) {
        0 => return,
        1 => BACKENDS.iter().map(|name| backend(rng, name, Some(0))).collect(),
        2..=5 => {
            let weight = |index: usize| if index == chosen { 100 } else { 0 };
            let all = BACKENDS.iter().enumerate();
            all.map(|(index, name)| backend(rng, name, Some(weight(index)))).collect()
        }
        _ => json!([backend(rng, BACKENDS[chosen], None)]),
    };
}
