//! The cases: a module, its configuration and a stream that is repeated.

use serde_json::{Value, json};
use sluice_conformance::Client;

use crate::headers::Headers;
use crate::instance::Exchange;

/// A case.
#[derive(Debug)]
pub struct Case {
    /// Description
    pub name: String,
    /// The module, `dist/NAME.wasm`
    pub module: &'static str,
    /// The configuration
    pub document: Value,
    /// Attributes, by their path with zero bytes between its parts
    pub properties: Vec<(Vec<u8>, Vec<u8>)>,
    /// The traffic of the stream
    pub stream: Stream,
    /// Counter that shows that each stream has the intended outcome
    pub counter: &'static str,
    /// Whether each stream increases the counter by one; otherwise none does
    pub counts: bool,
}

/// Traffic through the filter.
#[derive(Debug)]
pub enum Stream {
    /// A request and its response
    Http(Exchange),
    /// A connection, with the first bytes of the client
    Connection(Vec<u8>),
}

/// All cases of the modules with one filter.
pub(crate) fn of_filters() -> Vec<Case> {
    [router(), fault(), mirror(), sni(), egress(), outlier()].into_iter().flatten().collect()
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

/// A typical request of a browser with these additional headers, and a response with this status.
pub(crate) fn exchange(path: &str, more: &[(&str, &str)], status: &str) -> Stream {
    let request = [
        &[(":method", "GET"), (":scheme", "https"), (":authority", "shop.example.com")][..],
        &[(":path", path), ("accept", "*/*"), ("accept-encoding", "gzip, deflate, br")],
        &[("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")],
        &[
            ("x-request-id", "7a5f2c1e-60d4-4d0b-8d8e-0d8a8c2f5a11"),
            ("cookie", "session=0123456789"),
        ],
        more,
    ]
    .concat();
    let response = [(":status", status), ("content-type", "text/plain"), ("server", "envoy")];
    Stream::Http(Exchange {
        request: headers(&request),
        response: headers(&response),
        body: b"hello".to_vec(),
        ..Exchange::default()
    })
}

/// Attributes: paths with dots instead of zero bytes, and values.
fn properties(pairs: &[(&str, &[u8])]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let path = |path: &str| path.replace('.', "\0").into_bytes();
    pairs.iter().map(|(name, value)| (path(name), value.to_vec())).collect()
}

fn http_properties() -> Vec<(Vec<u8>, Vec<u8>)> {
    properties(&[
        ("request.protocol", b"HTTP/2"),
        ("source.address", b"10.0.0.9:41234"),
        ("destination.address", b"10.0.0.1:80"),
        ("destination.port", &80i64.to_le_bytes()),
    ])
}

pub(crate) fn http(
    module: &'static str,
    name: impl Into<String>,
    document: Value,
    stream: Stream,
    counter: &'static str,
) -> Case {
    let properties = http_properties();
    Case { name: name.into(), module, document, properties, stream, counter, counts: true }
}

/// A document of one VirtualService.
pub(crate) fn routes(http: Value) -> Value {
    json!({
        "clusterName": "{host}|{subset}",
        "virtualServices": [{ "hosts": ["shop.example.com"], "http": http }],
    })
}

fn destination(host: &str) -> Value {
    json!([{ "destination": { "host": host } }])
}

/// Rules by the value of a header.
pub(crate) fn header_rules(count: usize) -> Value {
    let rule = |number| {
        json!({
            "match": [{ "headers": { "end-user": { "exact": format!("user-{number}") } } }],
            "route": destination("reviews"),
        })
    };
    routes((0..count).map(rule).collect())
}

fn router() -> Vec<Case> {
    const FORWARDED: &str = "sluice.router.forwarded";
    let case =
        |name: String, document, stream, counter| http("router", name, document, stream, counter);
    let mut cases = vec![case(
        "10 header rules, none matches".to_owned(),
        header_rules(10),
        exchange("/", &[], "200"),
        "sluice.router.no_route",
    )];
    for (count, shown) in [(10, "10"), (1_000, "1,000"), (10_000, "10,000")] {
        let user = format!("user-{}", count - 1);
        cases.push(case(
            format!("{shown} header rules, the last matches"),
            header_rules(count),
            exchange("/", &[("end-user", &user)], "200"),
            FORWARDED,
        ));
    }
    let prefix = |number| {
        json!({
            "match": [{ "uri": { "prefix": format!("/service-{number}/") } }],
            "rewrite": { "uri": "/" },
            "route": destination("reviews"),
        })
    };
    let split = json!([{ "route": [
        { "destination": { "host": "reviews", "subset": "v1" }, "weight": 90 },
        { "destination": { "host": "reviews", "subset": "v2" }, "weight": 10 },
    ] }]);
    let mut sticky = routes(split.clone());
    sticky["sampling"] = json!({ "key": [{ "header": "end-user" }], "salt": "2026" });
    let mut counted = routes(split.clone());
    counted["metrics"] = json!({ "routes": true });
    let mut in_shadow = routes(split.clone());
    in_shadow["router"] = json!({ "mode": "shadow" });
    let second = |route: Value| {
        let mut second = routes(split.clone());
        second["shadow"] = json!({ "virtualServices": routes(route)["virtualServices"] });
        second
    };
    let same = second(split.clone());
    let different = second(json!([{ "route": destination("ratings") }]));
    let mut explained = routes(split.clone());
    explained["explain"] = json!({ "secret": "open-sesame-12345" });
    let regex = json!([{
        "match": [{ "headers": { "end-user": { "regex": "user-[0-9]+(-[a-z]*)?" } } }],
        "route": destination("reviews"),
    }]);
    let headers = json!([{
        "headers": {
            "request": { "set": { "x-env": "test" }, "remove": ["cookie"] },
            "response": { "add": { "x-served-by": "reviews" }, "remove": ["server"] },
        },
        "route": destination("reviews"),
    }]);
    let user = [("end-user", "user-7")];
    let prefixes = routes((0..10).map(prefix).collect());
    cases.extend(
        [
            (
                "10 path prefixes with a rewrite, the last matches",
                prefixes,
                "/service-9/books?id=1",
            ),
            ("split", routes(split), "/"),
            ("split, routes are counted", counted, "/"),
            ("sticky split", sticky, "/"),
            ("header regex", routes(regex), "/"),
            ("header operations", routes(headers), "/"),
        ]
        .map(|(name, document, path)| {
            case(name.to_owned(), document, exchange(path, &user, "200"), FORWARDED)
        }),
    );
    for (name, document, counter) in [
        ("split, shadow mode", in_shadow, "sluice.router.shadowed"),
        ("split, a second policy, same", same, "sluice.router.shadow_same"),
        ("split, a second policy, different", different, "sluice.router.shadow_different"),
    ] {
        cases.push(case(name.to_owned(), document, exchange("/", &user, "200"), counter));
    }
    let secret = ("x-sluice-explain", "open-sesame-12345");
    for (name, sent) in
        [("split, could be explained", &[user[0]][..]), ("split, explained", &[user[0], secret])]
    {
        let stream = exchange("/", sent, "200");
        cases.push(case(name.to_owned(), explained.clone(), stream, FORWARDED));
    }
    cases
}

fn fault() -> Vec<Case> {
    let document = |fault: Value| {
        routes(json!([{
            "match": [{ "headers": { "end-user": { "exact": "user-7" } } }],
            "fault": fault,
            "route": destination("reviews"),
        }, { "route": destination("reviews") }]))
    };
    let delay =
        document(json!({ "delay": { "fixedDelay": "2s", "percentage": { "value": 100 } } }));
    let abort = document(json!({ "abort": { "httpStatus": 503, "percentage": { "value": 100 } } }));
    let user = || exchange("/", &[("end-user", "user-7")], "200");
    let mut none = http(
        "fault",
        "none",
        delay.clone(),
        exchange("/", &[], "200"),
        "sluice.fault.delays_injected",
    );
    none.counts = false;
    vec![
        none,
        http("fault", "delay", delay, user(), "sluice.fault.delays_injected"),
        http("fault", "abort", abort, user(), "sluice.fault.aborts_injected"),
    ]
}

fn mirror() -> Vec<Case> {
    let document = |percent: u32| {
        routes(json!([{
            "route": destination("reviews"),
            "mirror": { "host": "reviews", "subset": "v2" },
            "mirrorPercentage": { "value": percent },
        }]))
    };
    let request = || exchange("/", &[], "200");
    vec![
        http("mirror", "sampled", document(100), request(), "sluice.mirror.mirrored"),
        http("mirror", "not sampled", document(0), request(), "sluice.mirror.not_sampled"),
    ]
}

fn sni() -> Vec<Case> {
    let name = "host-9.example.com";
    let route = |number| {
        json!({
            "match": [{ "sniHosts": [format!("host-{number}.example.com")] }],
            "route": destination("echo"),
        })
    };
    let routes: Vec<_> = (0..10).map(route).collect();
    let document = json!({
        "clusterName": "{host}",
        "virtualServices": [{ "hosts": ["*.example.com"], "tls": routes }],
    });
    let client = Client { sni: Some(name.to_owned()), padding: Some(300), ..Client::default() };
    vec![Case {
        name: "10 routes, the ClientHello in one piece".to_owned(),
        module: "sni",
        document,
        properties: properties(&[
            ("connection.requested_server_name", name.as_bytes()),
            ("source.address", b"10.0.0.9:41234"),
            ("destination.address", b"10.0.0.1:443"),
            ("destination.port", &443i64.to_le_bytes()),
        ]),
        stream: Stream::Connection(client.bytes()),
        counter: "sluice.sni.snis_match",
        counts: true,
    }]
}

fn egress() -> Vec<Case> {
    let document = |count: usize| {
        let entry = |number| {
            json!({
                "hosts": [format!("host-{number}.example.com")],
                "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
                "resolution": "DNS",
            })
        };
        let mut entries: Vec<Value> = (1..count).map(entry).collect();
        entries.push(json!({
            "hosts": ["shop.example.com"],
            "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
            "resolution": "DNS",
        }));
        json!({ "outboundTrafficPolicy": { "mode": "REGISTRY_ONLY" }, "serviceEntries": entries })
    };
    let refused = || {
        let mut stream = exchange("/", &[], "200");
        if let Stream::Http(exchange) = &mut stream {
            exchange.request.retain(|(name, _)| name != ":authority");
            exchange.request.insert(0, (":authority".to_owned(), b"other.example.com".to_vec()));
        }
        stream
    };
    let mut cases = Vec::new();
    for (count, shown) in [(10, "10"), (10_000, "10,000")] {
        let outcomes = [
            ("allowed", exchange("/", &[], "200"), "sluice.egress.known"),
            ("refused", refused(), "sluice.egress.unknown_name"),
        ];
        for (outcome, stream, counter) in outcomes {
            let name = format!("{shown} hosts, {outcome}");
            cases.push(http("egress", name, document(count), stream, counter));
        }
    }
    cases
}

fn outlier() -> Vec<Case> {
    // The longest test does not reach the limit, so that the cost below the limit is measured.
    let document = json!({
        "clusterName": "{host}",
        "outlier": { "enforcement": "filter" },
        "destinationRules": [{
            "host": "reviews",
            "trafficPolicy": { "outlierDetection": {
                "consecutive5xxErrors": 9_000_000, "maxEjectionPercent": 50,
            } },
        }],
    });
    let upstream = || {
        let mut all = http_properties();
        all.extend(properties(&[
            ("plugin_root_id", b"upstream"),
            ("xds.cluster_name", b"reviews"),
            ("upstream.address", b"10.0.0.5:8080"),
            ("upstream.num_endpoints", &5u64.to_le_bytes()),
            ("response.backend_latency", &1_000_000u64.to_le_bytes()),
            ("response.flags", &0u64.to_le_bytes()),
            ("connection.id", &7u64.to_le_bytes()),
        ]));
        all
    };
    const EJECTED: &str = "sluice.outlier.ejections_active";
    let attempt = |name: &str, status| {
        let mut case = http("outlier", name, document.clone(), exchange("/", &[], status), EJECTED);
        case.properties = upstream();
        case.counts = false;
        case
    };
    let mut request = attempt("a request before the router, all hosts in", "200");
    request.stream = exchange("/", &[("x-sluice-cluster", "reviews")], "200");
    request.properties = http_properties();
    request.properties.extend(properties(&[("sluice.route", b"rule")]));
    let mut marked = attempt("an attempt, marked", "503");
    marked.document["outlier"] = json!({ "enforcement": "envoy" });
    let mut named = attempt("an attempt, success, the root_id names the cluster", "200");
    named.properties.extend(properties(&[("plugin_root_id", b"upstream/reviews")]));
    vec![
        attempt("an attempt, success", "200"),
        named,
        attempt("an attempt, failure", "503"),
        marked,
        request,
    ]
}
