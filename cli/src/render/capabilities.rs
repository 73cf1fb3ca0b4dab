//! What Envoy has to allow a wasm module: `capability_restriction_config`.
//!
//! Without this list, a module may make every host call of the ABI. With it, Envoy denies the
//! module all calls that the list lacks, and makes no callbacks that it lacks.

use crate::filters::Module;

/// A line for all callbacks, and one for the imports of each module. `cargo xtask capabilities`
/// writes it.
const TABLE: &str = include_str!("capabilities.txt");

/// The line of the table with the callbacks.
pub const CALLBACKS: &str = "callbacks";

/// Columns of a line with names.
const WIDTH: usize = 76;

/// The list of a module as a field of Envoy's `PluginConfig`, in YAML without a final line break.
pub fn field(module: Module) -> String {
    let name = module.name();
    let mut lines = vec![
        format!("# All callbacks, and the host calls of {name}.wasm. Envoy denies all others."),
        "capability_restriction_config:".to_owned(),
        "  allowed_capabilities: {".to_owned(),
    ];
    for names in [names(CALLBACKS), names(name)].into_iter().flatten() {
        let mut line = String::new();
        for name in names {
            let entry = format!("{name}: {{}},");
            if !line.is_empty() && line.len() + 1 + entry.len() > WIDTH {
                lines.push(format!("    {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&entry);
        }
        lines.push(format!("    {line}"));
    }
    let text = lines.join("\n");
    format!("{}}}", text.trim_end_matches(','))
}

/// The names in a line of the table: all callbacks, or the imports of the module with this name.
/// `None` if there is no such line.
pub fn names(line: &str) -> Option<impl Iterator<Item = &'static str> + use<>> {
    let lines = TABLE.lines().filter_map(|own| own.split_once(": "));
    let mut found = lines.filter_map(|(own, names)| (own == line).then_some(names));
    found.next().map(|names| names.split(' '))
}

#[cfg(test)]
mod tests;
