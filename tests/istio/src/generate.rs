//! Random VirtualServices and requests from a seed. Few different words are used, so that requests
//! often match.

pub mod gateway_api;
pub mod inbound;
pub mod sidecar;

use fastrand::Rng;
use serde_json::{Value, json};

/// A destination of routes, on port 8080.
pub const SERVICE: &str = "echo.default.svc.cluster.local";

/// The other destination, on the ports 8080 and 8081.
pub const SERVICE_ON_TWO_PORTS: &str = "echoes.default.svc.cluster.local";

/// The methods of requests.
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "OPTIONS"];
const PATHS: [&str; 12] = [
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/A/b",
    "/ab",
    "/api",
    "/api/v1/users",
    "/api/v2/users/7",
    "/old/x.png",
    "/a%2Fb",
    "/x//y",
];
const QUERIES: [&str; 7] = ["", "?q=1", "?q=12&r=x", "?r=x&q=one", "?q", "?Q=1", "?q=1&q=2"];
const PREFIXES: [&str; 6] = ["/", "/a", "/a/", "/api", "/api/v1", "/old"];
const EXPRESSIONS: [&str; 6] =
    ["/a/.*", "/api/v[0-9]+/.*", "/(a|old)/[^/]+", ".*[.]png", "/[a-z]*", "/A/b|/ab"];
const USERS: [&str; 5] = ["", "kim", "KIM", "kimberly", "x kim"];
const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The method
    pub method: &'static str,
    /// Path and query
    pub target: String,
    /// Headers other than the host
    pub headers: Vec<(&'static str, &'static str)>,
}

/// The spec of a VirtualService for `host`, bound to `gateway`.
pub fn virtual_service(rng: &mut Rng, host: &str, gateway: &str) -> Value {
    let routes: Vec<_> = (0..rng.usize(1..=4)).map(|_| http_route(rng)).collect();
    json!({ "hosts": [host], "gateways": [gateway], "http": routes })
}

/// The spec of a VirtualService for `host`, bound to `gateway`, most of whose routes name one of
/// `delegates` by namespace and name.
pub fn root(rng: &mut Rng, host: &str, gateway: &str, delegates: &[(&str, String)]) -> Value {
    let mut routes: Vec<_> =
        (0..rng.usize(1..=3)).map(|_| delegating_route(rng, delegates)).collect();
    if rng.bool() {
        routes.push(http_route(rng));
    }
    json!({ "hosts": [host], "gateways": [gateway], "http": routes })
}

/// The spec of a delegate.
pub fn delegate(rng: &mut Rng) -> Value {
    let routes: Vec<_> = (0..rng.usize(1..=3)).map(|_| http_route(rng)).collect();
    let mut spec = json!({ "http": routes });
    if one_in(rng, 4) {
        spec["exportTo"] =
            pick(rng, &[json!(["."]), json!(["*"]), json!(["default"])].each_ref()).clone();
    }
    spec
}

fn delegating_route(rng: &mut Rng, delegates: &[(&str, String)]) -> Value {
    let (namespace, name) = &delegates[rng.usize(..delegates.len())];
    let mut route = json!({ "delegate": { "name": name } });
    if *namespace != "default" || rng.bool() {
        route["delegate"]["namespace"] = (*namespace).into();
    }
    if rng.bool() {
        let count = rng.usize(1..=2);
        route["match"] = (0..count).map(|_| condition(rng)).collect();
    }
    if one_in(rng, 3) {
        route["name"] = "root".into();
    }
    if one_in(rng, 8) {
        route["directResponse"] = direct_response(rng);
    }
    if one_in(rng, 3) {
        route["headers"] = operations(rng, "root");
    }
    add_policies(rng, &mut route);
    route
}

/// A random request for one of the VirtualServices.
pub fn request(rng: &mut Rng) -> Sent {
    let mut headers = Vec::new();
    if rng.bool() {
        headers.push(("x-user", pick(rng, &USERS)));
    }
    if rng.u8(..) < 64 {
        headers.push(("x-debug", "1"));
    }
    if rng.u8(..) < 64 {
        headers.push(("origin", pick(rng, &["https://a.example.com", "https://evil.example"])));
        if rng.bool() {
            headers.push(("access-control-request-method", "GET"));
        }
    }
    let target = format!("{}{}", pick(rng, &PATHS), pick(rng, &QUERIES));
    Sent { method: pick(rng, &METHODS), target, headers }
}

fn pick<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

fn one_in(rng: &mut Rng, count: u32) -> bool {
    rng.u32(..count) == 0
}

fn http_route(rng: &mut Rng) -> Value {
    let mut route = json!({});
    if !one_in(rng, 5) {
        let count = rng.usize(1..=2);
        route["match"] = (0..count).map(|_| condition(rng)).collect();
    }
    match rng.u32(..8) {
        0 => route["redirect"] = redirect(rng),
        1 => route["directResponse"] = direct_response(rng),
        _ => forward(rng, &mut route),
    }
    if one_in(rng, 3) {
        route["headers"] = operations(rng, "route");
    }
    route
}

fn forward(rng: &mut Rng, route: &mut Value) {
    route["route"] = if one_in(rng, 3) {
        let chosen = rng.usize(..VERSIONS.len());
        let weight = |index: usize| if index == chosen { 100 } else { 0 };
        (0..VERSIONS.len())
            .map(|index| destination(rng, VERSIONS[index], Some(weight(index))))
            .collect()
    } else {
        let version = pick(rng, &VERSIONS);
        let mut target = destination(rng, version, None);
        if one_in(rng, 4) {
            target["headers"] = operations(rng, "destination");
        }
        json!([target])
    };
    add_policies(rng, route);
}

