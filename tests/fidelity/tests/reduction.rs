//! A known difference is found and made small: the README of the router filter says that a rule
//! wins over its only destination, and in Istio it is the other way round.

use std::sync::Arc;

use serde_json::json;
use sluice_fidelity::case::{Case, Sent, name};
use sluice_fidelity::compare::compare;
use sluice_fidelity::reduce::{Mismatch, reduce};
use sluice_fidelity::run::version;
use sluice_fidelity::world::{Shot, Side, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mismatch_is_reduced_to_what_it_needs() {
    let set = |value: &str| json!({ "request": { "set": { "x-a": value } } });
    let spec = json!({
        "hosts": [name(7), "other.test"],
        "http": [
            { "match": [{ "uri": { "exact": "/other" } }], "redirect": { "uri": "/" } },
            {
                "match": [{ "method": { "exact": "POST" } }, { "headers": { "x-c": {} } }],
                "headers": set("rule"),
                "timeout": "5s",
                "route": [{ "destination": { "host": "a" }, "headers": set("destination") }],
            },
        ],
    });
    let case = Case { number: 7, spec };
    let sent = Sent {
        purpose: "test".to_owned(),
        method: "POST".to_owned(),
        host: name(7),
        path: "/path".to_owned(),
        query: None,
        headers: vec![("x-c".to_owned(), b"1".to_vec())],
        body: String::new(),
    };
    // An Envoy with the dynamic module starts faster.
    let (_, has_dynamic_modules) = version().await;
    let side = if has_dynamic_modules { Side::DynamicModule } else { Side::Bundle };
    let sides = [Side::Native, side];
    let world = World::start(std::slice::from_ref(&case), &sides).await.expect("an Envoy");
    let shots = vec![Shot { case: 0, sent: sent.clone() }];
    let results = world.fire(&Arc::new(shots), 0).await;
    let seen = sides.map(|side| results[0][&side].clone());
    let kinds = compare(&seen[0], &seen[1]);
    let kind = "request header x-a: another value".to_owned();
    assert_eq!(kinds, [kind.clone()].into());

    let mismatch = Mismatch { case, sent, side, kind, seen };
    let reduced = reduce(mismatch).await;
    let target = json!({ "destination": { "host": "a" }, "headers": set("destination") });
    assert_eq!(reduced.case.spec["http"], json!([{ "headers": set("rule"), "route": [target] }]));
    let Sent { method, path, headers, .. } = &reduced.sent;
    assert_eq!((method.as_str(), path.as_str(), headers.len()), ("GET", "/", 0));
    let text = reduced.show();
    assert!(text.contains("x-a: rule") && text.contains("x-a: destination"), "{text}");
}
