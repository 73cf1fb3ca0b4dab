//! Requests from the conditions of VirtualServices: each is satisfied, and each is missed once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cases::is_new;
use super::objects::{
    Context, all_destinations, case_name, complete, http_routes, is_exported, namespace,
    virtual_services,
};
use super::sample::satisfying;
use super::services::{Service, is_dangling};

/// Requests for a VirtualService beyond which the rest is left out.
const LIMIT: usize = 100;

/// The only port on which istiod applies a VirtualService in a sidecar if its host is no service.
pub const SIDECAR_PORT: u16 = 80;

/// One request of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// The name of its case
    pub case: String,
    /// The name of its VirtualService
    pub service: String,
    /// What is unusual about it
    pub kind: &'static str,
    /// The port of the listener
    pub port: u16,
    /// The method
    pub method: String,
    /// The host, with or without a port
    pub host: String,
    /// The path without a query
    pub path: String,
    /// The parameters of the query
    pub query: Vec<String>,
    /// Headers other than the host
    pub headers: Vec<(String, String)>,
}

impl Sent {
    fn to(service: &Value, host: &str, port: u16) -> Self {
        Self {
            case: case_name(service).to_owned(),
            service: service["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            kind: "",
            port,
            method: "GET".to_owned(),
            host: host.to_owned(),
            path: "/".to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Path and query.
    pub fn target(&self) -> String {
        match self.query.is_empty() {
            true => self.path.clone(),
            false => format!("{}?{}", self.path, self.query.join("&")),
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    fn with_header(&self, name: &str, value: &str) -> Self {
        self.with(|own| own.headers.push((name.to_owned(), value.to_owned())))
    }

    fn without_header(&self, name: &str) -> Self {
        self.with(|own| own.headers.retain(|(known, _)| known != name))
    }

    /// Returns whether an HTTP client can send it.
    fn is_valid(&self) -> bool {
        let is_plain = |text: &str| text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let is_header = |(name, value): &(String, String)| {
            is_name(name) && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        };
        self.path.starts_with('/')
            && is_plain(&self.target())
            && !self.target().contains(['#', '"', '<', '>', '\\', '^', '`', '{', '|', '}'])
            && !self.host.is_empty()
            && is_plain(&self.host)
            && !self.host.contains(['/', '*', '?', '#'])
            && is_name(&self.method)
            && self.headers.iter().all(is_header)
    }
}

/// Returns the requests for a case, and how many are left out.
pub fn requests(
    objects: &[Value],
    compared: &str,
    services: &[Service],
    ports: &BTreeSet<u16>,
    context: Context,
) -> (Vec<Sent>, usize) {
    let (mut requests, mut left_out) = (Vec::new(), 0);
    let mut services_of: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for own in virtual_services(objects) {
        for host in own["spec"]["hosts"].as_array().into_iter().flatten() {
            let host = complete(host.as_str().unwrap_or_default(), namespace(own));
            services_of.entry(host).or_default().push(own);
        }
    }
    for own in virtual_services(objects).filter(|own| namespace(own) == compared && is_new(own)) {
        let mut all = Vec::new();
        let hosts = own["spec"]["hosts"].as_array().into_iter().flatten();
        let mut hosts: Vec<_> = hosts.filter_map(Value::as_str).collect();
        if context == Context::Sidecar {
            // istiod applies the rules of a wildcard to the services that it contains.
            let is_free = |own: &&Service| !services_of.contains_key(&own.host);
            let is_within = |name: &str| {
                let ends = hosts.iter().filter_map(|host| host.strip_prefix('*'));
                ends.into_iter().any(|end| name.ends_with(end))
            };
            let within = services.iter().filter(is_free).map(|own| own.host.as_str());
            let within: Vec<_> = within.filter(|name| is_within(name)).collect();
            hosts.extend(within);
        }
        for (index, host) in hosts.into_iter().enumerate() {
            let ports = ports_of(&complete(host, compared), services, ports, context);
            // The conditions are the same for all hosts.
            let is_first = index == 0;
            for (other, port) in ports.iter().enumerate() {
                // Only sidecars know short names.
                let host = match context {
                    Context::Gateway => complete(host, compared),
                    Context::Sidecar => host.to_owned(),
                };
                let mut of_this = Vec::new();
                of_host(objects, own, &host, *port, is_first && other == 0, &mut of_this);
                // One of them decides about the request.
                let sharing = services_of.get(&complete(&host, compared));
                let sharing = sharing.cloned().unwrap_or_else(|| vec![own]);
                let is_dangling = |own: &&Value| is_dangling(own, objects, services);
                let kind = match context {
                    _ if !is_exported(own, compared) => Some("not exported"),
                    Context::Gateway if sharing.len() > 1 => {
                        Some("host of several VirtualServices")
                    }
                    _ if sharing.iter().any(is_dangling) => Some("unknown destination"),
                    Context::Sidecar => sidecar_kind(&sharing, objects, &host, *port, services),
                    Context::Gateway => None,
                };
                for sent in &mut of_this {
                    sent.kind = kind.unwrap_or(sent.kind);
                }
                all.extend(of_this);
            }
        }
        let mut known = BTreeSet::new();
        all.retain(|own| own.is_valid() && known.insert(own.clone()));
        left_out += all.len().saturating_sub(LIMIT);
        all.truncate(LIMIT);
        requests.extend(all);
    }
    (requests, left_out)
}

/// What is unusual about requests that a sidecar gets for VirtualServices of a host on a port.
fn sidecar_kind(
    sharing: &[&Value],
    objects: &[Value],
    host: &str,
    port: u16,
    services: &[Service],
) -> Option<&'static str> {
    let is_for_mesh = |block: &Value| {
        block["gateways"].as_array().is_none_or(|own| own.iter().any(|name| name == "mesh"))
    };
    let is_for_port =
        |block: &Value| is_for_mesh(block) && (block["port"].is_null() || block["port"] == port);
    let mut routes = sharing.iter().flat_map(|own| http_routes(own));
    let has_rules = routes.any(|route| match route["match"].as_array() {
        Some(blocks) => blocks.iter().any(is_for_port),
        None => true,
    });
    let mut targets = sharing.iter().flat_map(|own| all_destinations(own, objects));
    let has_other_port = targets.any(|(namespace, destination)| {
        let host = destination["host"].as_str().unwrap_or_default();
        let host = complete(host, namespace);
        let service = services.iter().find(|own| own.host == host);
        match destination["port"]["number"].as_u64() {
            Some(own) => own != u64::from(port),
            None => service.is_some_and(|own| own.ports.iter().all(|(own, _)| *own != port)),
        }
    });
    match () {
        () if !has_rules => Some("port without rules"),
        () if host.contains('*') => Some("wildcard"),
        () if has_other_port => Some("other port of the destination"),
        () => None,
    }
}

/// The ports on which a host is called.
fn ports_of(host: &str, services: &[Service], ports: &BTreeSet<u16>, context: Context) -> Vec<u16> {
    let service = services.iter().find(|own| own.host == host);
    match (context, service) {
        (Context::Sidecar, Some(service)) => service.http_ports(),
        (Context::Sidecar, None) => vec![SIDECAR_PORT],
        (Context::Gateway, _) => ports.iter().copied().collect(),
    }
}

/// The requests for a host on a port.
fn of_host(
    objects: &[Value],
    service: &Value,
    host: &str,
    port: u16,
    is_first: bool,
    all: &mut Vec<Sent>,
) {
    let name = match host {
        "*" => "any.example.com".to_owned(),
        _ => host.replacen('*', "any", 1),
    };
    let base = Sent::to(service, &name, port);
    all.push(base.with(|own| own.path = "/sluice-unknown".to_owned()));
    all.push(base.with(|own| own.host = format!("{name}:{port}")));
    all.push(base.with(|own| own.host = name.to_uppercase()));
    let namespace = namespace(service);
    let end = format!(".{namespace}.svc.cluster.local");
    if let Some(short) = name.strip_suffix(&end) {
        all.push(base.with(|own| {
            own.host = short.to_owned();
            own.kind = "short name";
        }));
    }
    if !name.contains('.') {
        all.push(base.with(|own| own.host = format!("{name}.{namespace}")));
        all.push(base.with(|own| own.host = complete(&name, namespace)));
    }
    for route in http_routes(service) {
        let blocks = route["match"].as_array().cloned().unwrap_or_else(|| vec![Value::Null]);
        for block in &blocks {
            let Some(hit) = satisfy(&base, block) else { continue };
            all.push(hit.clone());
            if is_first {
                miss(&hit, block, all);
                of_delegate(objects, service, route, &hit, all);
            }
        }
        if let Some(hit) = blocks.iter().find_map(|block| satisfy(&base, block)) {
            of_route(&hit, route, all);
        }
    }
}

/// Requests for the routes of a delegate.
fn of_delegate(objects: &[Value], root: &Value, route: &Value, hit: &Sent, all: &mut Vec<Sent>) {
    let Some(name) = route["delegate"]["name"].as_str() else { return };
    let of = route["delegate"]["namespace"].as_str().unwrap_or(namespace(root));
    let is_named = |own: &&Value| own["metadata"]["name"] == name && namespace(own) == of;
    for delegate in virtual_services(objects).filter(is_named) {
        for route in http_routes(delegate) {
            let blocks = route["match"].as_array().cloned().unwrap_or_else(|| vec![Value::Null]);
            for block in &blocks {
                let Some(hit) = satisfy(hit, block) else { continue };
                all.push(hit.clone());
                miss(&hit, block, all);
                of_route(&hit, route, all);
            }
        }
    }
}

/// A request that satisfies the conditions of a block; `None` if it is not known how.
fn satisfy(base: &Sent, block: &Value) -> Option<Sent> {
    let mut hit = base.clone();
    if block["uri"].is_object() {
        hit.path = satisfying(&block["uri"])?;
        if let Some((path, query)) = hit.path.clone().split_once('?') {
            hit.path = path.to_owned();
            hit.query.push(query.to_owned());
        }
    }
    if block["method"].is_object() {
        hit.method = satisfying(&block["method"])?;
    }
    if block["authority"].is_object() {
        hit.host = satisfying(&block["authority"])?;
    }
    for (name, condition) in block["headers"].as_object().into_iter().flatten() {
        let value = satisfying(condition)?;
        match &**name {
            ":method" | ":authority" | "host" | ":path" | ":scheme" => {}
            _ => hit.headers.push((name.to_lowercase(), value)),
        }
    }
    for (name, condition) in block["queryParams"].as_object().into_iter().flatten() {
        hit.query.push(format!("{name}={}", satisfying(condition)?));
    }
    Some(hit)
}

/// Requests that differ from `hit` in what one condition asks for.
fn miss(hit: &Sent, block: &Value, all: &mut Vec<Sent>) {
    if block["uri"].is_object() {
        all.push(hit.with(|own| own.path = "/sluice-miss".to_owned()));
        all.push(hit.with(|own| own.path = swap_case(&own.path)));
        all.push(hit.with(|own| own.path.push('/')));
        if let Some(prefix) = block["uri"]["prefix"].as_str() {
            all.push(hit.with(|own| own.path = prefix.to_owned()));
            all.push(hit.with(|own| own.path = format!("{}/sub", prefix.trim_end_matches('/'))));
        }
        all.push(hit.with(|own| own.query.push("sluice=1".to_owned())));
    }
    if block["method"].is_object() {
        all.push(hit.with(|own| own.method = "PATCH".to_owned()));
    }
    if block["authority"].is_object() {
        all.push(hit.with(|own| own.host = format!("not-{}", own.host)));
    }
    for (name, _) in block["headers"].as_object().into_iter().flatten() {
        let name = &*name.to_lowercase();
        let Some((_, value)) = hit.headers.iter().find(|(known, _)| known == name) else {
            continue;
        };
        let absent = hit.without_header(name);
        all.push(absent.with_header(name, &format!("{value}-other")));
        all.push(absent.with_header(name, &format!("other-{value}")));
        all.push(absent.with_header(name, &swap_case(value)));
        all.push(absent.with_header(name, ""));
        let repeated = hit.with(|own| own.kind = "repeated header");
        all.push(repeated.with_header(name, "other"));
        let absent_once = repeated.without_header(name);
        all.push(absent_once.with_header(name, "other").with_header(name, value));
        all.push(absent);
    }
    for (name, condition) in block["withoutHeaders"].as_object().into_iter().flatten() {
        let value = satisfying(condition).unwrap_or_default();
        all.push(hit.with_header(&name.to_lowercase(), &value));
        all.push(hit.with_header(&name.to_lowercase(), &format!("{value}-other")));
    }
    for (name, _) in block["queryParams"].as_object().into_iter().flatten() {
        let is_own = |own: &String| own.starts_with(&format!("{name}="));
        let Some(own) = hit.query.iter().find(|own| is_own(own)).cloned() else { continue };
        let absent = hit.with(|other| other.query.retain(|own| !is_own(own)));
        all.push(absent.with(|other| other.query.push(format!("{own}-other"))));
        all.push(absent.with(|other| other.query.push(swap_case(&own))));
        all.push(absent.with(|other| other.query.push(name.clone())));
        all.push(hit.with(|other| other.query.push(format!("{name}=other"))));
        all.push(hit.with(|other| other.query.insert(0, format!("{name}=other"))));
        all.push(absent);
    }
}

/// Requests for what a route does besides forwarding.
fn of_route(hit: &Sent, route: &Value, all: &mut Vec<Sent>) {
    if route["rewrite"].is_object() || route["redirect"].is_object() {
        all.push(hit.with(|own| own.query.push("a=1%2F2".to_owned())));
        all.push(hit.with(|own| own.path.push_str("/b%20c")));
    }
    let cors = &route["corsPolicy"];
    if cors.is_object() {
        let origins = cors["allowOrigins"].as_array().into_iter().flatten();
        let mut origins: Vec<_> = origins.filter_map(satisfying).collect();
        origins.push("https://evil.example".to_owned());
        for origin in origins {
            let of_origin = hit.with_header("origin", &origin);
            let preflight = of_origin.with(|own| own.method = "OPTIONS".to_owned());
            all.push(preflight.with_header("access-control-request-method", "POST"));
            all.push(preflight);
            all.push(of_origin);
        }
    }
    if route["retries"].is_object() {
        for status in ["503", "500"] {
            all.push(hit.with_header("x-test-status", status));
        }
    }
    if route["timeout"].is_string() || route["retries"]["perTryTimeout"].is_string() {
        all.push(hit.with_header("x-test-delay", "800"));
    }
}

fn swap_case(text: &str) -> String {
    let swap = |c: char| match c.is_ascii_lowercase() {
        true => c.to_ascii_uppercase(),
        false => c.to_ascii_lowercase(),
    };
    text.chars().map(swap).collect()
}
