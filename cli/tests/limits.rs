//! The limits of documents: the filters and `sluice check` report them in the same words, which are
//! those of the README.

#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::path::Path;

use serde_json::{Value, json};
use sluice_policy::document::filter::{Filter, Filters};
use sluice_policy::spec::document::Document;
use sluice_policy::spec::proxy::NoMetadata;

/// A document with these rules.
fn rules(http: Value) -> Value {
    json!({ "virtualServices": [{ "hosts": ["a"], "http": http }] })
}

fn pattern(pattern: &str) -> Value {
    let response = json!({ "status": 200 });
    rules(json!([{ "match": [{ "uri": { "regex": pattern } }], "directResponse": response }]))
}

/// Documents that are just beyond a limit, and the end of the error.
fn documents() -> Vec<(Value, &'static str)> {
    let body = json!({ "string": "x".repeat((1 << 20) + 1) });
    let hosts: Vec<_> = (0..257).map(|number| format!("host{number}.example.com")).collect();
    let large = |number| json!({ "uri": { "regex": format!(".{{450}}abcdefgh{number}") } });
    let patterns: Vec<_> = (0..320).map(large).collect();
    let response = json!({ "status": 200 });
    let path = json!({ "uri": { "exact": "/".repeat(1 << 20) } });
    let delegates = json!({ "virtualServices": [
        { "hosts": ["a"], "http": vec![json!({ "delegate": { "name": "d" } }); 16] },
        { "name": "d", "http": [{ "match": [path], "directResponse": response.clone() }] },
    ] });
    let long = json!({ "virtualServices": [], "namespace": "x".repeat(16 << 20) });
    vec![
        (long, "; a document has at most 16777216 bytes (16 MiB)"),
        (pattern(&"a".repeat(1_025)), "is 1025 bytes long; a regular expression has at most 1024"),
        (pattern("(a{10}){101}"), "repeats a part 1010 times; RE2 allows at most 1000"),
        (
            pattern("(.*a.{500}b)"),
            "takes up to 507 steps for each byte of a value; at most 128 are allowed; use smaller \
             repetitions {...}, or .* fewer times",
        ),
        (
            rules(json!([{ "match": patterns, "directResponse": response }])),
            " bytes of memory; at most 16777216 are allowed in a document; use fewer or smaller \
             patterns",
        ),
        (
            delegates,
            "makes the merged routes longer than 16777216 bytes (16 MiB); use fewer routes or \
             matches",
        ),
        (
            rules(json!([{ "directResponse": { "status": 200, "body": body } }])),
            "has 1048577 bytes; the limit is 1048576",
        ),
        (
            json!({ "outboundTrafficPolicy": { "mode": "REGISTRY_ONLY" }, "serviceEntries": [{
                "hosts": hosts, "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
            }] }),
            "has 257 hosts; the limit is 256",
        ),
    ]
}

#[test]
fn limits_are_reported_in_the_words_of_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (document, expected) in documents() {
        assert!(page.contains(expected), "the page lacks {expected:?}");
        let text = document.to_string();
        let filter = if text.contains("serviceEntries") { Filter::Egress } else { Filter::Router };
        let errors = Document::parse(text.as_bytes(), Filters::from(filter), &NoMetadata);
        let errors = errors.map(drop).expect_err(expected).errors;
        let ends = |error: &String| error.ends_with(expected);
        assert!(errors.iter().map(ToString::to_string).any(|error| ends(&error)), "{expected}");
        std::fs::write(folder.join("limits.json"), &text).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_sluice"));
        let arguments = ["check", "limits.json"].map(str::to_owned);
        let outcome = common::run(program, &arguments, folder);
        assert_eq!(outcome.status, 1, "{expected}");
        assert!(outcome.out.lines().any(|line| line.ends_with(expected)), "{}", outcome.out);
    }
}
