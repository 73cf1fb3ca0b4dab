//! `cargo xtask capabilities`: writes the table of what Envoy has to allow each module.
//!
//! Envoy's `capability_restriction_config` is a list of the host calls that a module may make, and
//! of the callbacks that Envoy may make. `sluice render` and the end-to-end tests read the table.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walrus::{ImportKind, Module};

use crate::workspace::Workspace;

/// The callbacks of the ABI, of which a list has all: a callback is no privilege, but Envoy skips
/// those that a list lacks, so that requests would pass a newer module unfiltered. They are those
/// that proxy-wasm-cpp-host looks up for ABI 0.2.1 (`WasmBase::getFunctions` in `src/wasm.cc`).
const CALLBACKS: [&str; 27] = [
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_done",
    "proxy_on_downstream_connection_close",
    "proxy_on_downstream_data",
    "proxy_on_foreign_function",
    "proxy_on_grpc_close",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_http_call_response",
    "proxy_on_log",
    "proxy_on_new_connection",
    "proxy_on_queue_ready",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_metadata",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_metadata",
    "proxy_on_response_trailers",
    "proxy_on_tick",
    "proxy_on_upstream_connection_close",
    "proxy_on_upstream_data",
    "proxy_on_vm_start",
];

const HEAD: &str = "\
# What Envoy has to allow each module: all callbacks of the ABI, and the functions that the module
# imports. `cargo xtask capabilities` writes this file from the modules in dist/.
";

/// Writes the table from the modules in `dist/`.
pub fn write() -> Result<()> {
    let workspace = Workspace::load()?;
    let file = file(&workspace.root);
    let table = table(&workspace)?;
    fs::write(&file, table).with_context(|| file.display().to_string())
}

/// Prints what to do if the table is not that of the modules in `dist/`.
pub fn compare(workspace: &Workspace) -> Result<()> {
    if fs::read_to_string(file(&workspace.root)).ok().as_deref() != Some(&*table(workspace)?) {
        println!("the host calls of the modules have changed; run `make capabilities`");
    }
    Ok(())
}

fn file(root: &Path) -> PathBuf {
    root.join("cli/src/render/capabilities.txt")
}

/// Returns one line for the callbacks and one for each module, in the order of their names.
fn table(workspace: &Workspace) -> Result<String> {
    let names: BTreeSet<&str> = workspace.modules.iter().map(|own| own.module.as_str()).collect();
    let mut table = format!("{HEAD}callbacks: {}\n", CALLBACKS.join(" "));
    for name in names {
        let file = workspace.root.join("dist").join(name).with_extension("wasm");
        let wasm = fs::read(&file);
        let wasm = wasm.with_context(|| format!("{}; run `make build` first", file.display()))?;
        let imports = imports(&wasm).with_context(|| file.display().to_string())?;
        let imports: Vec<_> = imports.iter().map(String::as_str).collect();
        writeln!(table, "{name}: {}", imports.join(" "))?;
    }
    Ok(table)
}

/// Returns the names of the functions that a module imports.
fn imports(wasm: &[u8]) -> Result<BTreeSet<String>> {
    let module = Module::from_buffer(wasm)?;
    let functions =
        module.imports.iter().filter(|import| matches!(import.kind, ImportKind::Function(_)));
    Ok(functions.map(|import| import.name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_functions_are_sorted_and_named_once() {
        let text = r#"
            (module
              (import "wasi_snapshot_preview1" "fd_write" (func))
              (import "env" "proxy_log" (func))
              (import "env" "proxy_done" (func))
              (import "env" "proxy_log" (func))
              (import "env" "memory" (memory 1)))
        "#;
        let imports = imports(&wat::parse_str(text).unwrap()).unwrap();
        assert_eq!(
            imports.into_iter().collect::<Vec<_>>(),
            ["fd_write", "proxy_done", "proxy_log"]
        );
    }

    #[test]
    fn every_callback_of_the_modules_is_in_the_list() {
        let workspace = Workspace::load().unwrap();
        let exports = workspace.modules.iter().flat_map(|module| &module.exports);
        for export in exports.map(|export| export.replacen("sluice_on_", "proxy_on_", 1)) {
            assert!(CALLBACKS.contains(&export.as_str()), "{export}");
        }
    }
}
