//! Envoy's configuration of a wasm filter.

use serde_json::{Value, json};

use crate::files::module;

/// Returns the filter `dist/FILTER.wasm` with a configuration, for a listener or cluster.
pub fn wasm(filter: &str, name: &str, configuration: &str) -> Value {
    json!({
        "name": format!("sluice.{filter}"),
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": format!("{name} {filter}"),
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module(filter) } },
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration,
                },
            },
        },
    })
}
