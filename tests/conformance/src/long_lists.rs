//! Documents with one long list or object each, to measure how the cost of a configuration grows
//! with its length.

use serde_json::{Map, Value, json};

/// A kind of document with a list or object of any length.
pub struct LongList {
    /// What the list contains
    pub name: &'static str,
    /// Filter that reads it
    pub filter: &'static str,
    /// Whether the filter accepts the document
    pub is_accepted: bool,
    /// Returns the document whose list has this length
    pub document: fn(usize) -> Value,
}

/// Largest port number. Longer lists of ports are divided.
const MAX_PORT: usize = 65_535;

const fn accepted(
    name: &'static str,
    filter: &'static str,
    document: fn(usize) -> Value,
) -> LongList {
    LongList { name, filter, is_accepted: true, document }
}

const fn refused(
    name: &'static str,
    filter: &'static str,
    document: fn(usize) -> Value,
) -> LongList {
    LongList { name, filter, is_accepted: false, document }
}

/// All kinds of long lists.
pub const LONG_LISTS: &[LongList] = &[
    accepted("virtual services", "router", |n| {
        services(list(n, |i| json!({ "hosts": [host(i)], "http": [{ "route": to("b") }] })))
    }),
    accepted("hosts of a virtual service", "router", |n| {
        services(json!([{ "hosts": list(n, host), "http": [{ "route": to("b") }] }]))
    }),
    accepted("virtual services with common hosts", "router", |n| {
        let rules = list(
            n / 2,
            |i| json!({ "match": [{ "uri": { "prefix": format!("/{i}/") } }], "route": to("b") }),
        );
        let every_second = list(n / 4, |i| host(2 * i));
        services(json!([
            { "hosts": list(n / 2, host), "http": rules },
            { "hosts": every_second, "http": [{ "route": to("c") }] },
        ]))
    }),
    accepted("HTTPRoutes", "router", |n| {
        gateway_routes(list(n, |i| json!({ "hostnames": [host(i)], "rules": [to_service("b")] })))
    }),
    accepted("HTTPRoutes of one host", "router", |n| {
        gateway_routes(list(n, |_| json!({ "hostnames": ["a.com"], "rules": [to_service("b")] })))
    }),
    accepted("HTTPRoutes with common hosts", "router", |n| {
        let path = |i| json!({ "path": { "value": format!("/{i}") } });
        let rules = list(n / 2, |i| json!({ "matches": [path(i)] }));
        let every_second = list(n / 4, |i| host(2 * i));
        gateway_routes(json!([
            { "hostnames": list(n / 2, host), "rules": rules },
            { "hostnames": every_second, "rules": [to_service("c")] },
        ]))
    }),
    accepted("matches of a rule of an HTTPRoute", "router", |n| {
        let matches = list(n, |i| json!({ "path": { "value": format!("/{}", n - i) } }));
        gateway_routes(json!([{ "rules": [{ "matches": matches }] }]))
    }),
    accepted("conditions of a match of an HTTPRoute", "router", |n| {
        let named = |i| json!({ "name": name(i), "value": "x" });
        let matched = json!({ "headers": list(n / 2, named), "queryParams": list(n / 2, named) });
        gateway_routes(json!([{ "rules": [{ "matches": [matched] }] }]))
    }),
    accepted("headers of a filter of an HTTPRoute", "router", |n| {
        let header = |i| json!({ "name": name(n - i), "value": "x" });
        let settings = json!({ "set": list(n, header) });
        let filter = json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": settings });
        gateway_routes(json!([{ "rules": [{ "filters": [filter] }] }]))
    }),
    accepted("backends of a rule of an HTTPRoute", "router", |n| {
        let backend = |i| json!({ "name": format!("b-{i}"), "port": 80 });
        gateway_routes(json!([{ "rules": [{ "backendRefs": list(n, backend) }] }]))
    }),
    accepted("gateways", "router", |n| {
        let gateways = list(n, |i| format!("gateway-{i}"));
        json!({
            "clusterName": "{host}",
            "proxy": { "gateways": list(n, |i| format!("other-{i}")) },
            "virtualServices": [
                { "hosts": ["a.com"], "gateways": gateways, "http": [{ "route": to("b") }] },
                { "hosts": ["b.com"], "http": [{ "route": to("b") }] },
            ],
        })
    }),
    accepted("labels of the proxy and of matches", "router", |n| {
        let labels = object(n, |i| (format!("label-{i}"), json!("x")));
        let mut document = matching(json!({ "sourceLabels": labels }));
        document["proxy"] = json!({ "labels": labels });
        document
    }),
    accepted("routes with a path each", "router", |n| {
        rules(n, |i| json!({ "uri": { "exact": format!("/service-{i}") } }))
    }),
    accepted("routes with a prefix each", "router", |n| {
        rules(n, |i| json!({ "uri": { "prefix": format!("/service-{i}/") } }))
    }),
    accepted("routes with a header name each", "router", |n| {
        rules(n, |i| json!({ "headers": { format!("x-{i}"): { "exact": "1" } } }))
    }),
    accepted("routes with a query parameter each", "router", |n| {
        rules(n, |i| json!({ "queryParams": { format!("q{i}"): {} } }))
    }),
    accepted("matches of a route", "router", |n| {
        let all = list(n, |i| json!({ "headers": { "end-user": { "exact": format!("u{i}") } } }));
        routes(json!([{ "match": all, "route": to("b") }]))
    }),
    accepted("headers of a match", "router", |n| {
        matching(json!({ "headers": object(n, |i| (name(i), json!({ "exact": "1" }))) }))
    }),
    accepted("withoutHeaders of a match", "router", |n| {
        matching(json!({ "withoutHeaders": object(n, |i| (name(i), json!({}))) }))
    }),
    accepted("query parameters of a match", "router", |n| {
        matching(json!({ "queryParams": object(n, |i| (name(i), json!({ "exact": "1" }))) }))
    }),
    accepted("destinations of a route", "router", |n| {
        let all = list(n, |i| json!({ "destination": { "host": host(i) }, "weight": 1 }));
        routes(json!([{ "route": all }]))
    }),
    accepted("header operations", "router", |n| {
        let values = || object(n / 4, |i| (name(n - i), json!("1")));
        let headers = json!({ "request": {
            "set": values(), "add": values(), "remove": list(n / 4, |i| name(n - i)),
        } });
        let own = json!({ "request": { "set": values() } });
        let to = json!([{ "destination": { "host": "b" }, "headers": own }]);
        routes(json!([{ "headers": headers, "route": to }]))
    }),
    accepted("mirrors of a route", "mirror", |n| {
        let all = list(n, |i| json!({ "destination": { "host": host(i) } }));
        routes(json!([{ "route": to("b"), "mirrors": all }]))
    }),
    accepted("names in mirroring", "mirror", |n| {
        let mut document = routes(json!([{ "route": to("b") }]));
        document["mirroring"] = json!({
            "headers": object(n / 2, |i| (name(i), json!({}))),
            "compare": { "headers": list(n / 4, name), "removeHeaders": list(n / 4, name) },
        });
        document
    }),
    accepted("names in a CORS policy", "router", |n| {
        let policy = json!({
            "allowOrigins": list(n / 2, |i| json!({ "exact": host(i) })),
            "allowHeaders": list(n / 4, name),
            "exposeHeaders": list(n / 4, name),
        });
        routes(json!([{ "route": to("b"), "corsPolicy": policy }]))
    }),
    accepted("destination rules", "outlier", |n| {
        destination_rules(list(n, |i| {
            let host = format!("{}-{i}.com", "a".repeat(i % 50 + 1));
            json!({ "host": host, "trafficPolicy": detection() })
        }))
    }),
    accepted("destination rules of one host", "outlier", |n| {
        destination_rules(list(
            n,
            |i| json!({ "host": "a.com", "subsets": [{ "name": format!("v{i}") }] }),
        ))
    }),
    accepted("subsets with a fallback", "outlier", |n| {
        let subset = |i| {
            let mut policy = detection();
            policy["outlierDetection"]["fallback"] = json!({ "subset": format!("v{}", n - i) });
            json!({ "name": format!("v{i}"), "trafficPolicy": policy })
        };
        let mut subsets = list(n, subset);
        let last = json!({ "name": format!("v{n}") });
        // The subset in the middle would be its own fallback.
        subsets[n / 2] = json!({ "name": format!("v{}", n / 2) });
        subsets.as_array_mut().into_iter().for_each(|all| all.push(last.clone()));
        destination_rules(json!([{ "host": "a.com", "subsets": subsets }]))
    }),
    accepted("ports of traffic policies", "outlier", |n| {
        let policy = |count: usize| {
            let ports = list(count, |i| json!({ "port": { "number": count - i } }));
            json!({ "portLevelSettings": ports })
        };
        let subsets = (0..n.div_ceil(MAX_PORT)).map(|part| {
            let count = MAX_PORT.min(n - part * MAX_PORT);
            json!({ "name": format!("v{part}"), "trafficPolicy": policy(count) })
        });
        destination_rules(json!([{ "host": "a.com", "subsets": subsets.collect::<Value>() }]))
    }),
    accepted("failures of an outlier detection", "outlier", |n| {
        let rule = |i| json!({ "match": [{ "uri": { "exact": host(i) } }], "slowerThan": "1s" });
        let mut policy = detection();
        let detection = &mut policy["outlierDetection"];
        detection["outlierDetectionHttpErrorCodes"] = list(n / 4, |i| json!(500 + i % 100));
        detection["failure"] = json!({
            "headers": object(n / 2, |i| (name(i), json!({}))),
            "rules": list(n / 4, rule),
        });
        destination_rules(json!([{ "host": "a.com", "trafficPolicy": policy }]))
    }),
    accepted("service entries", "egress", |n| {
        entries(list(n, |i| json!({ "hosts": [host(i)], "ports": [port(443)] })))
    }),
    accepted("addresses of a service entry", "egress", |n| {
        let address = |i: usize| format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255);
        let addresses = list(n, |i| address(n - i));
        entries(json!([{ "hosts": ["a.com"], "addresses": addresses, "ports": [port(443)] }]))
    }),
    accepted("ports of service entries", "egress", |n| {
        let entry = |part: usize| {
            let count = MAX_PORT.min(n - part * MAX_PORT);
            json!({ "hosts": [host(part)], "ports": list(count, |i| port(count - i)) })
        };
        entries((0..n.div_ceil(MAX_PORT)).map(entry).collect())
    }),
    accepted("endpoints of a service entry", "egress", |n| {
        let endpoint = |i| json!({ "address": "10.0.0.1", "ports": { format!("port-{i}"): 80 } });
        let count = MAX_PORT.min(n / 2);
        let entry = json!({
            "hosts": ["a.com"],
            "ports": list(count, |i| port(i + 1)),
            "resolution": "STATIC",
            "endpoints": list(count, |i| endpoint(count - i - 1)),
        });
        entries(json!([entry]))
    }),
    accepted("TLS routes", "sni", |n| {
        let all = list(n, |i| json!({ "match": [{ "sniHosts": [host(i)] }], "route": to("b") }));
        services(json!([{ "hosts": ["*.com"], "tls": all }]))
    }),
    accepted("server names of a TLS match", "sni", |n| {
        let route = json!([{ "match": [{ "sniHosts": list(n / 2, host) }], "route": to("b") }]);
        services(json!([{ "hosts": list(n / 2, |i| host(n / 2 - i - 1)), "tls": route }]))
    }),
    accepted("ports of TLS matches with one server name", "sni", |n| {
        let all = list(n, |i| json!({ "sniHosts": ["a.com"], "port": i % MAX_PORT + 1 }));
        services(json!([{ "hosts": ["*.com"], "tls": [{ "match": all, "route": to("b") }] }]))
    }),
    accepted("subnets of TLS matches with one server name", "sni", |n| {
        let address = |i: usize| format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255);
        let matched =
            |i| json!({ "sniHosts": ["a.com"], "destinationSubnets": [address(i)], "port": 443 });
        let all = json!([{ "match": list(n, matched), "route": to("b") }]);
        services(json!([{ "hosts": ["*.com"], "tls": all }]))
    }),
    accepted("subnets of a TLS match", "sni", |n| {
        let address = |i: usize| format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255);
        let matched = json!({ "sniHosts": ["a.com"], "destinationSubnets": list(n / 2, address) });
        let all = json!([{ "match": [matched.clone(), matched], "route": to("b") }]);
        services(json!([{ "hosts": ["*.com"], "tls": all }]))
    }),
    accepted(
        "hosts of the sni filter",
        "sni",
        |n| json!({ "sni": { "hosts": list(n, host), "routing": false } }),
    ),
    refused("equal hosts", "router", |n| {
        services(json!([{ "hosts": list(n, |_| "a.com"), "http": [{ "route": to("b") }] }]))
    }),
    refused(
        "unknown fields",
        "router",
        |n| json!({ "virtualServices": [object(n, |i| (name(i), json!(1)))] }),
    ),
    refused("invalid fields in an object with a long name", "router", |n| {
        let condition = object(n, |i| (name(i), json!(1)));
        matching(json!({ "headers": { "a".repeat(n): condition } }))
    }),
    refused("invalid routes", "router", |n| rules(n, |_| json!({ "port": "http" }))),
];

