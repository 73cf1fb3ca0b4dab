//! Which requests are copied, and the content of the copies.

use std::time::Duration;

use hyper::Method;
use serde_json::json;
use sluice_e2e::{Answer, Envoy, Listener, Mirroring, Upstream, any_host, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Edge, assert_copied, bootstrap, mirror_all, rule, to_copy};

#[tokio::test]
async fn every_method_is_copied_byte_for_byte() {
    let edge = Edge::start(&mirror_all(json!({}))).await;
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        let path = format!("/{method}?x=%20y&z");
        let request = edge.client().request(method.parse().unwrap(), &path).host("a.com:8080");
        let request = request.header("x-many", "1").header("x-many", b"\xff\xfe");
        let response = request.body(format!("body of {method}")).send().await;
        assert_eq!(response.status, 200);
        if method != "HEAD" {
            assert_eq!(response.upstream(), "primary", "the client only sees the primary");
        }
        let (original, copy) = edge.pair(&path).await;
        assert_copied(&original, &copy, &[]);
        assert_eq!((original.host.as_str(), copy.host.as_str()), ("a.com:8080", "a.com:8080"));
        assert_eq!(edge.envoy.access_log(&path).await["route"], "mirrored to copy");
    }
    assert_eq!(edge.count("mirrored").await, 7);
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn a_large_body_arrives_whole_at_both() {
    let edge = Edge::start(&mirror_all(json!({}))).await;
    let mut body = vec![0; 3_000_000];
    fastrand::Rng::with_seed(1).fill(&mut body);
    let request = edge.client().request(Method::POST, "/large").body(body.clone());
    assert_eq!(request.send().await.status, 200);
    let (original, copy) = edge.pair("/large").await;
    assert_copied(&original, &copy, &[]);
    assert!(original.body == body);
}

#[tokio::test]
async fn a_body_in_chunks_is_streamed_to_both() {
    let edge = Edge::start(&mirror_all(json!({}))).await;
    let mut stream = TcpStream::connect(edge.client().address()).await.unwrap();
    let head = "POST /chunks HTTP/1.1\r\nhost: a.com\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for chunk in 0..20 {
        let text = format!("chunk {chunk};").repeat(500);
        stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
    let (original, copy) = edge.pair("/chunks").await;
    assert_copied(&original, &copy, &[]);
    assert_eq!(original.header("transfer-encoding"), ["chunked"]);
    let whole: String = (0..20).map(|chunk| format!("chunk {chunk};").repeat(500)).collect();
    assert!(original.body == whole);
}

#[tokio::test]
async fn http2_is_copied_to_http2() {
    let document = mirror_all(json!({}));
    let (primary, copy) = (Upstream::echo("primary"), Upstream::echo("copy"));
    let bootstrap = sluice_e2e::Bootstrap::new()
        .http2_cluster("primary", primary.address())
        .http2_cluster("copy", copy.address())
        .listener(Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy()));
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, primary, copy };
    let mut connection = edge.client().http2().connect().await;
    for number in 0..5 {
        let path = format!("/h2/{number}");
        let body = vec![b'x'; 100_000 * number];
        let request = edge.client().http2().request(Method::POST, &path).host("a.com").body(body);
        assert_eq!(connection.send(request).await.upstream(), "primary");
        let (original, copy) = edge.pair(&path).await;
        assert_copied(&original, &copy, &[]);
        assert_eq!((original.host.as_str(), copy.host.as_str()), ("a.com", "a.com"));
    }
}

#[tokio::test]
async fn copies_contain_the_changes_of_the_router() {
    let document = any_host(json!([rule(json!({
        "match": [{ "uri": { "prefix": "/old/" } }],
        "mirror": { "host": "copy" },
        "rewrite": { "uri": "/new/", "authority": "new.com" },
        "headers": { "request": { "set": { "x-set": "1" }, "remove": ["x-gone"] } },
    }))]));
    let edge = Edge::start(&document).await;
    assert_eq!(edge.client().get("/old/a?q").header("x-gone", "1").send().await.status, 200);
    let (original, copy) = edge.pair("/new/a?q").await;
    assert_copied(&original, &copy, &[]);
    assert_eq!((copy.host.as_str(), copy.header("x-set")), ("new.com", vec!["1".to_owned()]));
    assert_eq!(copy.header("x-gone"), [""; 0]);
}

