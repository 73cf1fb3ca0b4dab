//! Explanations of decisions, in responses and in the log of a real Envoy.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Mirroring, Response, Upstream, any_host, until};
use tokio::task::JoinSet;

const SECRET: &str = "open-sesame-12345";

const HEADER: &str = "x-sluice-explain";

/// An Envoy with the listeners `chain`, of single modules, and `bundle`, of one module, with the
/// same document.
struct Edge {
    envoy: Envoy,
    primary: Upstream,
}

/// The listeners of an edge.
const LISTENERS: [&str; 2] = ["chain", "bundle"];

impl Edge {
    async fn start(explain: Value) -> Self {
        let mut document = any_host(rules());
        document["explain"] = explain;
        document["outboundTrafficPolicy"] = json!({ "mode": "REGISTRY_ONLY" });
        document["egress"] = json!({ "port": 80 });
        document["serviceEntries"] = json!([{
            "hosts": ["known"], "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
        }]);
        let (primary, copy) = (Upstream::echo("primary"), Upstream::echo("copy"));
        let listener = |name| {
            let listener = Listener::new(name);
            listener.mirroring(Mirroring::ByRoute(vec![vec![(0, "copy")]]))
        };
        let chain = listener("chain").egress(&document).fault(&document).mirror(&document);
        let bootstrap = Bootstrap::new()
            .listener(chain.plugin(&document))
            .listener(listener("bundle").bundle(&document))
            .cluster("primary-v1", &[primary.address()])
            .cluster("primary-v2", &[primary.address()])
            .cluster("copy", &[copy.address()]);
        Self { envoy: Envoy::start(&bootstrap).await, primary }
    }

    async fn get(&self, listener: &str, path: &str, sent: &[&[u8]]) -> Response {
        let request = self.envoy.listener(listener).get(path).host("known");
        sent.iter().fold(request, |request, value| request.header(HEADER, value)).send().await
    }
}

fn rules() -> Value {
    let all = json!({ "value": 100 });
    let split = json!([
        { "destination": { "host": "primary", "subset": "v1" }, "weight": 50 },
        { "destination": { "host": "primary", "subset": "v2" }, "weight": 50 },
    ]);
    json!([
        {
            "match": [{ "uri": { "prefix": "/abort" } }],
            "fault": { "abort": { "httpStatus": 503, "percentage": all } },
            "route": split,
        },
        {
            "name": "slow",
            "match": [{ "uri": { "prefix": "/slow" } }],
            "fault": { "delay": { "fixedDelay": "100ms", "percentage": all } },
            "mirror": { "host": "copy" },
            "route": split,
        },
        { "match": [{ "headers": { "user": { "exact": "jason" } } }], "route": split },
        { "name": "split", "route": split },
    ])
}

/// The explanations in a response, by filter.
fn explanations(response: &Response) -> Value {
    let values = response.headers.get_all(HEADER);
    let mut all = json!({});
    for value in values {
        let one: Value = serde_json::from_slice(value.as_bytes()).expect("JSON");
        for (filter, own) in one.as_object().expect("an object") {
            assert_eq!(all.get(filter), None, "{filter} twice");
            all[filter] = own.clone();
        }
    }
    all
}

fn secret() -> Value {
    json!({ "secret": SECRET })
}

