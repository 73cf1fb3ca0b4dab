//! Hostile documents: long, deep, with many rules, and with regular expressions that explode.

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, any_host};

/// Whether Envoy takes the document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Taken,
    Refused,
}
use Outcome::{Refused, Taken};

fn rule(matched: Value) -> Value {
    json!({ "match": [matched], "route": [{ "destination": { "host": "service" } }] })
}

/// A document with these matches before a rule for all requests.
fn rules(matches: impl IntoIterator<Item = Value>) -> String {
    let last = json!({ "route": [{ "destination": { "host": "service" } }] });
    let rules: Vec<_> = matches.into_iter().map(rule).chain([last]).collect();
    any_host(rules.into()).to_string()
}

fn regex(expression: &str) -> String {
    rules([json!({ "headers": { "x-value": { "regex": expression } } })])
}

fn header(value: &str) -> Value {
    json!({ "headers": { "x-value": { "exact": value } } })
}

/// A document that nests `levels` arrays or objects in a known field.
fn deep(open: &str, close: &str, levels: usize) -> String {
    let (open, close) = (open.repeat(levels), close.repeat(levels));
    format!("{{\"virtualServices\": {open}{close}}}")
}

fn documents() -> Vec<(&'static str, String, Outcome)> {
    let megabyte = "a".repeat(1 << 20);
    vec![
        ("1 MB of rules", rules((0..9_000).map(|number| header(&number.to_string()))), Taken),
        ("100,000 rules", rules((0..100_000).map(|number| header(&number.to_string()))), Taken),
        ("10,000 arrays in each other", deep("[", "]", 10_000), Refused),
        ("10,000 objects in each other", deep("{\"http\":[", "]}", 10_000), Refused),
        ("10,000 arrays without an end", deep("[", "", 10_000), Refused),
        ("a value of 1 MB", rules([header(&megabyte)]), Taken),
        ("a host of 1 MB", rules([]).replace("\"*\"", &format!("\"{megabyte}\"")), Refused),
        ("a key of 1 MB", rules([json!({ "headers": { megabyte.as_str(): {} } })]), Taken),
        ("a field of 1 MB", rules([json!({ megabyte.as_str(): {} })]), Refused),
        ("16 MB and a byte", " ".repeat((16 << 20) - rules([]).len() + 1) + &rules([]), Refused),
        ("a regex of 1 MB", regex(&megabyte), Refused),
        ("repetitions in each other", regex("((a+)+)+b"), Taken),
        ("alternatives that overlap", regex("(a|a|aa|a?)*b"), Taken),
        ("a product of repetitions", regex("((a{100}){100}){100}"), Refused),
        ("many stars", regex(&(".*".repeat(500) + "x")), Taken),
        ("many options", regex(&("a?".repeat(300) + &"a".repeat(300))), Taken),
        ("groups in each other", regex(&("(".repeat(400) + "a" + &")".repeat(400))), Refused),
        ("1,000 regexes", rules((0..1_000).map(|number| {
            json!({ "headers": { "x-value": { "regex": format!("[a-z]+{number}.*") } } })
        })), Taken),
    ]
}

/// The answer to a value that no expression of these documents matches quickly by search with
/// return.
async fn still_serves(envoy: &Envoy, what: &str) {
    let value = "a".repeat(50_000) + "!";
    for listener in ["edge", "other"] {
        let request = envoy.listener(listener).get("/").header("x-value", &value);
        assert_eq!(request.send().await.upstream(), "service", "{what}: {listener}");
    }
    assert_eq!(envoy.traps(), [""; 0], "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_documents_are_taken_or_refused_alike_in_all_ways() {
    let upstream = Upstream::echo("service");
    let other = || Listener::new("other").plugin_text(&rules([])).max_headers(96, 100);
    let listener = |way: &str, text: &str| {
        let edge = Listener::new("edge").max_headers(96, 100);
        match way {
            "single" => edge.plugin_text(text),
            "bundle" => edge.bundle_text(text),
            _ => edge.bundle_text(text).native(),
        }
    };
    let documents = documents();
    for way in crate::WAYS {
        let bootstrap = Bootstrap::new()
            .cluster("service", &[upstream.address()])
            .drain_time(std::time::Duration::from_secs(1))
            .dynamic_listeners()
            .listener(listener(way, &rules([])))
            .listener(other());
        let envoy = Envoy::start(&bootstrap).await;
        let before = envoy.resident_memory() >> 20;
        let mut wrong = Vec::new();
        for (name, text, expected) in &documents {
            let is_taken = envoy.update(&[listener(way, text), other()]).await;
            let outcome = if is_taken { Taken } else { Refused };
            if outcome != *expected {
                wrong.push(format!("{name}: {outcome:?}"));
            }
            still_serves(&envoy, &format!("{way}, {name}")).await;
        }
        assert!(envoy.update(&[listener(way, &rules([])), other()]).await, "{}", envoy.log());
        still_serves(&envoy, way).await;
        let after = envoy.resident_memory() >> 20;
        println!("{way}: {} documents, {before} MiB before, {after} MiB after", documents.len());
        assert!(wrong.is_empty(), "{way}: {wrong:#?}");
    }
}
