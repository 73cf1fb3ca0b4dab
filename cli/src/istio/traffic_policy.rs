//! The rules of istiod for the parts of a DestinationRule that Envoy carries out
//! (`validateTrafficPolicy` in `pkg/config/validation`).

use sluice_policy::value::duration::{GoDuration, InvalidDuration};

use crate::istio::errors::Errors;
use crate::istio::path::member;
use crate::tree::{Tree, Value};

/// Topology labels, which locality settings have fields for.
const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

/// Envoy's limit for the table of Maglev.
const MAX_MAGLEV: i64 = 5_000_011;

/// Checks the policy of a host or subset.
pub fn check(policy: &Tree, path: &str, errors: &mut Errors) {
    const FIELDS: [&str; 8] = [
        "loadBalancer",
        "connectionPool",
        "outlierDetection",
        "tls",
        "portLevelSettings",
        "tunnel",
        "proxyProtocol",
        "retryBudget",
    ];
    require_one(policy, &FIELDS, path, errors);
    if policy.field("tunnel").is_some() && policy.field("proxyProtocol").is_some() {
        errors.add(path, "must have at most one of tunnel, proxyProtocol");
    }
    let port = policy.field("tunnel").and_then(|tunnel| given(tunnel, "targetPort"));
    if let Some(port) = port
        && matches!(port.value, Value::Integer(number) if !(1..=65535).contains(&number))
    {
        errors.add_value(
            format!("{path}.tunnel.targetPort"),
            port,
            "is not in the range 1 to 65535",
        );
    }
    check_parts(policy, path, errors);
}

/// Checks the policy of a port.
pub fn check_port(policy: &Tree, path: &str, errors: &mut Errors) {
    const FIELDS: [&str; 4] = ["loadBalancer", "connectionPool", "outlierDetection", "tls"];
    require_one(policy, &FIELDS, path, errors);
    check_parts(policy, path, errors);
}

/// Reports an object that has none of `names`.
fn require_one(tree: &Tree, names: &[&str], path: &str, errors: &mut Errors) {
    let is_given = |field: &Tree| !matches!(&field.value, Value::Array(own) if own.is_empty());
    let has_one = names.iter().any(|name| given(tree, name).is_some_and(is_given));
    if matches!(tree.value, Value::Object(_)) && !has_one {
        errors.add(path, format!("must have at least one of {}", names.join(", ")));
    }
}

fn check_parts(policy: &Tree, path: &str, errors: &mut Errors) {
    for (key, part) in policy.fields() {
        let path = &member(path, &key.text);
        match &*key.text {
            "loadBalancer" | "load_balancer" => check_load_balancer(part, path, errors),
            "connectionPool" | "connection_pool" => check_connection_pool(part, path, errors),
            "tls" => check_tls(part, path, errors),
            _ => {}
        }
    }
}

/// A field that is neither null nor absent.
fn given<'a>(tree: &'a Tree, name: &str) -> Option<&'a Tree> {
    tree.field(name).filter(|field| field.value != Value::Null)
}

/// The text of a field; empty if it has none.
fn text<'a>(tree: &'a Tree, name: &str) -> &'a str {
    tree.field(name).and_then(Tree::as_str).unwrap_or_default()
}