/// Source: Envoy's setting `disable_shadow_host_suffix_append`, which current Istio enables.
#[tokio::test]
async fn the_host_may_have_a_suffix() {
    let edge = Edge::start_with(&mirror_all(json!({})), |listener| {
        listener.mirroring(Mirroring::WithHostSuffix(vec![vec![(0, "copy")]]))
    })
    .await;
    for (number, (host, shadow)) in
        [("cluster1", "cluster1-shadow"), ("h:80", "h-shadow:80")].into_iter().enumerate()
    {
        let path = format!("/host/{number}");
        edge.client().get(&path).host(host).send().await;
        let (original, copy) = edge.pair(&path).await;
        assert_copied(&original, &copy, &["host"]);
        assert_eq!((original.host.as_str(), copy.host.as_str()), (host, shadow));
    }
}

#[tokio::test]
async fn credentials_may_stay_behind() {
    let edge = Edge::start(&mirror_all(json!({}))).await;
    edge.client().get("/secret").header("authorization", "Bearer x").send().await;
    let (original, copy) = edge.pair("/secret").await;
    assert_copied(&original, &copy, &["authorization"]);
    assert_eq!(original.header("authorization"), ["Bearer x"]);
    assert_eq!(copy.header("authorization"), [""; 0]);
}

#[tokio::test]
async fn a_retry_is_not_another_copy() {
    let document = any_host(json!([rule(json!({
        "mirror": { "host": "copy" },
        "retries": { "attempts": 2, "retryOn": "5xx" },
    }))]));
    let primary = Upstream::answering("primary", |_| Answer { status: 503, ..Answer::default() });
    let copy = Upstream::echo("copy");
    let listener = Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy());
    let bootstrap = bootstrap(&primary, copy.address()).listener(listener);
    let envoy = Envoy::start(&bootstrap).await;
    let response = envoy.listener("edge").get("/retried").send().await;
    assert_eq!(response.status, 503);
    until("the copy arrives", async || copy.received("/retried").pop()).await;
    assert_eq!((primary.received("/retried").len(), copy.received("/retried").len()), (3, 1));
}

#[tokio::test]
async fn several_mirrors_each_get_a_copy() {
    let document = any_host(json!([rule(json!({ "mirrors": [
        { "destination": { "host": "copy" } },
        { "destination": { "host": "never" }, "percentage": { "value": 0 } },
        { "destination": { "host": "third" } },
    ] }))]));
    let (primary, copy) = (Upstream::echo("primary"), Upstream::echo("copy"));
    let third = Upstream::echo("third");
    let by_route = Mirroring::ByRoute(vec![vec![(0, "copy"), (2, "third")]]);
    let listener = |name, mirroring| {
        Listener::new(name).mirror(&document).plugin(&document).mirroring(mirroring)
    };
    let bootstrap = bootstrap(&primary, copy.address())
        .cluster("third", &[third.address()])
        .listener(listener("edge", by_route))
        .listener(listener("by-header", Mirroring::ByHeader(3)));
    let edge = Edge { envoy: Envoy::start(&bootstrap).await, primary, copy };
    assert_eq!(edge.client().get("/several").send().await.upstream(), "primary");
    let (original, copy) = edge.pair("/several").await;
    assert_copied(&original, &copy, &[]);
    let third_copy =
        until("the third copy arrives", async || third.received("/several").pop()).await;
    assert_copied(&original, &third_copy, &[]);
    assert_eq!(edge.envoy.access_log("/several").await["route"], "mirrored to copy,third");

    // With policies that read the headers there is no route per target. The original keeps the
    // headers, because Envoy reads them after it sent the original.
    let by_header = edge.envoy.listener("by-header");
    assert_eq!(by_header.get("/by-header").send().await.upstream(), "primary");
    let (original, copy) = edge.pair("/by-header").await;
    assert_eq!(original.header("x-sluice-mirror-0"), ["copy"]);
    assert_eq!(original.header("x-sluice-mirror-2"), ["third"]);
    let third_copy =
        until("the third copy arrives", async || third.received("/by-header").pop()).await;
    for copy in [copy, third_copy] {
        assert_eq!(copy.header("x-sluice-mirror-0"), [""; 0]);
        assert_eq!(copy.header("x-sluice-mirror-2"), [""; 0]);
    }
    assert_eq!((edge.count("mirrored").await, edge.count("not_sampled").await), (4, 2));
}

#[tokio::test]
async fn envoy_refuses_a_route_with_a_mirror_that_it_does_not_know() {
    let document = mirror_all(json!({}));
    let primary = Upstream::echo("primary");
    let listener = Listener::new("edge").mirror(&document).plugin(&document).mirroring(to_copy());
    let bootstrap =
        sluice_e2e::Bootstrap::new().cluster("primary", &[primary.address()]).listener(listener);
    let failure = Envoy::try_start(&bootstrap).await.err().expect("Envoy does not start");
    assert!(failure.log.contains("unknown shadow cluster 'copy'"), "{}", failure.log);
}
