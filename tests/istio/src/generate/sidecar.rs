//! What sidecars have beside the rules of gateways: names of services, conditions on the caller,
//! and times that run out.

use fastrand::Rng;
use serde_json::{Value, json};

use super::{http_route, one_in, pick, request};
use crate::behaviour::requests::Sent;

/// The service that gets copies, with a subset for each of [`COPIES`].
pub const COPIED: &str = "copies.default.svc.cluster.local";

/// The subsets of [`COPIED`].
pub const COPIES: [&str; 2] = ["c1", "c2"];

/// The port of all services, and of requests.
const PORT: u16 = 8080;

/// The host of a VirtualService.
pub struct Host {
    /// Its name in `hosts`
    pub name: String,
    /// The services that it covers
    pub services: Vec<String>,
    /// The hosts of requests
    pub asked: Vec<String>,
}

/// The host of the `index`th VirtualService, in one of the forms that rules can name services by.
pub fn host(index: usize) -> Host {
    let own = format!("h{index}");
    let of = |names: &[&str]| names.iter().map(|rest| format!("{own}{rest}")).collect::<Vec<_>>();
    let (name, services, asked) = match index % 5 {
        0 | 1 => (
            own.clone(),
            of(&[".default.svc.cluster.local"]),
            of(&["", ".default", ".default.svc", ".default.svc.cluster.local", ":8080"]),
        ),
        2 => (
            format!("{own}.team.svc.cluster.local"),
            of(&[".team.svc.cluster.local"]),
            of(&[".team", ".team.svc", ".team.svc.cluster.local", ".team:8080", ""]),
        ),
        3 => (
            format!("{own}.example.com"),
            of(&[".example.com"]),
            of(&[".example.com", ".example.com:8080", ".EXAMPLE.com"]),
        ),
        _ => (
            format!("*.{own}.example.com"),
            vec![format!("a.{own}.example.com"), format!("b.{own}.example.com")],
            vec![format!("a.{own}.example.com"), format!("b.{own}.example.com:8080")],
        ),
    };
    Host { name, services, asked }
}

/// Adds conditions and policies to the routes of a VirtualService, and often a route for all
/// requests.
pub fn extend(rng: &mut Rng, spec: &mut Value) {
    let Some(routes) = spec["http"].as_array_mut() else { return };
    if !one_in(rng, 3) {
        let mut last = http_route(rng);
        last.as_object_mut().and_then(|own| own.remove("match"));
        routes.push(last);
    }
    for route in routes {
        let conditions = route.get_mut("match").and_then(Value::as_array_mut);
        conditions.into_iter().flatten().for_each(|own| extend_condition(rng, own));
        if route["route"].is_array() || route["delegate"].is_object() {
            extend_route(rng, route);
        }
    }
}

fn extend_condition(rng: &mut Rng, condition: &mut Value) {
    if one_in(rng, 8) {
        condition["sourceLabels"] = json!({ "app": pick(rng, &["caller", "caller", "other"]) });
    }
    if one_in(rng, 12) {
        condition["sourceNamespace"] = pick(rng, &["default", "default", "team"]).into();
    }
    if one_in(rng, 10) {
        condition["port"] = pick(rng, &[PORT, PORT, 9999]).into();
    }
    if one_in(rng, 10) {
        condition["gateways"] = json!([pick(rng, &["mesh", "mesh", "default/other"])]);
    }
    if one_in(rng, 8) {
        condition["authority"] = match rng.u32(..3) {
            0 => json!({ "prefix": "h" }),
            1 => json!({ "regex": ".*[.]example[.]com" }),
            _ => json!({ "regex": "h[0-9]*" }),
        };
    }
    if one_in(rng, 10) {
        condition["scheme"] = json!({ "exact": pick(rng, &["http", "http", "https"]) });
    }
}

fn extend_route(rng: &mut Rng, route: &mut Value) {
    if one_in(rng, 4) {
        add_mirrors(rng, route);
    }
    if one_in(rng, 6) {
        route["fault"]["delay"] = json!({
            "fixedDelay": "250ms",
            "percentage": { "value": pick(rng, &[0, 100, 100]) },
        });
    }
    if one_in(rng, 4) {
        route["timeout"] = "400ms".into();
    }
    if one_in(rng, 2) {
        route["retries"] = retries(rng);
    }
}

/// Retries whose tries have time enough for a machine that does something else too.
fn retries(rng: &mut Rng) -> Value {
    let attempts = rng.u32(..4);
    let mut retries = json!({ "attempts": attempts });
    if attempts == 0 {
        return retries;
    }
    match rng.u32(..7) {
        0 => retries["retryOn"] = "5xx".into(),
        1 => retries["retryOn"] = "gateway-error".into(),
        2 => retries["retryOn"] = "retriable-4xx,503".into(),
        3 => retries["retryOn"] = "connect-failure,refused-stream,500".into(),
        4 => retries["retryOn"] = "reset".into(),
        5 => retries["retryOn"] = "5xx,retriable-status-codes,404".into(),
        _ => {}
    }
    if one_in(rng, 3) {
        retries["perTryTimeout"] = "220ms".into();
    }
    if one_in(rng, 5) {
        retries["retryRemoteLocalities"] = true.into();
    }
    retries
}

fn add_mirrors(rng: &mut Rng, route: &mut Value) {
    let target = |rng: &mut Rng| {
        let host = pick(rng, &["copies", COPIED]);
        let mut target = json!({ "host": host, "subset": pick(rng, &COPIES) });
        if rng.bool() {
            target["port"] = json!({ "number": PORT });
        }
        target
    };
    let share = |rng: &mut Rng| json!({ "value": pick(rng, &[0, 100, 100]) });
    if rng.bool() {
        route["mirror"] = target(rng);
        if rng.bool() {
            route["mirrorPercentage"] = share(rng);
        }
        return;
    }
    let mirror = |rng: &mut Rng| {
        let mut mirror = json!({ "destination": target(rng) });
        if rng.bool() {
            mirror["percentage"] = share(rng);
        }
        mirror
    };
    let count = rng.usize(1..=2);
    route["mirrors"] = (0..count).map(|_| mirror(rng)).collect();
}

/// A random request for a host, with what the upstream is to do.
pub fn asked(rng: &mut Rng, host: &Host) -> Sent {
    let like_gateway = request(rng);
    let headers = like_gateway.headers.iter();
    let mut headers: Vec<_> =
        headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    add_trouble(rng, &mut headers);
    Sent {
        case: host.name.clone(),
        service: host.name.clone(),
        kind: "",
        port: PORT,
        method: like_gateway.method.to_owned(),
        host: host.asked[rng.usize(..host.asked.len())].clone(),
        path: like_gateway.target,
        query: Vec::new(),
        headers,
    }
}

/// Adds headers to a request that say what the upstream does with it.
pub fn add_trouble(rng: &mut Rng, headers: &mut Vec<(String, String)>) {
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
    match rng.u32(..8) {
        0 => add("x-test-delay", "600"),
        1 | 2 => add("x-test-status", pick(rng, &["500", "503", "502", "404", "409"])),
        _ => {}
    }
    if one_in(rng, 2) {
        add("x-test-fail", pick(rng, &["1", "2"]));
    }
}
