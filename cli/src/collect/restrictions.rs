//! The lists of what Envoy allows wasm modules (`capability_restriction_config`), compared with
//! what the modules of this version need.

use crate::columns::Position;
use crate::render::capabilities::{CALLBACKS, names};
use crate::tree::Tree;

/// A list that lacks something.
#[derive(Debug)]
pub struct Restriction {
    /// The path of the list
    pub path: String,
    /// Where it is
    pub position: Position,
    /// What it lacks, and what to do
    pub reason: String,
}

/// The lists in `document` that lack a host call or a callback of one of Sluice's modules, which
/// are recognized by the names of their files. A list that is empty restricts nothing.
pub fn find(document: &Tree) -> Vec<Restriction> {
    let mut found = Vec::new();
    walk(document, "", &mut found);
    found
}

fn walk(tree: &Tree, path: &str, found: &mut Vec<Restriction>) {
    let dot = if path.is_empty() { "" } else { "." };
    if let Some(vm) = tree.field("vmConfig") {
        // Since Envoy 1.40 the list can also be in `vm_config`.
        let of_plugin = tree.entry("capabilityRestrictionConfig");
        let entry = of_plugin.or_else(|| vm.entry("capabilityRestrictionConfig"));
        if let (Some((key, list)), Some(module)) = (entry, module(vm))
            && let Some(reason) = lack(module, list)
        {
            let place = if of_plugin.is_some() { "" } else { "vm_config." };
            let path = format!("{path}{dot}{place}{}", key.text);
            found.push(Restriction { path, position: key.position(), reason });
        }
        return;
    }
    for (index, element) in tree.elements().iter().enumerate() {
        walk(element, &format!("{path}[{index}]"), found);
    }
    for (key, value) in tree.fields() {
        walk(value, &format!("{path}{dot}{}", key.text), found);
    }
}

/// The name of the module that a `vm_config` loads from a file.
fn module(vm: &Tree) -> Option<&str> {
    let file = vm.field("code")?.field("local")?.field("filename")?.as_str()?;
    file.rsplit('/').next()?.strip_suffix(".wasm").filter(|name| *name != CALLBACKS)
}

/// What a list lacks for a module. `None` if it lacks nothing, or if the module is not one of
/// Sluice's.
fn lack(module: &str, list: &Tree) -> Option<String> {
    let allowed = list.field("allowedCapabilities")?.fields();
    if allowed.is_empty() {
        return None;
    }
    let calls = names(module)?;
    let is_missing = |name: &&str| !allowed.iter().any(|(key, _)| key.text == *name);
    let remedy = "write the list of sluice render";
    if let Some(callback) = names(CALLBACKS)?.find(is_missing) {
        return Some(format!(
            "lacks {callback}: Envoy never makes this callback, and what the filter does in it is \
             left out; {remedy}"
        ));
    }
    let call = { calls }.find(is_missing)?;
    Some(format!("lacks {call}, which Envoy denies {module}.wasm of this version; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn reasons(allowed: &str, file: &str) -> Vec<String> {
        let text = format!(
            "a: [{{config: {{vm_config: {{code: {{local: {{filename: {file}}}}}}}, \
             capability_restriction_config: {{allowed_capabilities: {{{allowed}}}}}}}}}]"
        );
        let found = find(&yaml::parse(&text).unwrap().remove(0));
        let shown = |own: Restriction| format!("{}: {}", own.path, own.reason);
        found.into_iter().map(shown).collect()
    }

    #[test]
    fn missing_callbacks_and_calls_are_found() {
        let all = |without: &str| {
            let names = names(CALLBACKS).unwrap().chain(names("sni").unwrap());
            let names = names.filter(|name| *name != without).map(|name| format!("{name}: {{}}"));
            names.collect::<Vec<_>>().join(", ")
        };
        let file = "/var/lib/sni.wasm";
        for allowed in ["", &all("")] {
            assert_eq!(reasons(allowed, file), [""; 0]);
        }
        let path = "a[0].config.capability_restriction_config";
        assert_eq!(
            reasons(&all("proxy_on_tick"), file),
            [format!(
                "{path}: lacks proxy_on_tick: Envoy never makes this callback, and what the filter \
                 does in it is left out; write the list of sluice render"
            )]
        );
        assert_eq!(
            reasons(&all("proxy_log"), file),
            [format!(
                "{path}: lacks proxy_log, which Envoy denies sni.wasm of this version; write the \
                 list of sluice render"
            )]
        );
        for other in ["other.wasm", "callbacks.wasm", "sni"] {
            assert_eq!(reasons("proxy_log: {}", other), [""; 0]);
        }
    }
}
