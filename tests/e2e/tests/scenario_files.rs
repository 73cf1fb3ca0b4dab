//! Tests for scenarios that a README cannot contain, because no command-line client supports TLS in
//! TLS. `make scenarios` checks the READMEs.

use sluice_e2e::{Envoy, Scenario, tls};
use tokio::net::TcpStream;

async fn sni_counts<const N: usize>(envoy: &Envoy, names: [&str; N]) -> [u64; N] {
    let mut counts = [0; N];
    for (count, name) in counts.iter_mut().zip(names) {
        *count = envoy.stat(&format!("wasmcustom.sluice.sni.{name}")).await;
    }
    counts
}

const CHECKED: [&str; 5] = ["routed", "snis_match", "snis_do_not_match", "no_route", "refused"];

/// E15: a workload that bypasses its sidecar, with the sidecar's certificate.
#[tokio::test]
async fn e15_forged_server_names() {
    let scenario = Scenario::new();
    let gateway = scenario.envoy("envoy/scenarios/egress-sni-check/gateway.yaml").await;
    let ask = async |outer: &str, inner: &str| {
        let mesh = tls::Tls::default().identity("sidecar").server("egress-gateway.example.net");
        let stream = TcpStream::connect(scenario.address(10001)).await?;
        let stream = mesh.connect(stream, outer).await?;
        let stream = tls::Tls::default().connect(stream, inner).await?;
        Ok(tls::get(stream, inner).await?.1)
    };
    let result: std::io::Result<String> = ask("en.wiki.example.org", "other.example.com").await;
    assert!(result.is_err(), "{result:?}");
    let result = ask("en.wiki.example.org", "en.wiki.example.org").await;
    assert_eq!(result.unwrap(), "server\n");
    let result = ask("other.example.com", "other.example.com").await;
    assert!(result.is_err(), "{result:?}");
    assert_eq!(sni_counts(&gateway, CHECKED).await, [2, 1, 1, 1, 2]);
}
