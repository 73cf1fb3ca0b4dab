//! Checks that the exports of a module are the callbacks that its filter implements.
//!
//! A callback that is implemented and not listed would never be called, without any error. One that
//! is listed and not implemented would cost a call into the VM on each stream.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::workspace::WasmModule;

/// The traits of sluice-host whose methods `on_...` are callbacks.
const TRAITS: [&str; 3] = ["Filter", "HttpStream", "NetworkStream"];

/// Exports of every module: the plugin shell implements them, and the SDK makes and drops contexts in
/// them.
const OF_ALL: [&str; 4] =
    ["proxy_on_vm_start", "proxy_on_configure", "proxy_on_context_create", "proxy_on_delete"];

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
        let is_implemented = implemented.contains(export) || OF_ALL.contains(&export.as_str());
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

/// The exports of the callbacks in `source`, which rustfmt has formatted: methods `on_...` in blocks
/// that implement one of [`TRAITS`].
fn callbacks(source: &str) -> impl Iterator<Item = String> + '_ {
    let mut is_inside = false;
    source.lines().filter_map(move |line| {
        if line.starts_with("impl") {
            is_inside = implemented_trait(line).is_some_and(|name| TRAITS.contains(&name));
        } else if line == "}" {
            is_inside = false;
        }
        let method = line.strip_prefix("    fn ").filter(|_| is_inside)?;
        let method = method.split('(').next().filter(|name| name.starts_with("on_"))?;
        Some(export(method))
    })
}

/// The name of the trait that a block implements: the last word before ` for `, without its path and
/// parameters.
fn implemented_trait(line: &str) -> Option<&str> {
    let (before, _) = line.split_once(" for ")?;
    let path = before.rsplit(' ').next()?;
    path.split('<').next()?.rsplit("::").next()
}

/// The export that calls a method.
fn export(method: &str) -> String {
    // Both kinds of streams, and plugins, end when Envoy deletes their context.
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

impl<H> sluice_host::filter::HttpStream for Stream<H> {
    fn on_request_headers(&self) -> Action {
        Action::Continue
    }

    fn on_response_trailers(
        &self,
    ) {}

    fn on_end(&self) {}
}

impl NetworkStream for Stream<Fake> {
    fn on_new_connection(&self) {}
}

fn on_log() {}
";

    fn compared(exports: &[&str]) -> Result<()> {
        let exports: Vec<String> = exports.iter().map(|&export| export.to_owned()).collect();
        compare(&exports, &callbacks(SOURCE).collect())
    }

    #[test]
    fn methods_of_the_traits_are_found() {
        let found: Vec<String> = callbacks(SOURCE).collect();
        assert_eq!(
            found,
            [
                "proxy_on_tick",
                "proxy_on_request_headers",
                "proxy_on_response_trailers",
                "proxy_on_delete",
                "proxy_on_new_connection",
            ]
        );
    }

    #[test]
    fn exports_are_the_callbacks_and_those_of_the_shell() {
        let exports = [
            "proxy_on_vm_start",
            "proxy_on_context_create",
            "proxy_on_configure",
            "proxy_on_request_headers",
            "sluice_on_response_trailers",
            "proxy_on_new_connection",
            "proxy_on_tick",
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
        let error = compared(&["proxy_on_configure", "proxy_on_delete"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "implements the callback of proxy_on_new_connection, which exports does not list"
        );
    }
}
