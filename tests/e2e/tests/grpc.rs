//! Faults of gRPC calls, between a real gRPC client and server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// A gRPC server with the standard health service.
async fn server() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(socket)));
    address
}

struct Edge {
    envoy: Envoy,
    channel: Channel,
}

impl Edge {
    /// An Envoy with this fault for calls with the metadata `case: faulty`.
    async fn start(fault: Value) -> Self {
        let route = json!([{ "destination": { "host": "service" } }]);
        let document = json!({
            "clusterName": "{host}",
            "virtualServices": [{ "hosts": ["*"], "gateways": ["gateway"], "http": [
                { "match": [{ "headers": { "case": { "exact": "faulty" } } }],
                  "fault": fault, "route": route },
                { "route": route },
            ] }],
        });
        let envoy = Envoy::start(
            &Bootstrap::new()
                .listener(Listener::new("edge").fault(&document).plugin(&document))
                .http2_cluster("service", server().await),
        )
        .await;
        let address = envoy.listener("edge").address();
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        Self { envoy, channel: channel.connect().await.unwrap() }
    }

    async fn check(&self, case: &'static str) -> Result<i32, Status> {
        let mut request = Request::new(HealthCheckRequest::default());
        request.metadata_mut().insert("case", case.parse().unwrap());
        request.set_timeout(Duration::from_secs(10));
        let answer = HealthClient::new(self.channel.clone()).check(request).await?;
        Ok(answer.into_inner().status)
    }

    async fn count(&self, name: &str) -> u64 {
        self.envoy.stat(&format!("wasmcustom.sluice.fault.{name}")).await
    }
}

const SERVING: i32 = 1;

fn always(mut fault: Value) -> Value {
    fault["percentage"] = json!({ "value": 100 });
    fault
}

#[tokio::test]
async fn an_abort_is_the_status_that_the_rule_names() {
    let edge = Edge::start(json!({ "abort": always(json!({ "grpcStatus": "NOT_FOUND" })) })).await;
    let aborted = edge.check("faulty").await.unwrap_err();
    assert_eq!((aborted.code(), aborted.message()), (Code::NotFound, "fault filter abort"));
    assert_eq!(aborted.metadata().get("x-sluice-fault").unwrap(), "abort");
    assert_eq!(edge.check("other").await.unwrap(), SERVING);
    assert_eq!([edge.count("aborts_injected").await, edge.count("active_faults").await], [1, 0]);
}

#[tokio::test]
async fn an_http_abort_becomes_the_grpc_status_of_envoys_mapping() {
    for (status, code) in
        [(400, Code::Internal), (401, Code::Unauthenticated), (503, Code::Unavailable)]
    {
        let edge = Edge::start(json!({ "abort": always(json!({ "httpStatus": status })) })).await;
        let aborted = edge.check("faulty").await.unwrap_err();
        assert_eq!((aborted.code(), aborted.message()), (code, "fault filter abort"), "{status}");
    }
}

#[tokio::test]
async fn a_call_waits_and_then_succeeds() {
    let edge = Edge::start(json!({ "delay": always(json!({ "fixedDelay": "0.4s" })) })).await;
    let start = Instant::now();
    assert_eq!(edge.check("faulty").await.unwrap(), SERVING);
    assert!(start.elapsed() > Duration::from_millis(390), "{:?}", start.elapsed());
    assert_eq!([edge.count("delays_injected").await, edge.count("active_faults").await], [1, 0]);
}

/// The body of a unary response is delayed, together with the trailers that contain its status.
#[tokio::test]
async fn a_slow_answer_keeps_its_status() {
    let limit = always(json!({ "limitKbps": 1 }));
    let edge = Edge::start(json!({ "responseRateLimit": limit })).await;
    assert_eq!(edge.check("faulty").await.unwrap(), SERVING);
    assert_eq!(edge.count("response_rl_injected").await, 1);
    assert_eq!(edge.count("active_faults").await, 0);
}

/// A call whose deadline expires while it is delayed.
#[tokio::test]
async fn a_deadline_is_kept_while_a_call_waits() {
    let edge = Edge::start(json!({ "delay": always(json!({ "fixedDelay": "30s" })) })).await;
    let call = tokio::time::timeout(Duration::from_millis(500), edge.check("faulty")).await;
    assert!(call.is_err(), "an answer: {call:?}");
    sluice_e2e::until("the call is cleaned up", async || {
        (edge.count("active_faults").await == 0).then_some(())
    })
    .await;
    assert_eq!(edge.check("other").await.unwrap(), SERVING);
}
