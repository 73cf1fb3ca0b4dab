//! Responses that the fault filter breaks off.

use serde_json::json;
use sluice_e2e::{Answer, Bootstrap, Client, Envoy, Listener, Upstream};

const BODY_BYTES: usize = 200_000;

async fn start(after_bytes: usize) -> (Envoy, Upstream) {
    let body: &'static str = "x".repeat(BODY_BYTES).leak();
    let upstream =
        Upstream::answering("service", move |_| Answer { body: Some(body), ..Answer::default() });
    let document = json!({
        "clusterName": "{host}",
        "virtualServices": [{ "hosts": ["*"], "gateways": ["gateway"], "http": [{
            "fault": { "reset": { "afterBytes": after_bytes, "percentage": { "value": 100 } } },
            "route": [{ "destination": { "host": "service" } }],
        }] }],
    });
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(Listener::new("edge").fault(&document).plugin(&document))
            .cluster("service", &[upstream.address()]),
    )
    .await;
    (envoy, upstream)
}

async fn ask(client: &Client) -> Result<usize, String> {
    let response = client.connect().await.try_send(client.get("/")).await?;
    assert_eq!(response.status, 200);
    Ok(response.body.len())
}

#[tokio::test]
async fn a_response_that_is_longer_breaks_off() {
    for after_bytes in [0, 1000, BODY_BYTES - 1] {
        let (envoy, _upstream) = start(after_bytes).await;
        let edge = envoy.listener("edge");
        for client in [edge.clone(), edge.http2()] {
            let answer = ask(&client).await;
            assert!(answer.is_err(), "after {after_bytes} bytes: {answer:?}");
        }
        assert_eq!(envoy.stat("wasmcustom.sluice.fault.resets_injected").await, 2);
        assert_eq!(envoy.stat("wasmcustom.sluice.fault.active_faults").await, 0);
        assert_eq!(envoy.traps(), [""; 0]);
    }
}

#[tokio::test]
async fn a_response_that_is_not_longer_is_whole() {
    let (envoy, _upstream) = start(BODY_BYTES).await;
    let edge = envoy.listener("edge");
    for client in [edge.clone(), edge.http2()] {
        assert_eq!(ask(&client).await, Ok(BODY_BYTES));
    }
    assert_eq!(envoy.stat("wasmcustom.sluice.fault.resets_injected").await, 0);
}
