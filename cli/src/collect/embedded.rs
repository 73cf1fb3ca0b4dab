//! Plugin documents inside of other configuration: EnvoyFilters, WasmPlugins, TrafficExtensions,
//! EnvoyExtensionPolicies and Envoy's own.

use crate::columns::Columns;
use crate::tree::{Tree, Value};
use crate::yaml;

/// The plugin documents in `document`, each with its path.
///
/// A wasm filter is recognized by `vm_config`, and one of a dynamic module by
/// `dynamic_module_config`. Its document is a `Struct`, or JSON in a `StringValue`. A WasmPlugin is
/// recognized by its kind, and its document is `spec.pluginConfig`; that of a TrafficExtension is
/// `spec.wasm.pluginConfig`. An EnvoyExtensionPolicy has one in each `config` of `spec.wasm` and
/// `spec.dynamicModule`. Documents without any field of Sluice belong to other filters and are
/// ignored.
pub fn find(document: &Tree) -> Vec<(String, Tree)> {
    let mut found = Vec::new();
    let spec = || document.field("spec");
    match document.field("kind").and_then(Tree::as_str) {
        Some("WasmPlugin") => {
            let config = spec().and_then(|spec| spec.field("pluginConfig"));
            found.extend(config.map(|config| ("spec.pluginConfig".to_owned(), config.clone())));
        }
        Some("TrafficExtension") => {
            let wasm = spec().and_then(|spec| spec.field("wasm"));
            let config = wasm.and_then(|wasm| wasm.field("pluginConfig"));
            let place = "spec.wasm.pluginConfig".to_owned();
            found.extend(config.map(|config| (place, config.clone())));
        }
        Some("EnvoyExtensionPolicy") => {
            for name in ["wasm", "dynamicModule"] {
                let filters = spec().map_or(&[][..], |spec| spec.list(name));
                for (index, filter) in filters.iter().enumerate() {
                    let path = format!("spec.{name}[{index}].config");
                    found.extend(filter.field("config").map(|config| (path, config.clone())));
                }
            }
        }
        _ => walk(document, &mut String::new(), &mut found),
    }
    found.retain(|(_, plugin)| is_own(plugin));
    found
}

fn is_own(plugin: &Tree) -> bool {
    let fields = [
        "virtualServices",
        "httpRoutes",
        "grpcRoutes",
        "destinationRules",
        "serviceEntries",
        "outboundTrafficPolicy",
    ];
    fields.iter().any(|name| plugin.field(name).is_some())
}

/// Changes the lines of a document to those of the file around it.
fn relocate(tree: &mut Tree, line: &dyn Fn(usize) -> usize) {
    (tree.line, tree.columns) = (line(tree.line), Columns::UNKNOWN);
    match &mut tree.value {
        Value::Array(elements) => elements.iter_mut().for_each(|own| relocate(own, line)),
        Value::Object(fields) => {
            for (key, value) in fields {
                (key.line, key.columns) = (line(key.line), Columns::UNKNOWN);
                relocate(value, line);
            }
        }
        _ => {}
    }
}

fn walk(tree: &Tree, path: &mut String, found: &mut Vec<(String, Tree)>) {
    let length = path.len();
    let name = if tree.field("vmConfig").is_some() { "configuration" } else { "filterConfig" };
    let is_filter = tree.field("vmConfig").is_some() || tree.field("dynamicModuleConfig").is_some();
    if is_filter
        && let Some((key, configuration)) = tree.entry(name)
        && let Some(value) = configuration.field("value")
    {
        let dot = if path.is_empty() { "" } else { "." };
        let place = format!("{path}{dot}{}.value", key.text);
        match &value.value {
            Value::String(text) => {
                let is_block = text.contains('\n');
                for mut tree in yaml::parse(text).into_iter().flatten() {
                    // Only in a block of YAML, the lines of the text are those of the file.
                    let line =
                        |own: usize| value.line + if is_block { own.saturating_sub(1) } else { 0 };
                    relocate(&mut tree, &line);
                    found.push((place.clone(), tree));
                }
            }
            _ => found.push((place, value.clone())),
        }
        return;
    }
    for (index, element) in tree.elements().iter().enumerate() {
        path.push_str(&format!("[{index}]"));
        walk(element, path, found);
        path.truncate(length);
    }
    for (key, value) in tree.fields() {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&key.text);
        walk(value, path, found);
        path.truncate(length);
    }
}
