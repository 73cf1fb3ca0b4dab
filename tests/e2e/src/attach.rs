//! How a filter is attached to Envoy: as a wasm module, or by the dynamic module.

use std::path::Path;

use serde_json::{Value, json};

use crate::wasm::{plugin, wasm};

/// Set this variable to `native` to run the filters of listeners, and the outlier filter where
/// Envoy ejects the hosts, in the dynamic module `dist/libsluice.so` in place of the wasm modules.
const ATTACH: &str = "ATTACH";

/// The filters of the dynamic module that can do all that a wasm module does before Envoy's router.
/// The module has the outlier filter too, but only for clusters where Envoy ejects the hosts.
pub const NATIVE: [&str; 6] = ["egress", "fault", "mirror", "router", "sluice", "sni"];

/// Whether the dynamic module is tested.
pub fn is_native() -> bool {
    match std::env::var(ATTACH) {
        Ok(attach) => match attach.as_str() {
            "native" => true,
            "" | "wasm" => false,
            other => panic!("{ATTACH} is {other}, but has to be native or wasm"),
        },
        Err(_) => false,
    }
}

/// Whether a test that needs the wasm modules is left out because the dynamic module is tested. The
/// reason goes into the test's output.
pub fn is_left_out(reason: &str) -> bool {
    if is_native() {
        println!("left out: {reason}");
    }
    is_native()
}

/// Returns a filter with a configuration, for a listener: of the dynamic module if it has the
/// filter and `is_native`.
pub fn attached(filter: &str, name: &str, configuration: &str, is_native: bool) -> Value {
    match is_native && NATIVE.contains(&filter) {
        true => native(filter, configuration),
        false => wasm(filter, name, configuration),
    }
}

/// Returns a filter of the kind `http` or `network` with a configuration, for a listener: of the
/// dynamic module, or the wasm module as a plugin with this name.
pub fn filter(kind: &str, filter: &str, name: &str, configuration: &str) -> Value {
    match (is_native(), kind) {
        (false, _) => plugin(kind, filter, name, configuration),
        (true, "network") => native_network(filter, configuration),
        (true, _) => native(filter, configuration),
    }
}

/// Returns a network filter of the dynamic module with a configuration.
pub fn native_network(filter: &str, configuration: &str) -> Value {
    native_network_of("sluice", filter, configuration)
}

/// Returns a network filter of the dynamic module with this name, which may be one that only tests
/// use. Envoy 1.38 knows no other way to name the module of a network filter.
pub fn native_network_of(module: &str, filter: &str, configuration: &str) -> Value {
    let mut network = dynamic(json!({ "name": module }), filter, configuration);
    network["typed_config"]["@type"] = "type.googleapis.com/envoy.extensions.filters.network.dynamic_modules.v3.DynamicModuleNetworkFilter".into();
    network
}

/// Returns a filter of the dynamic module with a configuration, for a listener or cluster. Its
/// statistics have the names of those of a wasm module.
pub fn native(filter: &str, configuration: &str) -> Value {
    dynamic(json!({ "name": "sluice" }), filter, configuration)
}

/// Returns `bootstrap_extensions` with that of the dynamic module, by which its filters send
/// requests of their own.
pub fn bootstrap_extensions() -> Value {
    json!([{
        "name": "sluice",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.bootstrap.dynamic_modules.v3.DynamicModuleBootstrapExtension",
            "dynamic_module_config": { "name": "sluice", "metrics_namespace": "wasmcustom" },
            "extension_name": "calls",
        },
    }])
}

/// Returns a filter of another dynamic module, a file that is not in `dist/`.
pub fn native_of(module: &Path, filter: &str, configuration: &str) -> Value {
    let file = json!({ "local": { "filename": module } });
    dynamic(json!({ "module": file }), filter, configuration)
}

fn dynamic(mut module: Value, filter: &str, configuration: &str) -> Value {
    module["metrics_namespace"] = "wasmcustom".into();
    json!({
        "name": format!("sluice.{filter}"),
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
            "dynamic_module_config": module,
            "filter_name": filter,
            "filter_config": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": configuration,
            },
        },
    })
}