/// Returns the list of the values for the numbers from 0 to `length - 1`.
fn list<T: Into<Value>>(length: usize, value: impl Fn(usize) -> T) -> Value {
    (0..length).map(|number| value(number).into()).collect()
}

/// Returns the object of the fields for the numbers from 0 to `length - 1`.
fn object(length: usize, field: impl Fn(usize) -> (String, Value)) -> Value {
    Value::Object((0..length).map(field).collect::<Map<_, _>>())
}

fn host(number: usize) -> String {
    format!("host-{number}.example.com")
}

fn name(number: usize) -> String {
    format!("x-name-{number}")
}

fn to(host: &str) -> Value {
    json!([{ "destination": { "host": host } }])
}

fn services(virtual_services: Value) -> Value {
    json!({ "clusterName": "{host}", "virtualServices": virtual_services })
}

fn gateway_routes(routes: Value) -> Value {
    json!({ "clusterName": "{host}", "httpRoutes": routes })
}

fn to_service(name: &str) -> Value {
    json!({ "backendRefs": [{ "name": name, "port": 80 }] })
}

fn routes(http: Value) -> Value {
    services(json!([{ "hosts": ["a.com"], "http": http }]))
}

/// Returns a document with a route for each of the matches.
fn rules(count: usize, matched: impl Fn(usize) -> Value) -> Value {
    routes(list(count, |number| json!({ "match": [matched(number)], "route": to("b") })))
}

/// Returns a document with one match.
fn matching(matched: Value) -> Value {
    routes(json!([{ "match": [matched], "route": to("b") }, { "route": to("b") }]))
}

fn detection() -> Value {
    json!({ "outlierDetection": { "consecutive5xxErrors": 3 } })
}

fn destination_rules(rules: Value) -> Value {
    json!({ "clusterName": "{host}|{subset}|{port}", "destinationRules": rules })
}

fn entries(entries: Value) -> Value {
    json!({ "outboundTrafficPolicy": { "mode": "REGISTRY_ONLY" }, "serviceEntries": entries })
}

fn port(number: usize) -> Value {
    json!({ "number": number, "name": format!("port-{}", number - 1), "protocol": "TLS" })
}