fn add_policies(rng: &mut Rng, route: &mut Value) {
    if one_in(rng, 3) {
        route["rewrite"] = rewrite(rng);
    }
    if one_in(rng, 6) {
        route["timeout"] = json!(pick(rng, &["2s", "5s"]));
    }
    if one_in(rng, 6) {
        route["retries"] = match rng.u32(..3) {
            0 => json!({ "attempts": 0 }),
            attempts => json!({ "attempts": attempts, "retryOn": "5xx" }),
        };
    }
    if one_in(rng, 5) {
        route["fault"] = json!({ "abort": {
            "httpStatus": pick(rng, &[400, 418, 503]),
            "percentage": { "value": pick(rng, &[0, 100]) },
        } });
    }
    if one_in(rng, 5) {
        route["corsPolicy"] = json!({
            "allowOrigins": [{ "exact": "https://a.example.com" }],
            "allowMethods": ["GET", "POST"],
            "allowHeaders": ["x-user"],
            "exposeHeaders": ["x-set"],
            "maxAge": "60s",
            "allowCredentials": rng.bool(),
        });
    }
}

/// A destination with or without a port, of a service with one port or with two.
fn destination(rng: &Rng, version: &str, weight: Option<u32>) -> Value {
    // A copy, so that the other choices stay the same.
    let mut target = match rng.clone().u8(..3) {
        0 => json!({ "destination": { "host": SERVICE, "port": { "number": 8080 } } }),
        1 => json!({ "destination": { "host": SERVICE } }),
        _ => json!({ "destination": { "host": SERVICE_ON_TWO_PORTS } }),
    };
    target["destination"]["subset"] = version.into();
    if let Some(weight) = weight {
        target["weight"] = weight.into();
    }
    target
}

fn condition(rng: &mut Rng) -> Value {
    let mut condition = json!({});
    if !one_in(rng, 4) {
        condition["uri"] = path_match(rng);
        if one_in(rng, 4) {
            condition["ignoreUriCase"] = true.into();
        }
    }
    if one_in(rng, 3) {
        condition["headers"] = json!({ "x-user": user_match(rng) });
    }
    if one_in(rng, 6) {
        let field = if rng.bool() { "headers" } else { "withoutHeaders" };
        condition[field]["x-debug"] = json!({});
    }
    if one_in(rng, 4) {
        condition["method"] = match rng.u32(..3) {
            0 => json!({ "regex": "GET|PUT" }),
            1 => json!({ "prefix": "P" }),
            _ => json!({ "exact": pick(rng, &METHODS) }),
        };
    }
    if one_in(rng, 4) {
        condition["queryParams"] = json!({ "q": match rng.u32(..3) {
            0 => json!({ "regex": "[0-9]+" }),
            1 => json!({ "prefix": "1" }),
            _ => json!({ "exact": "1" }),
        } });
    }
    if condition == json!({}) {
        condition["uri"] = path_match(rng);
    }
    condition
}

fn path_match(rng: &mut Rng) -> Value {
    match rng.u32(..3) {
        0 => json!({ "exact": pick(rng, &PATHS) }),
        1 => json!({ "prefix": pick(rng, &PREFIXES) }),
        _ => json!({ "regex": pick(rng, &EXPRESSIONS) }),
    }
}

fn user_match(rng: &mut Rng) -> Value {
    match rng.u32(..4) {
        0 => json!({ "exact": "kim" }),
        1 => json!({ "prefix": "kim" }),
        2 => json!({ "regex": "[a-z]+" }),
        _ => json!({}),
    }
}

fn rewrite(rng: &mut Rng) -> Value {
    match rng.u32(..4) {
        0 => json!({ "uri": pick(rng, &["/", "/new", "/new/"]) }),
        1 => json!({ "authority": "other.example.com" }),
        2 => json!({ "uri": "/new", "authority": "other.example.com" }),
        _ => json!({ "uriRegexRewrite": { "match": "/([a-z]+)/(.*)", "rewrite": "/\\2/\\1" } }),
    }
}

fn redirect(rng: &mut Rng) -> Value {
    let mut redirect = json!({});
    match rng.u32(..4) {
        0 => redirect["uri"] = "/elsewhere".into(),
        1 => redirect["uri"] = "/elsewhere?x=1".into(),
        2 => redirect["scheme"] = "https".into(),
        _ => redirect["authority"] = "www.example.com".into(),
    }
    if one_in(rng, 3) {
        redirect["authority"] = "other.example.com".into();
    }
    if one_in(rng, 3) {
        redirect["scheme"] = "https".into();
    }
    if one_in(rng, 4) {
        redirect["port"] = 8443.into();
    }
    if one_in(rng, 2) {
        redirect["redirectCode"] = pick(rng, &[301, 302, 303, 307, 308]).into();
    }
    redirect
}

fn direct_response(rng: &mut Rng) -> Value {
    let mut response = json!({ "status": pick(rng, &[200, 404, 418, 503]) });
    if rng.bool() {
        response["body"] = json!({ "string": "fixed\n" });
    }
    response
}

/// Edits of headers. Routes and destinations edit different names, because if both edit the same
/// one, the order in Istio depends on the number of destinations.
fn operations(rng: &mut Rng, place: &str) -> Value {
    let mut of = |message: &str| {
        let mut operations = json!({});
        if rng.bool() {
            operations["set"] =
                json!({ format!("x-set-{place}"): format!("{message} 100%% {place}") });
        }
        if rng.bool() {
            operations["add"] = json!({ format!("x-added-{place}"): place });
        }
        if rng.bool() {
            let name = if message == "request" { "x-debug" } else { "x-upstream" };
            operations["remove"] = json!([name]);
        }
        operations
    };
    json!({ "request": of("request"), "response": of("response") })
}
