//! Plugins of a VM with the same document share what was made of it.

use serde_json::{Value, json};
use sluice_wasm_tests::Instance;

const RULES: usize = 2_000;

fn document(version: usize) -> Value {
    let rule = |number: usize| {
        json!({
            "match": [{ "headers": { "x-rule": { "exact": format!("{version}-{number}") } } }],
            "route": [{ "destination": { "host": "service", "port": { "number": 80 } } }],
        })
    };
    let http: Vec<_> = (0..RULES).map(rule).collect();
    json!({ "virtualServices": [{ "hosts": ["service"], "http": http }] })
}

/// Instructions to create another plugin, and the bytes that the linear memory grows by.
fn costs_of_another(instance: &mut Instance, document: &Value) -> (u64, usize) {
    let before = (instance.instructions(), instance.memory());
    assert!(instance.accepts_another(document).unwrap(), "{:?}", instance.host().log());
    (instance.instructions() - before.0, instance.memory() - before.1)
}

#[test]
fn a_second_plugin_with_the_same_document_is_cheap() {
    let mut instance = Instance::start("router").unwrap();
    instance.configure(&document(1)).unwrap();
    let other = costs_of_another(&mut instance, &document(2));
    let same = costs_of_another(&mut instance, &document(1));
    println!("{RULES} rules: another document {other:?}, the same {same:?}");
    assert!(same.0 < other.0 / 20, "instructions: {} of {}", same.0, other.0);
    assert!(same.1 < other.1 / 4, "bytes: {} of {}", same.1, other.1);
}
