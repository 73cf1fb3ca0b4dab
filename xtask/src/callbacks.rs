//! Checks that the exports of a module are the callbacks that its filter implements.
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

/// The traits of sluice-host whose methods `on_...` are callbacks.
const TRAITS: [&str; 3] = ["Filter", "HttpStream", "NetworkStream"];

/// Exports of every module: the plugin shell implements them, and the SDK creates and drops
/// contexts in them.
const OF_ALL: [&str; 4] =
    ["proxy_on_vm_start", "proxy_on_configure", "proxy_on_context_create", "proxy_on_delete"];

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
        let is_implemented = OF_ALL.contains(&export.as_str()) || implemented.0.contains(export);
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

/// Returns the export that calls a method of the traits.
fn export(method: &str) -> String {
    // Streams of both kinds, and plugins, end when Envoy deletes their context.
    if method == "on_end" { "proxy_on_delete".to_owned() } else { format!("proxy_{method}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
impl<H: HttpHost + PluginHost> Filter<H> for Worker {
    fn request(self: &Rc<Self>, _: u32, host: H) -> Stream<H> {
        fn on_log() {}
        Stream::new(host, Rc::clone(self))
    }

    fn on_tick(&self, plugin: u32, host: &H) {}
}

impl Stream {
    fn on_request_trailers(&self) {}
}

impl other::Callbacks for Stream {
    fn on_queue_ready(&self) {}
}

impl<H> sluice_host::filter::HttpStream for Stream<H> {
    fn on_request_headers(&self) -> Action {
        Action::Continue
    }

    fn on_response_body(
        &self,
        _: usize,
    ) {}

    fn on_end(&self) {}
}

mod inner {
  impl NetworkStream for Stream { fn on_new_connection(&self) -> Action { Action::Continue } }
}

// impl HttpStream for Stream { fn on_request_body() {} }
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
    fn methods_of_the_traits_are_found() {
        let found: Vec<String> = implemented().0.into_iter().collect();
        assert_eq!(
            found,
            [
                "proxy_on_delete",
                "proxy_on_new_connection",
                "proxy_on_request_headers",
                "proxy_on_response_body",
                "proxy_on_tick",
            ]
        );
        assert!(Implemented::default().read("impl {").is_err());
    }

    #[test]
    fn exports_are_the_callbacks_and_those_of_the_shell() {
        let exports = [
            "proxy_on_vm_start",
            "proxy_on_context_create",
            "proxy_on_configure",
            "proxy_on_request_headers",
            "proxy_on_new_connection",
            "proxy_on_tick",
            "sluice_on_response_body",
            "sluice_on_http_call_response",
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
        let error = compared(&["proxy_on_delete"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "implements the callback of proxy_on_new_connection, which exports does not list"
        );
    }
}
