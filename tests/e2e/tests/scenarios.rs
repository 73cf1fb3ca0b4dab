//! The routing tasks of Istio's documentation, with their documented results: R3, R5 to R8, T1 and
//! T2. The others are in `splits.rs`.
//!
//! Tasks whose rules are in `envoy/sandbox.yaml` run in the sandbox.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Listener, Response, Upstream, any_host};
use tokio::sync::OnceCell;

async fn sandbox() -> Client {
    static SANDBOX: OnceCell<Envoy> = OnceCell::const_new();
    SANDBOX.get_or_init(|| Envoy::of_file("envoy/sandbox.yaml")).await.listener("edge")
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Returns the text of the payment service; the version is its second word.
fn data(response: &Response) -> String {
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["data"].as_str().expect("data of the payment service").to_owned()
}

/// R1, in the sandbox, which has several workers.
#[tokio::test]
async fn the_sandbox_has_both_versions_behind_the_name_of_the_service() {
    let edge = sandbox().await;
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let response = edge.get("/payment/balance/query").host("kim-payment-service").send().await;
        seen.insert(data(&response));
    }
    let both =
        ["Hello v1, anonymous!, id: 1", "Hello v2, anonymous!, id: 1 email: anonymous@163.com"];
    assert_eq!(seen, both.map(str::to_owned).into());
}

/// R3
#[tokio::test]
async fn a_user_gets_the_new_version_and_the_others_the_old_one() {
    let edge = sandbox().await;
    let query = || edge.get("/payment/balance/query").host("localhost:10000");

    let cheng = query().header("end-user", "cheng").send().await;
    assert_eq!(
        cheng.json(),
        json!({
            "code": 200, "message": null, "data": "Hello v2, cheng!, id: 1 email: cheng@163.com",
        })
    );
    let jim = query().header("end-user", "jim").send().await;
    assert_eq!(
        jim.json(),
        json!({ "code": 200, "message": null, "data": "Hello v1, jim!, id: 1" })
    );
    assert_eq!(data(&query().send().await), "Hello v1, anonymous!, id: 1");
    // An exact match compares the whole value, including its case.
    for other in ["Cheng", "chengdu", "jim,cheng"] {
        let response = query().header("end-user", other).send().await;
        assert_eq!(data(&response), format!("Hello v1, {other}!, id: 1"));
    }
}

/// R5
#[tokio::test]
async fn an_ingress_lets_two_paths_of_one_host_through() {
    let edge = sandbox().await;
    let status = async |host: &str, path: &str| edge.get(path).host(host).send().await.status;

    assert_eq!(status("httpbin.example.com", "/status/200").await, 200);
    assert_eq!(status("httpbin.example.com:31194", "/status/200").await, 200);
    assert_eq!(status("HTTPBIN.example.com", "/status/200").await, 200);
    assert_eq!(status("httpbin.example.com", "/status/503").await, 503);
    assert_eq!(status("other.example.com", "/status/200").await, 404);

    let refused = edge.get("/headers").host("httpbin.example.com").send().await;
    assert_eq!((refused.status, refused.text().as_str()), (404, ""));
    let delayed = edge.get("/delay/1").host("httpbin.example.com").send().await;
    assert_eq!(delayed.status, 200);
    delayed.assert_took(seconds(1.0)..seconds(5.0));
}

/// R6
#[tokio::test]
async fn a_wildcard_matches_every_host() {
    let edge = sandbox().await;
    for host in ["other.example.com", "127.0.0.2:10000", "a", "[::1]:80"] {
        let response = edge.get("/headers").host(host).header("x-mine", "1").send().await;
        assert_eq!(response.status, 200, "{host}");
        let headers = &response.json()["headers"];
        assert_eq!((&headers[":authority"], &headers["x-mine"]), (&json!(host), &json!("1")));
        assert_eq!(headers.get("x-sluice-cluster"), None, "not for upstreams: {headers}");
    }
}

