//! Traps in the wasm modules, on purpose: the shipped modules with a trap in each callback, in a
//! real Envoy, under each failure policy. What clients see of it is in `tests/README.md`.

mod connections;
mod module;
mod requests;

use std::path::Path;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, any_host};

use module::{TRAPPING_CONFIGURATION, Trapping};

/// What Envoy does with a VM that has trapped (`failure_policy`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Policy {
    Closed,
    Open,
    Reload,
}

impl Policy {
    const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::Reload];

    fn name(self) -> &'static str {
        match self {
            Self::Closed => "FAIL_CLOSED",
            Self::Open => "FAIL_OPEN",
            Self::Reload => "FAIL_RELOAD",
        }
    }
}

/// Returns a filter of the kind `http` or `network` from a module with traps. Filters with the same
/// `vm` share a VM.
fn trapping(kind: &str, file: &Path, name: &str, vm: &str, policy: Policy, text: &str) -> Value {
    let mut filter = sluice_e2e::plugin(kind, file.to_str().expect("a name in UTF-8"), name, text);
    let config = &mut filter["typed_config"]["config"];
    config["vm_config"]["vm_id"] = vm.into();
    config["failure_policy"] = policy.name().into();
    if policy == Policy::Reload {
        config["reload_config"] = json!({ "backoff": { "base_interval": "0.1s" } });
    }
    filter
}

/// Returns a document with work for every filter: requests with `x-wait` wait for an hour, those
/// with `x-short` for a moment, and those with `x-abort` get 429.
fn document() -> Value {
    let route = json!([{ "destination": { "host": "service" } }]);
    let rule = |header: &str, fault: Value| json!({ "match": [{ "headers": { header: {} } }], "fault": fault, "route": route });
    let delay =
        |time: &str| json!({ "delay": { "fixedDelay": time, "percentage": { "value": 100 } } });
    let abort = json!({ "abort": { "httpStatus": 429, "percentage": { "value": 100 } } });
    let mut document = any_host(json!([
        rule("x-wait", delay("1h")),
        rule("x-short", delay("50ms")),
        rule("x-abort", abort),
        { "route": route },
    ]));
    document["outboundTrafficPolicy"] = json!({ "mode": "REGISTRY_ONLY" });
    document["egress"] = json!({ "port": "authority" });
    let port = json!({ "number": 80, "name": "http", "protocol": "HTTP" });
    document["serviceEntries"] = json!([{ "hosts": ["example.com"], "ports": [port] }]);
    document
}

/// Returns the part of [`document`] that a filter needs.
fn document_of(filter: &str) -> Value {
    let mut document = document();
    let fields = document.as_object_mut().unwrap();
    if !["egress", "sluice"].contains(&filter) {
        fields.retain(|name, _| name == "clusterName" || name == "virtualServices");
    }
    if filter == "outlier" {
        let detection = json!({ "consecutive5xxErrors": 1000 });
        document["destinationRules"] = json!([{
            "host": "service", "trafficPolicy": { "outlierDetection": detection },
        }]);
    }
    document
}

#[tokio::test]
async fn a_trap_at_configuration_refuses_the_update_and_the_old_one_stays() {
    for filter in ["egress", "fault", "mirror", "outlier", "router", "sluice", "sni"] {
        let folder = tempfile::tempdir().unwrap();
        let file = Trapping::write(filter, folder.path()).file;
        let upstream = Upstream::echo("service");
        let listener = |padding: usize| {
            let text = document_of(filter).to_string() + &" ".repeat(padding);
            let filter = trapping("http", &file, filter, "", Policy::Reload, &text);
            Listener::new("edge").first(filter).cluster("service").concurrent_streams(100)
        };
        let bootstrap = Bootstrap::new().cluster("service", &[upstream.address()]);
        let envoy = Envoy::start(&bootstrap.dynamic_listeners().listener(listener(0))).await;
        let status = async || envoy.listener("edge").get("/").send().await.status;
        let before = status().await;
        assert!(!envoy.update(&[listener(TRAPPING_CONFIGURATION as usize)]).await, "{filter}");
        assert_ne!(envoy.traps(), [""; 0], "{filter}");
        for _ in 0..4 {
            assert_eq!(status().await, before, "{filter}: the old one stays");
        }
        assert!(envoy.update(&[listener(1)]).await, "{filter}: {}", envoy.log());
        assert_eq!(status().await, before, "{filter}");
    }
}
