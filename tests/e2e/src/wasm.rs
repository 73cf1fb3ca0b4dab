//! Envoy's configuration of a wasm filter.

use serde_json::{Map, Value, json};

use crate::files::module;

/// What Envoy has to allow each module, as `sluice render` writes it.
const CAPABILITIES: &str = include_str!("../../../cli/src/render/capabilities.txt");

/// Returns the HTTP filter `dist/FILTER.wasm` with a configuration, for a listener or cluster.
pub fn wasm(filter: &str, name: &str, configuration: &str) -> Value {
    plugin("http", filter, &format!("{name} {filter}"), configuration)
}

/// Returns the filter `dist/FILTER.wasm` of the kind `http` or `network`, with the name of the
/// plugin and a configuration. Envoy allows it the host calls that it imports, and no others.
pub fn plugin(kind: &str, filter: &str, name: &str, configuration: &str) -> Value {
    let mut config = json!({
        "name": name,
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": module(filter) } },
        },
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": configuration,
        },
    });
    if let Some(calls) = host_calls(filter) {
        config["capability_restriction_config"] = capabilities(calls);
    }
    json!({
        "name": format!("sluice.{filter}"),
        "typed_config": {
            "@type": format!("type.googleapis.com/envoy.extensions.filters.{kind}.wasm.v3.Wasm"),
            "config": config,
        },
    })
}

/// Returns the host calls that a module imports, or `None` for a module that is not in `dist/`.
pub fn host_calls(filter: &str) -> Option<impl Iterator<Item = &'static str> + Clone> {
    let lines = CAPABILITIES.lines().filter_map(|line| line.split_once(": "));
    let mut found = lines.filter_map(|(name, names)| (name == filter).then_some(names));
    found.next().map(|names| names.split(' '))
}

/// Returns the list by which Envoy allows these host calls and all callbacks
/// (`capability_restriction_config`).
pub fn capabilities(calls: impl Iterator<Item = &'static str>) -> Value {
    let callbacks = host_calls("callbacks").expect("the line of the callbacks");
    let allowed = callbacks.chain(calls).map(|name| (name.to_owned(), json!({})));
    json!({ "allowed_capabilities": allowed.collect::<Map<_, _>>() })
}
