//! Responses that the fault filter truncates or throttles.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::{Answer, Bootstrap, Client, Envoy, Listener, Upstream};

const BODY_BYTES: usize = 200_000;

async fn start(fault: Value, body_bytes: usize) -> (Envoy, Upstream) {
    let body: &'static str = "x".repeat(body_bytes).leak();
    let upstream =
        Upstream::answering("service", move |_| Answer { body: Some(body), ..Answer::default() });
    let document = json!({
        "clusterName": "{host}",
        "virtualServices": [{ "hosts": ["*"], "gateways": ["gateway"], "http": [{
            "fault": fault,
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

fn reset(after_bytes: usize) -> Value {
    json!({ "reset": { "afterBytes": after_bytes, "percentage": { "value": 100 } } })
}

fn rate_limit(limit_kbps: u64) -> Value {
    json!({ "responseRateLimit": { "limitKbps": limit_kbps, "percentage": { "value": 100 } } })
}

async fn ask(client: &Client) -> Result<usize, String> {
    let response = client.connect().await.try_send(client.get("/")).await?;
    assert_eq!(response.status, 200);
    Ok(response.body.len())
}

#[tokio::test]
async fn a_longer_response_is_truncated() {
    for after_bytes in [0, 1000, BODY_BYTES - 1] {
        let (envoy, _upstream) = start(reset(after_bytes), BODY_BYTES).await;
        let edge = envoy.listener("edge");
        for client in [edge.clone(), edge.http2()] {
            let answer = ask(&client).await;
            // Envoy 1.36 tells HTTP/2 clients nothing of the error.
            let is_silent = client.is_http2() && envoy.is_of("1.36.").await;
            assert_eq!(answer.is_err(), !is_silent, "after {after_bytes} bytes: {answer:?}");
        }
        assert_eq!(envoy.stat("wasmcustom.sluice.fault.resets_injected").await, 2);
        assert_eq!(envoy.stat("wasmcustom.sluice.fault.active_faults").await, 0);
        assert_eq!(envoy.traps(), [""; 0]);
    }
}

#[tokio::test]
async fn a_shorter_response_is_complete() {
    let (envoy, _upstream) = start(reset(BODY_BYTES), BODY_BYTES).await;
    let edge = envoy.listener("edge");
    for client in [edge.clone(), edge.http2()] {
        assert_eq!(ask(&client).await, Ok(BODY_BYTES));
    }
    assert_eq!(envoy.stat("wasmcustom.sluice.fault.resets_injected").await, 0);
}

/// 200,000 bytes at 100 KiB/s take almost two seconds and arrive complete.
#[tokio::test]
async fn a_response_has_the_configured_rate() {
    let (envoy, _upstream) = start(rate_limit(100), BODY_BYTES).await;
    let edge = envoy.listener("edge");
    let seconds = BODY_BYTES as f64 / (100.0 * 1024.0);
    for client in [edge.clone(), edge.http2()] {
        let start = Instant::now();
        assert_eq!(ask(&client).await, Ok(BODY_BYTES));
        let took = start.elapsed().as_secs_f64();
        assert!((seconds - 0.01..seconds + 3.0).contains(&took), "{took} s for {seconds} s");
    }
    assert_eq!(envoy.stat("wasmcustom.sluice.fault.response_rl_injected").await, 2);
    assert_eq!(envoy.stat("wasmcustom.sluice.fault.active_faults").await, 0);
}

/// A body larger than Envoy's buffer limit: Envoy pauses the upstream, and no byte is lost.
#[tokio::test]
async fn a_response_larger_than_envoys_buffers_is_slowed_down_too() {
    const LARGE: usize = 8 << 20;
    let (envoy, _upstream) = start(rate_limit(4096), LARGE).await;
    let start = Instant::now();
    assert_eq!(ask(&envoy.listener("edge")).await, Ok(LARGE));
    assert!(start.elapsed() > Duration::from_millis(1990), "{:?}", start.elapsed());
    assert_eq!(envoy.traps(), [""; 0]);
}