/// R7: the rules that Istio generates from a Kubernetes Ingress. A path that ends in `/*` becomes
/// the prefix before it and any other an exact match; the path type `Prefix` becomes a regular
/// expression that ends at a slash.
#[tokio::test]
async fn the_rules_of_a_kubernetes_ingress_apply() {
    let upstream = Upstream::echo("httpbin");
    let rule = |uri: Value| {
        let destination = json!({ "host": "httpbin", "port": { "number": 8000 } });
        json!({ "match": [{ "uri": uri }], "route": [{ "destination": destination }] })
    };
    let service = |host: &str, rules: Value| json!({ "hosts": [host], "gateways": ["ingress"], "http": rules });
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(Listener::new("edge").plugin(&json!({
                "clusterName": "{host}[-{subset}]",
                "virtualServices": [
                    service("httpbin.example.com", json!([rule(json!({ "prefix": "/status" }))])),
                    service("exact.example.com", json!([rule(json!({ "exact": "/status" }))])),
                    service(
                        "prefix.example.com",
                        json!([rule(json!({ "regex": r"/status((\/).*)?" }))]),
                    ),
                ],
            })))
            .cluster("httpbin", &[upstream.address()]),
    )
    .await;

    let edge = envoy.listener("edge");
    for (host, path, status) in [
        ("httpbin.example.com", "/status/200", 200),
        ("httpbin.example.com", "/headers", 404),
        ("exact.example.com", "/status", 200),
        ("exact.example.com", "/status?q=1", 200),
        ("exact.example.com", "/status/", 404),
        ("exact.example.com", "/status/200", 404),
        ("prefix.example.com", "/status", 200),
        ("prefix.example.com", "/status/", 200),
        ("prefix.example.com", "/status/200?q=1", 200),
        ("prefix.example.com", "/statuses", 404),
        ("prefix.example.com", "/x/status", 404),
        ("elsewhere.example.com", "/status/200", 404),
    ] {
        let response = edge.get(path).host(host).send().await;
        assert_eq!(response.status, status, "{host}{path}");
    }
}

/// R8
#[tokio::test]
async fn one_port_serves_several_hosts() {
    let edge = sandbox().await;
    let teapot = edge.get("/status/418").host("httpbin.example.com").send().await;
    assert_eq!(teapot.status, 418);
    assert!(teapot.text().contains("-=[ teapot ]=-"), "{}", teapot.text());
    assert_eq!(teapot.header("x-more-info").as_deref(), Some("http://tools.ietf.org/html/rfc2324"));

    let hello = edge.get("/hello").host("helloworld-v1.example.com").send().await;
    assert_eq!(hello.status, 200);
    assert!(hello.text().starts_with("Hello version: v1"), "{}", hello.text());
    assert_eq!(edge.get("/hello").host("httpbin.example.com").send().await.status, 404);
}

/// T1
#[tokio::test]
async fn a_slow_service_times_out_after_half_a_second() {
    let slow = Upstream::slow("v2", seconds(15.0));
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(Listener::new("edge").plugin(&any_host(json!([{
                "timeout": "0.5s",
                "route": [{ "destination": { "host": "kim-payment-service", "subset": "v2" } }],
            }]))))
            .cluster("kim-payment-service-v2", &[slow.address()]),
    )
    .await;

    let response = envoy.listener("edge").get("/payment/balance/query").send().await;
    assert_eq!((response.status, response.text().as_str()), (504, "upstream request timeout"));
    response.assert_took(seconds(0.5)..seconds(5.0));
}

/// T2
#[tokio::test]
async fn an_external_service_gets_three_seconds() {
    let edge = sandbox().await;
    let with_rule = edge.get("/delay/5").host("httpbin.org").send();
    let without = edge.get("/delay/5").host("httpbin.example.com").send();
    let (with_rule, without) = tokio::join!(with_rule, without);

    assert_eq!((with_rule.status, with_rule.text().as_str()), (504, "upstream request timeout"));
    with_rule.assert_took(seconds(3.0)..seconds(5.0));
    assert_eq!(without.status, 200);
    without.assert_took(seconds(5.0)..seconds(10.0));
    assert_eq!(edge.get("/delay/1").host("httpbin.org").send().await.status, 200);
}

/// F1 and F3, in the sandbox.
#[tokio::test]
async fn one_user_has_the_faults_of_the_sandbox() {
    let edge = sandbox().await;
    let ask = |host: &str, user: &str| {
        edge.get("/payment/balance/query").host(host).header("end-user", user).send()
    };
    let (delayed, other) =
        (ask("delay.example.com", "cheng").await, ask("delay.example.com", "jim").await);
    assert_eq!(data(&delayed), "Hello v1, cheng!, id: 1");
    delayed.assert_took(seconds(7.0)..seconds(12.0));
    assert_eq!(data(&other), "Hello v1, jim!, id: 1");
    assert!(other.elapsed < seconds(5.0), "{:?}", other.elapsed);
    let (aborted, other) =
        (ask("abort.example.com", "cheng").await, ask("abort.example.com", "jim").await);
    assert_eq!((aborted.status, aborted.text().as_str()), (500, "fault filter abort"));
    assert_eq!(data(&other), "Hello v1, jim!, id: 1");
}
