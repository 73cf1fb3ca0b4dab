//! The outlier filter, in a listener and in a cluster.

use serde_json::{Value, json};
use sluice_e2e::{Answer, Upstream, any_host};

use crate::compare;
use crate::variants::{Variant, cluster, of, start, with_filter};

/// Rules for the clusters of a variant: `pool` has a host that fails, `sick` one that fails for
/// some requests, and that of `back` returns soon.
fn document(variant: &Variant) -> Value {
    let rule = |cluster: &str, time: &str, failure: Value| {
        json!({ "host": variant.own(cluster), "trafficPolicy": { "outlierDetection": {
            "consecutive5xxErrors": 1,
            "interval": "100ms",
            "baseEjectionTime": time,
            "maxEjectionPercent": 100,
            "failure": failure,
        } } })
    };
    let strict = json!({ "rules": [{
        "match": [{ "headers": { "x-case": { "exact": "strict" } } }],
        "headers": { "x-health": { "exact": "bad" } },
    }] });
    let mut document = any_host(json!([{ "route": [{ "destination": { "host": "primary" } }] }]));
    document["outlier"] = json!({ "enforcement": "filter" });
    document["destinationRules"] = json!([
        rule("pool", "10m", json!({})),
        rule("sick", "10m", strict),
        rule("back", "100ms", json!({})),
    ]);
    document
}

#[tokio::test]
async fn the_outlier_filter_needs_each_call() {
    let (bad, good) = (Upstream::status("bad", 500), Upstream::echo("good"));
    let sick = Upstream::answering("sick", |_| Answer {
        headers: vec![("x-health", "bad")],
        ..Answer::default()
    });
    let variants = of("outlier");
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    for variant in &variants {
        let document = document(variant);
        let own = ["pool", "sick", "back"].map(|name| variant.own(name));
        let routes = ["/pool", "/sick", "/back"];
        let routes: Vec<_> = routes.into_iter().zip(own.iter().map(String::as_str)).collect();
        listeners.push(variant.listener(variant.plugin("http", "", &document), &routes));
        let hosts = [vec![&bad, &good], vec![&sick], vec![&bad]];
        clusters.extend(own.iter().zip(hosts).map(|(name, hosts)| {
            let hosts: Vec<_> = hosts.into_iter().map(Upstream::address).collect();
            with_filter(cluster(name, &hosts), variant.plugin("http", "upstream", &document))
        }));
    }
    let (envoy, _files) = start(listeners, clusters).await;
    compare(&envoy, &variants, async |observer| {
        observer
            .count(&[], async |observer| {
                // The host fails once, and the filter may try it once more.
                let mut failed = 0;
                for number in 0..8 {
                    let response = observer.respond("GET", &format!("/pool/{number}"), &[]).await;
                    failed += usize::from(response.starts_with("500 "));
                }
                let is_ejected = (1..=2).contains(&failed);
                observer.see("pool", if is_ejected { "ejected" } else { "not ejected" });
                for number in 0..2 {
                    let headers = [("x-case", "strict"), ("x-sluice-host", "127.0.0.1:1")];
                    observer.send("GET", &format!("/sick/{number}"), &headers).await;
                }
                observer.get("/back").await;
                let cluster = observer.variant.own("back");
                observer.log("back", &format!("returned cluster=\"{cluster}\"")).await;
            })
            .await;
    })
    .await;
}
