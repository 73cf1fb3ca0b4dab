//! Observability of the router: counters and access logs.

use hyper::Method;
use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream};

const COUNTERS: [&str; 7] = [
    "forwarded",
    "no_backend",
    "no_route",
    "no_virtual_host",
    "preflight",
    "redirected",
    "responded",
];

/// One request for each outcome: its counter rises, no other does, and the access log says why.
#[tokio::test]
async fn every_outcome_has_its_counter_its_details_and_its_rule() {
    let upstream = Upstream::echo("service");
    let document = json!({
        "clusterName": "{host}",
        "virtualServices": [{ "hosts": ["known.example.com"], "http": [
            {
                "name": "forward",
                "match": [{ "name": "first", "uri": { "exact": "/forward" } }],
                "route": [{ "destination": { "host": "service" } }],
                "corsPolicy": { "allowOrigins": [{ "exact": "https://a.example.com" }] },
            },
            { "name": "away", "match": [{ "uri": { "exact": "/redirect" } }],
              "redirect": { "uri": "/elsewhere" } },
            { "match": [{ "uri": { "exact": "/x" } }, { "uri": { "exact": "/respond" } }],
              "directResponse": { "status": 418 } },
        ] }],
        "httpRoutes": [{ "hostnames": ["route.example.com"], "rules": [{ "name": "empty" }] }],
    });
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(Listener::new("edge").plugin(&document))
            .cluster("service", &[upstream.address()]),
    )
    .await;
    let edge = envoy.listener("edge");
    let known = "known.example.com";
    let preflight = |path: &str| {
        edge.request(Method::OPTIONS, path)
            .header("origin", "https://a.example.com")
            .header("access-control-request-method", "PUT")
    };
    let cases = [
        (
            "/forward",
            edge.get("/forward"),
            known,
            "forwarded",
            200,
            "via_upstream",
            "forward.first",
        ),
        (
            "/redirect",
            edge.get("/redirect"),
            known,
            "redirected",
            301,
            "sluice_router_redirected",
            "away",
        ),
        (
            "/respond",
            edge.get("/respond"),
            known,
            "responded",
            418,
            "sluice_router_responded",
            "virtualServices[0].http[2].match[1]",
        ),
        (
            "/forward?preflight",
            preflight("/forward?preflight"),
            known,
            "preflight",
            200,
            "sluice_router_preflight",
            "forward.first",
        ),
        (
            "/nothing",
            edge.get("/nothing"),
            known,
            "no_route",
            404,
            "sluice_router_no_route",
            "no route",
        ),
        (
            "/empty",
            edge.get("/empty"),
            "route.example.com",
            "no_backend",
            500,
            "sluice_router_no_backend",
            "empty",
        ),
        (
            "/host",
            edge.get("/host"),
            "other.example.com",
            "no_virtual_host",
            404,
            "sluice_router_no_virtual_host",
            "no virtual host",
        ),
    ];
    let mut expected = COUNTERS.map(|name| (name, 0));
    for (target, request, host, counter, status, details, rule) in cases {
        assert_eq!(request.host(host).send().await.status, status, "{target}");
        for (name, count) in &mut expected {
            *count += u64::from(*name == counter);
        }
        assert_eq!(counts(&envoy).await, expected, "{target}");
        let logged = envoy.access_log(target).await;
        assert_eq!(
            (&logged["details"], &logged["decision"]),
            (&json!(details), &json!(rule)),
            "{logged}"
        );
    }
}

async fn counts(envoy: &Envoy) -> [(&'static str, u64); 7] {
    let mut counts = COUNTERS.map(|name| (name, 0));
    for (name, count) in &mut counts {
        *count = envoy.stat(&format!("wasmcustom.sluice.router.{name}")).await;
    }
    counts
}

/// Claims of a verified token choose the route, as strings and as lists.
#[tokio::test]
async fn claims_of_a_token_are_conditions() {
    if sluice_e2e::is_left_out("claims need a wasm module") {
        return;
    }
    let upstreams = ["admin", "bob", "nested", "other"].map(Upstream::echo);
    let rule = |name: &str, value: &str, to: &str| {
        let mut headers = serde_json::Map::new();
        headers.insert(format!("@request.auth.claims{name}"), json!({ "exact": value }));
        json!({ "match": [{ "headers": headers }], "route": [{ "destination": { "host": to } }] })
    };
    let document = json!({
        "clusterName": "{host}",
        "virtualServices": [{ "hosts": ["*"], "gateways": ["gateway"], "http": [
            rule(".groups", "admin", "admin"),
            rule(".realm.role", "editor", "nested"),
            rule("[sub]", "bob", "bob"),
            { "route": [{ "destination": { "host": "other" } }] },
        ] }],
    });
    let tokens: [(&str, Value); 7] = [
        ("admin", json!({ "groups": ["user", "admin"], "sub": "bob" })),
        ("admin", json!({ "groups": "admin" })),
        ("bob", json!({ "groups": ["admins"], "sub": "bob" })),
        ("nested", json!({ "realm": { "role": "editor" }, "sub": "bob" })),
        ("other", json!({ "groups": [], "sub": ["alice"] })),
        ("other", json!({ "sub": 5, "groups": { "admin": true } })),
        ("other", json!({})),
    ];
    let mut bootstrap = Bootstrap::new();
    for (number, (_, claims)) in tokens.iter().enumerate() {
        let listener = Listener::new(&number.to_string()).claims(claims.clone());
        bootstrap = bootstrap.listener(listener.plugin(&document));
    }
    for (name, upstream) in ["admin", "bob", "nested", "other"].iter().zip(&upstreams) {
        bootstrap = bootstrap.cluster(name, &[upstream.address()]);
    }
    let envoy = Envoy::start(&bootstrap).await;
    for (number, (expected, claims)) in tokens.iter().enumerate() {
        let response = envoy.listener(&number.to_string()).get("/").send().await;
        assert_eq!(response.upstream(), *expected, "{claims}");
    }
}