fn number(tree: &Tree, name: &str) -> Option<f64> {
    match tree.field(name)?.value {
        Value::Integer(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => None,
    }
}

/// Returns whether a field is `true`.
fn is_set(tree: &Tree, name: &str) -> bool {
    tree.field(name).is_some_and(|field| field.value == Value::Bool(true))
}

/// Source: `ValidateTLS`.
fn check_tls(tls: &Tree, path: &str, errors: &mut Errors) {
    let mode = text(tls, "mode");
    let has = |name: &&str| match tls.field(name) {
        Some(field) => {
            !field.elements().is_empty() || field.as_str().is_some_and(|t| !t.is_empty())
        }
        None => false,
    };
    let mut refuse = |names: &[&str], with: &str| {
        for name in names.iter().filter(|name| has(name)) {
            errors.add(member(path, name), format!("cannot be combined with {with}"));
        }
    };
    if is_set(tls, "insecureSkipVerify") {
        match mode {
            "SIMPLE" => refuse(
                &["caCertificates", "credentialName", "subjectAltNames"],
                "insecureSkipVerify",
            ),
            "MUTUAL" => refuse(&["caCertificates", "subjectAltNames"], "insecureSkipVerify"),
            _ => {}
        }
    }
    let certificates = ["clientCertificate", "privateKey"];
    let authorities = ["caCertificates", "caCrl"];
    if matches!(mode, "SIMPLE" | "MUTUAL") && has(&"credentialName") {
        refuse(&[&certificates[..], &authorities[..]].concat(), "credentialName");
        return;
    }
    if mode == "MUTUAL" {
        for name in certificates.iter().filter(|name| !has(name)) {
            errors.add(member(path, name), "is required: mode is MUTUAL without credentialName");
        }
    }
}

/// Source: `validateConnectionPool`.
fn check_connection_pool(pool: &Tree, path: &str, errors: &mut Errors) {
    require_one(pool, &["http", "tcp"], path, errors);
    let timeout = given(pool, "tcp").and_then(|tcp| given(tcp, "idleTimeout"));
    if let Some(timeout) = timeout
        && let Err(reason) = check_timeout(timeout)
    {
        errors.add_value(format!("{path}.tcp.idleTimeout"), timeout, reason);
    }
    let tcp = given(pool, "tcp");
    if tcp.and_then(|tcp| number(tcp, "maxConnections")).is_some_and(|number| number < 0.0) {
        errors.add(format!("{path}.tcp.maxConnections"), "is negative");
    }
    let Some(http) = given(pool, "http") else { return };
    let path = &member(path, "http");
    for name in [
        "http1MaxPendingRequests",
        "http2MaxRequests",
        "maxRequestsPerConnection",
        "maxRetries",
        "maxConcurrentStreams",
    ] {
        if number(http, name).is_some_and(|number| number < 0.0) {
            errors.add(member(path, name), "is negative");
        }
    }
    if text(http, "h2UpgradePolicy") == "UPGRADE" && is_set(http, "useClientProtocol") {
        let reason = "cannot be combined with h2UpgradePolicy UPGRADE";
        errors.add(member(path, "useClientProtocol"), reason);
    }
    if let Some(keepalive) = given(http, "http2KeepAlive") {
        let path = &member(path, "http2KeepAlive");
        for name in ["interval", "timeout"] {
            require(keepalive, name, path, errors);
        }
    }
}

/// Checks a timeout that may be 0, which turns it off.
fn check_timeout(timeout: &Tree) -> Result<(), InvalidDuration> {
    timeout.as_str().unwrap_or_default().parse::<GoDuration>().map(|_| ())
}

fn require(tree: &Tree, name: &str, path: &str, errors: &mut Errors) {
    if given(tree, name).is_none() {
        errors.add(member(path, name), "is required");
    }
}

/// Source: `validateLoadBalancer`.
fn check_load_balancer(balancer: &Tree, path: &str, errors: &mut Errors) {
    if let Some(hash) = given(balancer, "consistentHash") {
        check_hash(hash, &member(path, "consistentHash"), errors);
    }
    let settings = ["localityLbSetting", "zoneAwareLbSetting"];
    if settings.iter().all(|name| given(balancer, name).is_some()) {
        errors.add(path, format!("must have at most one of {}", settings.join(", ")));
    }
    for name in settings {
        if let Some(locality) = given(balancer, name) {
            check_locality(locality, &member(path, name), errors);
        }
    }
    if let Some(warmup) = given(balancer, "warmup") {
        let path = &member(path, "warmup");
        require(warmup, "duration", path, errors);
        if number(warmup, "minimumPercent").is_some_and(|percent| percent > 100.0) {
            errors.add(member(path, "minimumPercent"), "is more than 100");
        }
        if number(warmup, "aggression").is_some_and(|aggression| aggression <= 0.0) {
            errors.add(member(path, "aggression"), "is not more than 0");
        }
    }
}

fn check_hash(hash: &Tree, path: &str, errors: &mut Errors) {
    if let Some(cookie) = given(hash, "httpCookie") {
        let path = &member(path, "httpCookie");
        if text(cookie, "name").is_empty() {
            errors.add(member(path, "name"), "is required");
        }
        let mut seen = Vec::new();
        for (index, attribute) in cookie.list("attributes").iter().enumerate() {
            let path = format!("{path}.attributes[{index}].name");
            let name = text(attribute, "name");
            if name.is_empty() {
                errors.add(&path, "is required");
            } else if seen.contains(&name) {
                errors.add(&path, format!("{name:?} is the name of an earlier attribute too"));
            }
            seen.push(name);
        }
    }
    let has_ring_size = number(hash, "minimumRingSize").is_some_and(|size| size != 0.0);
    if has_ring_size && ["ringHash", "maglev"].iter().any(|name| given(hash, name).is_some()) {
        let reason = "cannot be combined with ringHash or maglev";
        errors.add(member(path, "minimumRingSize"), reason);
    }
    if let Some(maglev) = given(hash, "maglev") {
        let path = &member(member(path, "maglev"), "tableSize");
        match maglev.field("tableSize").map(|size| &size.value) {
            Some(Value::Integer(size)) if !(1..MAX_MAGLEV).contains(size) || !is_prime(*size) => {
                errors.add(path, format!("{size} is not a prime less than {MAX_MAGLEV}"));
            }
            Some(Value::Integer(_)) => {}
            _ => errors.add(path, "is required"),
        }
    }
}

/// Returns whether a number is a prime, for which Istio takes 1 too.
fn is_prime(number: i64) -> bool {
    let divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    divisors.into_iter().all(|divisor| number % divisor != 0)
}

/// Source: `ValidateLocalityLbSetting`, `ValidateZoneAwareLbSetting`.
fn check_locality(locality: &Tree, path: &str, errors: &mut Errors) {
    let (distribute, failover) = (locality.list("distribute"), locality.list("failover"));
    if !distribute.is_empty() && !failover.is_empty() {
        errors.add(path, "must have at most one of distribute, failover");
        return;
    }
    let priorities = locality.list("failoverPriority");
    let is_zone_aware = path.ends_with("zoneAwareLbSetting");
    for (index, label) in priorities.iter().enumerate() {
        let is_topology = label.as_str().is_some_and(|label| TOPOLOGY.contains(&label));
        if is_topology && (is_zone_aware || !failover.is_empty()) {
            let path = format!("{path}.failoverPriority[{index}]");
            errors.add_value(&path, label, "is a topology label, which cannot be used here");
        }
    }
    for (index, part) in distribute.iter().enumerate() {
        let path = format!("{path}.distribute[{index}].to");
        let weights = part.field("to").map_or(&[][..], Tree::fields);
        let weights: Vec<_> = weights.iter().map(|(_, weight)| &weight.value).collect();
        let mut sum = 0;
        for weight in weights {
            match weight {
                Value::Integer(weight @ 1..=100) => sum += weight,
                _ => errors.add(&path, "has a weight that is not in the range 1 to 100"),
            }
        }
        if sum != 100 {
            errors.add(&path, format!("has weights with the sum {sum}, not 100"));
        }
    }
    for (index, part) in failover.iter().enumerate() {
        let path = format!("{path}.failover[{index}]");
        let regions = [text(part, "from"), text(part, "to")];
        if regions[0] == regions[1] {
            errors.add(&path, "has the same region in from and to");
        }
        if regions.iter().any(|region| region.contains(['/', '*'])) {
            errors.add(&path, "has a region with / or *");
        }
    }
}
