//! Checks that the exports of a module are the callbacks that its sources implement.
//!
//! A callback that is implemented but not listed would silently never be called. One that is listed
//! but not implemented would cost a call of the VM on each stream.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use syn::visit::{self, Visit};
use syn::{ImplItem, ItemImpl};

use crate::workspace::WasmModule;

/// The SDK's traits whose methods `on_...` are callbacks.
const TRAITS: [&str; 4] = ["Context", "RootContext", "StreamContext", "HttpContext"];

/// Exports that the SDK always requires: it creates and drops contexts in them.
const OF_THE_SDK: [&str; 3] = ["proxy_on_vm_start", "proxy_on_context_create", "proxy_on_delete"];

/// Fails unless the exports of a module are the callbacks that its sources implement.
pub fn check(module: &WasmModule) -> Result<()> {
    let mut implemented = Implemented::default();
    implemented.read_folder(&module.sources)?;
    compare(&module.exports, &implemented)
}

fn compare(exports: &[String], implemented: &Implemented) -> Result<()> {
    for export in &implemented.0 {
        let own = export.replacen("proxy_on_", "sluice_on_", 1);
        let is_listed = exports.contains(export) || exports.contains(&own);
        ensure!(is_listed, "implements the callback of {export}, which exports does not list");
    }
    // An own callback replaces the SDK's: it does not have to call the filter.
    for export in exports.iter().filter(|export| export.starts_with("proxy_on_")) {
        let of_the_sdk = OF_THE_SDK.contains(&export.as_str());
        let is_implemented = of_the_sdk || implemented.0.contains(export);
        ensure!(is_implemented, "exports lists {export}, whose callback is not implemented");
    }
    Ok(())
}

/// The exports whose callbacks are implemented: methods `on_...` in `impl` blocks of [`TRAITS`].
#[derive(Default)]
struct Implemented(BTreeSet<String>);

impl Implemented {
    /// Adds the callbacks in the Rust files of a folder and of the folders in it.
    fn read_folder(&mut self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                self.read_folder(&path)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path);
                let source = source.with_context(|| path.display().to_string())?;
                self.read(&source).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Adds the callbacks in the text of a file.
    fn read(&mut self, source: &str) -> Result<()> {
        self.visit_file(&syn::parse_file(source)?);
        Ok(())
    }
}

impl<'ast> Visit<'ast> for Implemented {
    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        // Compares the last segment, because the trait may be written with its path.
        let name = block.trait_.as_ref().and_then(|(path, _)| path.segments.last());
        if name.is_some_and(|name| TRAITS.iter().any(|known| name.ident == known)) {
            for item in &block.items {
                let ImplItem::Fn(method) = item else { continue };
                let method = method.sig.ident.to_string();
                if method.starts_with("on_") {
                    self.0.insert(export(&method));
                }
            }
        }
        visit::visit_item_impl(self, block);
    }
}

/// Returns the export that calls a method of the SDK's traits.
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

impl other::Callbacks for Stream {
    fn on_queue_ready(&self) {}
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

mod inner {
  impl StreamContext for Stream { fn on_new_connection(&mut self) -> Action { Action::Continue } }
}

// impl HttpContext for Stream { fn on_http_request_body() {} }
fn on_log() {}
";

    fn compared(exports: &[&str]) -> Result<()> {
        let exports: Vec<String> = exports.iter().map(|&export| export.to_owned()).collect();
        compare(&exports, &implemented())
    }

    fn implemented() -> Implemented {
        let mut implemented = Implemented::default();
        implemented.read(SOURCE).unwrap();
        implemented
    }

    #[test]
    fn methods_of_the_sdks_traits_are_found() {
        let found: Vec<String> = implemented().0.into_iter().collect();
        assert_eq!(
            found,
            [
                "proxy_on_configure",
                "proxy_on_downstream_connection_close",
                "proxy_on_http_call_response",
                "proxy_on_new_connection",
                "proxy_on_request_headers",
            ]
        );
        assert!(Implemented::default().read("impl {").is_err());
    }

    #[test]
    fn exports_are_the_callbacks_and_what_the_sdk_needs() {
        let exports = [
            "proxy_on_vm_start",
            "proxy_on_context_create",
            "proxy_on_configure",
            "proxy_on_request_headers",
            "proxy_on_new_connection",
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
