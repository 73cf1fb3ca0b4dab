//! The instructions that a regular expression costs for each byte of a value are bounded.

use serde_json::{Value, json};
use sluice_wasm_tests::{Exchange, Instance};

/// Upper bound of the instructions for a byte with any pattern that the modules accept.
const MAX_INSTRUCTIONS: u64 = 60_000;

fn match_header(pattern: &str) -> Value {
    document(json!({ "match": [{ "headers": { "x-value": { "regex": pattern } } }] }))
}

fn rewrite(pattern: &str) -> Value {
    let rewrite = json!({ "uriRegexRewrite": { "match": pattern, "rewrite": "/" } });
    document(json!({ "rewrite": rewrite }))
}

fn document(mut rule: Value) -> Value {
    rule["route"] = json!([{ "destination": { "host": "a" } }]);
    let service = json!({ "hosts": ["example.com"], "http": [rule] });
    json!({ "clusterName": "{host}", "virtualServices": [service] })
}

/// Instructions for each byte that a value is longer. The value is a slash, and `text` repeated.
fn instructions_per_byte(document: &Value, header: &str, text: &str) -> u64 {
    let mut instance = Instance::start("router").unwrap();
    instance.configure(document).unwrap();
    let mut request = |bytes: usize| {
        let value = b"/".iter().copied().chain(text.bytes().cycle().take(bytes));
        let mut request = vec![
            (":method".to_owned(), b"GET".to_vec()),
            (":authority".to_owned(), b"example.com".to_vec()),
            (header.to_owned(), value.collect()),
        ];
        if header != ":path" {
            request.push((":path".to_owned(), b"/".to_vec()));
        }
        let before = instance.instructions();
        instance.exchange(&[], &Exchange { request, ..Exchange::default() }).unwrap();
        instance.instructions() - before
    };
    // The first request takes memory that later ones use again.
    request(4_000);
    (request(4_000) - request(2_000)) / 2_000
}

fn check(cases: &[(&str, &str, u64)], header: &str, document: fn(&str) -> Value) {
    for (pattern, text, bound) in cases {
        let cost = instructions_per_byte(&document(pattern), header, text);
        println!("{pattern}: {cost}");
        assert!(cost <= *bound, "{pattern}: {cost} instructions for a byte, more than {bound}");
    }
}

#[test]
fn the_cost_of_a_match_is_bounded_for_each_byte() {
    let cases = [
        ("/[a-z/0-9]*", "a", 60),
        (".*.*.*.*=.*", "a", 60),
        ("/(x+x+)+y", "x", 60),
        ("/((a?){50})*b", "a", 60),
        ("/[a-z]{1,500}b", "a", 60),
        // No deterministic automaton.
        (".*a.{120}b", "a", MAX_INSTRUCTIONS),
    ];
    check(&cases, "x-value", match_header);
}

#[test]
fn the_cost_of_a_rewrite_is_bounded_for_each_byte() {
    let cases = [("(.*)/(.*)/(.*)", "/a", 6_000), ("/+", "/a", 6_000)];
    check(&cases, ":path", rewrite);
}
