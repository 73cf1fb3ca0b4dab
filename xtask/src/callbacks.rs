//! Holds what a filter implements against what stays exported of it.
//!
//! A callback that is implemented and not listed would silently never run. One that is listed and not
//! implemented would enter the VM on each stream for nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::workspace::WasmModule;

/// Exports that the SDK needs whatever a filter implements: it makes and drops contexts in them.
const OF_THE_SDK: [&str; 3] = ["proxy_on_vm_start", "proxy_on_context_create", "proxy_on_delete"];

/// Fails unless the exports of a module are the callbacks that its sources implement.
pub fn check(module: &WasmModule) -> Result<()> {
    let mut implemented = BTreeSet::new();
    read_folder(&module.sources, &mut implemented)?;
    compare(&module.exports, &implemented)
}

fn compare(exports: &[String], implemented: &BTreeSet<String>) -> Result<()> {
    for export in implemented {
        let own = export.replacen("proxy_on_", "sluice_on_", 1);
        let is_listed = exports.contains(export) || exports.contains(&own);
        ensure!(is_listed, "implements the callback of {export}, which exports does not list");
    }
    // An own callback stands for itself: it need not go on to the filter.
    for export in exports.iter().filter(|export| export.starts_with("proxy_on_")) {
        let is_implemented = implemented.contains(export) || OF_THE_SDK.contains(&export.as_str());
        ensure!(is_implemented, "exports lists {export}, whose callback is not implemented");
    }
    Ok(())
}

fn read_folder(folder: &Path, implemented: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            read_folder(&path, implemented)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            implemented.extend(callbacks(&source));
        }
    }
    Ok(())
}

/// The exports of the callbacks in `source`, which rustfmt has formatted: methods `on_...` in blocks that
/// implement one of the SDK's traits.
fn callbacks(source: &str) -> impl Iterator<Item = String> + '_ {
    let mut is_inside = false;
    source.lines().filter_map(move |line| {
        if line.starts_with("impl") {
            is_inside = line.contains("Context for ");
        } else if line == "}" {
            is_inside = false;
        }
        let method = line.strip_prefix("    fn ").filter(|_| is_inside)?;
        let method = method.split('(').next().filter(|name| name.starts_with("on_"))?;
        Some(export(method))
    })
}

/// The export that calls a method of the SDK's traits.
fn export(method: &str) -> String {
    match method {
        "on_http_call_response" => "proxy_on_http_call_response".to_owned(),
        "on_downstream_close" => "proxy_on_downstream_connection_close".to_owned(),
        "on_upstream_close" => "proxy_on_upstream_connection_close".to_owned(),
        "on_grpc_call_response" | "on_grpc_stream_message" => "proxy_on_grpc_receive".to_owned(),
        "on_grpc_stream_initial_metadata" => "proxy_on_grpc_receive_initial_metadata".to_owned(),
        "on_grpc_stream_trailing_metadata" => "proxy_on_grpc_receive_trailing_metadata".to_owned(),
        "on_grpc_stream_close" => "proxy_on_grpc_close".to_owned(),
        _ => format!("proxy_{}", method.replacen("on_http_", "on_", 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        fn on_tick() {}
        true
    }
}

impl Stream {
    fn on_request_trailers(&self) {}
}

impl<H> proxy_wasm::traits::HttpContext for PluginStream<H> {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        Action::Continue
    }

    fn on_downstream_close(
        &mut self,
    ) {}

    fn on_http_call_response(&mut self) {}
}

fn on_log() {}
";

    fn compared(exports: &[&str]) -> Result<()> {
        let exports: Vec<String> = exports.iter().map(|&export| export.to_owned()).collect();
        compare(&exports, &callbacks(SOURCE).collect())
    }

    #[test]
    fn methods_of_the_sdks_traits_are_found() {
        let found: Vec<String> = callbacks(SOURCE).collect();
        assert_eq!(
            found,
            [
                "proxy_on_configure",
                "proxy_on_request_headers",
                "proxy_on_downstream_connection_close",
                "proxy_on_http_call_response",
            ]
        );
    }

    #[test]
    fn exports_are_the_callbacks_and_what_the_sdk_needs() {
        let exports = [
            "proxy_on_vm_start",
            "proxy_on_context_create",
            "proxy_on_configure",
            "proxy_on_request_headers",
            "proxy_on_downstream_connection_close",
            "sluice_on_http_call_response",
            "sluice_on_tick",
            "proxy_on_delete",
        ];
        compared(&exports).unwrap();
        let error = compared(&[&exports[..], &["proxy_on_log"]].concat()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "exports lists proxy_on_log, whose callback is not implemented"
        );
    }

    #[test]
    fn every_filter_exports_what_it_implements() {
        let workspace = crate::workspace::Workspace::load().unwrap();
        for module in &workspace.modules {
            check(module).with_context(|| module.package.clone()).unwrap();
        }
    }

    #[test]
    fn a_callback_that_would_be_stripped_is_named() {
        let error = compared(&["proxy_on_configure"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "implements the callback of proxy_on_downstream_connection_close, which exports does \
             not list"
        );
    }
}
