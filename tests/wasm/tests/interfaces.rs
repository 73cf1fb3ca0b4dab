//! The exports and imports of the released modules equal a committed list.
//!
//! Envoy calls every exported callback on every stream, and a module can only use its imports. So
//! every change of either must be visible in review. Envoy allows a module what a second list has,
//! which `sluice render` writes into configurations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sluice_wasm_tests::modules;
use wasmi::{Engine, Module};

/// `make costs` rewrites the list.
const REWRITE: &str = "SLUICE_REWRITE_COSTS";

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Interface {
    exports: BTreeSet<String>,
    imports: BTreeSet<String>,
}

/// The lists that Envoy gets, which `make capabilities` rewrites.
const CAPABILITIES: &str = include_str!("../../../cli/src/render/capabilities.txt");

fn path() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/interfaces.json"))
}

#[test]
fn modules_export_and_import_what_the_list_says() {
    let engine = Engine::default();
    let mut found = BTreeMap::new();
    for (name, wasm) in modules().unwrap() {
        let module = Module::new(&engine, &wasm).unwrap();
        let exports = module.exports().map(|export| export.name().to_owned()).collect();
        let imports = module
            .imports()
            .map(|import| format!("{} {}", import.module(), import.name()))
            .collect();
        found.insert(name, Interface { exports, imports });
    }
    if std::env::var_os(REWRITE).is_some() {
        let mut text = serde_json::to_string_pretty(&found).unwrap();
        text.push('\n');
        return std::fs::write(path(), text).unwrap();
    }
    let listed: BTreeMap<String, Interface> =
        serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap();
    let names = |map: &BTreeMap<String, Interface>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&listed), "the modules in dist/");
    for (name, interface) in &found {
        assert_eq!(interface, &listed[name], "dist/{name}.wasm (left) and interfaces.json (right)");
    }
}

#[test]
fn envoy_allows_each_module_exactly_its_imports() {
    let lines = CAPABILITIES.lines().filter(|line| !line.starts_with('#'));
    let mut listed: BTreeMap<&str, BTreeSet<&str>> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, names)| (name, names.split(' ').collect()))
        .collect();
    let callbacks = listed.remove("callbacks").expect("a line for the callbacks");
    let engine = Engine::default();
    let modules = modules().unwrap();
    assert_eq!(listed.len(), modules.len(), "the lines and the modules in dist/");
    for (name, wasm) in modules {
        let module = Module::new(&engine, &wasm).unwrap();
        let imports: BTreeSet<&str> = module.imports().map(|import| import.name()).collect();
        assert_eq!(imports, listed[name.as_str()], "{name}: run `make capabilities`");
        let exports = module.exports().map(|export| export.name());
        // Envoy looks up the allocator without the list.
        let mut called = exports
            .filter(|name| name.starts_with("proxy_on_") && *name != "proxy_on_memory_allocate");
        assert_eq!(called.find(|name| !callbacks.contains(name)), None, "{name}");
    }
}