#[tokio::test]
async fn each_filter_explains_what_it_did() {
    let edge = Edge::start(secret()).await;
    for listener in LISTENERS {
        let split = explanations(&edge.get(listener, "/", &[SECRET.as_bytes()]).await);
        let own = &split["router"];
        assert_eq!(own["name"], "split", "{listener}");
        assert_eq!(own["place"], "virtualServices[0].http[3]");
        assert_eq!(own["rules"][2]["wanted"], "exact \"jason\"");
        assert_eq!(own["rules"][2]["found"], "absent");
        assert_eq!(own["shares"][1], json!({ "cluster": "primary-v2", "weight": 50 }));
        assert_eq!(split["fault"]["outcome"], "none");

        let slow = explanations(&edge.get(listener, "/slow", &[SECRET.as_bytes()]).await);
        assert_eq!(slow["fault"]["outcome"], "delay", "{listener}");
        assert_eq!(slow["fault"]["delayMilliseconds"], 100);
        assert_eq!(slow["fault"]["rule"], "slow");
        assert_eq!(slow["router"]["outcome"], "forwarded");

        let abort = edge.get(listener, "/abort", &[SECRET.as_bytes()]).await;
        assert_eq!(abort.status, 503);
        let abort = explanations(&abort);
        assert_eq!(abort["fault"]["outcome"], "abort", "{listener}");
        assert_eq!(abort.get("router"), None, "the router did not get it");

        let client = edge.envoy.listener(listener);
        let refused = client.get("/").host("unknown").header(HEADER, SECRET).send().await;
        assert_eq!(refused.status, 502);
        let expected = json!({ "egress": { "reason": "unknown_name", "isRefused": true } });
        assert_eq!(explanations(&refused), expected, "{listener}");
    }
    // A single mirror or egress module has no callback for responses.
    let slow = explanations(&edge.get("bundle", "/slow", &[SECRET.as_bytes()]).await);
    assert_eq!(slow["mirror"]["copies"], json!(["copy"]));
    assert_eq!(slow["egress"]["serviceEntry"], "serviceEntries[0]");
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

/// An explanation decides again, with the same random numbers: also if other requests were decided
/// in the meantime.
#[tokio::test]
async fn an_explanation_has_the_cluster_that_the_request_went_to() {
    let edge = Edge::start(secret()).await;
    for listener in LISTENERS {
        for path in ["/slow", "/fast"] {
            let mut requests = JoinSet::new();
            for number in 0..60 {
                let request = edge.envoy.listener(listener).get(path).host("known");
                // Not all requests ask.
                let request = match number % 3 {
                    0 => request,
                    _ => request.header(HEADER, SECRET),
                };
                requests.spawn(request.send());
            }
            let mut clusters = Vec::new();
            for response in requests.join_all().await {
                assert_eq!(response.status, 200);
                if response.headers.contains_key(HEADER) {
                    let explained = explanations(&response)["router"]["cluster"].clone();
                    assert_eq!(explained.as_str(), response.cluster().as_deref(), "{listener}");
                    clusters.push(explained.to_string());
                }
            }
            assert_eq!(clusters.len(), 40, "{listener} {path}");
            clusters.sort();
            clusters.dedup();
            assert_eq!(clusters.len(), 2, "{listener} {path}");
        }
    }
}

#[tokio::test]
async fn without_the_secret_nothing_is_told_and_the_upstream_never_sees_it() {
    // `printf %s open-sesame-12345 | sha256sum`
    let digest = "3ad39f0021e8467ade9550ebb678666751f5c43ac9a3608271eeaabdd4fe0026";
    for settings in [secret(), json!({ "secretSha256": digest })] {
        let edge = Edge::start(settings).await;
        let right = SECRET.as_bytes();
        let (longer, huge) = ([right, b"6"].concat(), vec![b'o'; 50_000]);
        let bytes = (0x80..=0xff).collect::<Vec<u8>>();
        let wrong: [&[&[u8]]; 9] = [
            &[],
            &[b""],
            &[b"Open-sesame-12345"],
            &[&right[..16]],
            &[&longer],
            &[right, right],
            &[&huge],
            &[&bytes],
            &[digest.as_bytes()],
        ];
        for listener in LISTENERS {
            for (index, sent) in wrong.iter().enumerate() {
                for path in ["/", "/abort", "/slow"] {
                    let response = edge.get(listener, path, sent).await;
                    let name = format!("{listener} {path} value {index}");
                    assert_eq!(response.headers.get(HEADER), None, "{name}");
                    assert_eq!(response.status, if path == "/abort" { 503 } else { 200 }, "{name}");
                }
            }
            assert_eq!(edge.get(listener, "/", &[right]).await.status, 200);
        }
        let received = edge.primary.received("");
        assert!(received.len() > 30);
        for request in received {
            assert!(request.headers.iter().all(|(name, _)| name != HEADER), "{request:?}");
        }
        assert!(!edge.envoy.log().contains("sesame"), "the log has the secret");
    }
}

#[tokio::test]
async fn a_share_of_the_requests_is_explained_in_the_log() {
    let edge = Edge::start(json!({ "logPercentage": { "value": 100 } })).await;
    for _ in 0..40 {
        let response = edge.get("bundle", "/", &[SECRET.as_bytes()]).await;
        assert_eq!(response.headers.get(HEADER), None);
    }
    let line = until("the log has an explanation", async || {
        edge.envoy.log().lines().find(|line| line.contains("explained: ")).map(str::to_owned)
    })
    .await;
    for part in [r#"{"egress":{"#, r#"{"fault":{"outcome":"none""#, r#""name":"split""#] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    // Ten lines in a second; forty requests do not take four.
    let lines = || edge.envoy.log().lines().filter(|line| line.contains("explained: ")).count();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let before = lines();
    assert!(before < 40, "{before} lines");
    edge.get("bundle", "/", &[]).await;
    until("the next line has the number of suppressed ones", async || {
        let log = edge.envoy.log();
        let mut lines = log.lines().filter(|line| line.contains("explained: "));
        lines.any(|line| !line.ends_with("suppressed=0")).then_some(())
    })
    .await;
}
