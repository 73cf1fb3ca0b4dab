//! Destinations without a port: the clusters of the original and of the copy, and rules without a
//! destination.

use serde_json::json;
use sluice_e2e::{Bootstrap, Envoy, Listener, Mirroring, Upstream, any_host, until};

/// The ports that clients call. Each has clusters of its own.
const PORTS: [u16; 2] = [80, 9080];

#[tokio::test]
async fn requests_and_copies_keep_the_port_that_the_client_called() {
    let rules = json!([{
        "route": [{ "destination": { "host": "shop" } }],
        "mirrors": [
            { "destination": { "host": "shop", "subset": "v2" } },
            { "destination": { "host": "audit" } },
        ],
    }]);
    let mut document = any_host(rules);
    document["clusterName"] = "outbound|{port}|{subset}|{host}".into();
    document["services"] = json!([{ "host": "audit", "ports": [7000] }]);
    // Only the router needs a destination.
    let fault = any_host(json!([{
        "match": [{ "uri": { "prefix": "/broken" } }],
        "fault": { "abort": { "httpStatus": 418, "percentage": { "value": 100 } } },
    }]));
    let audit = Upstream::echo("audit");
    let upstreams = PORTS
        .map(|port| [format!("{port}"), format!("{port} v2")].map(|name| Upstream::echo(&name)));
    let listener = Listener::new("edge").proxy_protocol().fault(&fault).mirror(&document);
    let listener = listener.mirroring(Mirroring::ByHeader(2)).plugin(&document);
    let mut bootstrap = Bootstrap::new().listener(listener);
    bootstrap = bootstrap.cluster("outbound|7000||audit", &[audit.address()]);
    for (port, [own, v2]) in PORTS.iter().zip(&upstreams) {
        bootstrap = bootstrap
            .cluster(&format!("outbound|{port}||shop"), &[own.address()])
            .cluster(&format!("outbound|{port}|v2|shop"), &[v2.address()]);
    }
    let envoy = Envoy::start(&bootstrap).await;
    for (port, [_, v2]) in PORTS.iter().zip(&upstreams) {
        let client = envoy.listener("edge").destination_port(*port);
        let path = format!("/{port}");
        let response = client.get(&path).send().await;
        assert_eq!(response.cluster(), Some(format!("outbound|{port}||shop")));
        assert_eq!(response.upstream(), port.to_string());
        until("the copies arrive", async || {
            let copies = [v2, &audit].map(|upstream| upstream.received(&path).len());
            (copies == [1, 1]).then_some(())
        })
        .await;
        assert_eq!(client.get("/broken").send().await.status, 418);
    }
    // No cluster has this port.
    let other = envoy.listener("edge").destination_port(81);
    assert_eq!(other.get("/").send().await.status, 503);
    assert_eq!(envoy.traps(), [""; 0]);
}
