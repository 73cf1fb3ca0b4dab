//! How Envoy loads the filters: as wasm modules, or as the dynamic module.

use clap::ValueEnum;
use sluice_policy::document::filter::{Filter, Filters};
use sluice_policy::document::report::Finding as PolicyFinding;
use sluice_policy::spec::document::Document;
use sluice_policy::spec::proxy::NodeMetadata;

use super::place::Place;
use super::selection::Selection;
use crate::check::Compiled;
use crate::filters::Module;

/// How Envoy loads the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// Each filter is a wasm module, in a sandbox of its own
    Wasm,
    /// The dynamic module libsluice.so has the filters of HTTP requests. It requires Envoy 1.38 and
    /// is part of Envoy's process
    Native,
}

impl Attach {
    /// What of a document needs wasm modules. The outlier filter has its own, see [`Files`].
    /// `has_bootstrap` says that the output is the configuration of a whole Envoy.
    pub fn refused(
        self,
        compiled: &Compiled<'_>,
        selection: &Selection,
        has_bootstrap: bool,
    ) -> Vec<PolicyFinding> {
        let is_other = |own: &Filter| !matches!(own, Filter::Outlier | Filter::Sni);
        let filters: Filters = selection.filters().iter().copied().filter(is_other).collect();
        // Without any, the document would be read for all.
        let loading = Loading { attach: self, has_bootstrap };
        if filters == Filters::NONE { Vec::new() } else { errors(compiled, filters, loading) }
    }
}

fn errors(compiled: &Compiled<'_>, filters: Filters, loading: Loading) -> Vec<PolicyFinding> {
    match Document::compile(&compiled.json, filters, &loading) {
        Ok(_) => Vec::new(),
        Err(rejection) => rejection.errors,
    }
}

/// How Envoy loads the filters, and what the output contains.
#[derive(Clone, Copy)]
struct Loading {
    attach: Attach,
    has_bootstrap: bool,
}

/// As the filters see the metadata of Envoy's node: a dynamic module has none.
impl NodeMetadata for Loading {
    fn namespace(&self) -> Option<String> {
        None
    }

    fn label(&self, _: &str) -> Option<String> {
        None
    }

    fn is_native(&self) -> bool {
        self.attach == Attach::Native
    }

    /// A dynamic module needs its extension in the bootstrap.
    fn can_call(&self) -> bool {
        !self.is_native() || self.has_bootstrap
    }
}

/// The files of the modules in the proxy.
#[derive(Clone, Debug)]
pub struct Files {
    /// The wasm modules, with `{filter}` for the name of the filter
    pub wasm: String,
    /// The dynamic module, if it has the filters that it can have
    native: Option<String>,
    /// Whether the dynamic module can do what the outlier filter does in clusters
    marks_failures: bool,
}

impl Files {
    /// Wasm modules alone.
    pub fn of_wasm(wasm: String) -> Self {
        Self { wasm, native: None, marks_failures: false }
    }

    /// The dynamic module, and wasm modules for the filters that it does not have. The outlier
    /// filter is in it if Envoy ejects the hosts of all rules.
    pub fn of_native(wasm: String, native: String, compiled: &Compiled<'_>) -> Self {
        let loading = Loading { attach: Attach::Native, has_bootstrap: true };
        let refused = errors(compiled, Filter::Outlier.into(), loading);
        Self { wasm, native: Some(native), marks_failures: refused.is_empty() }
    }

    /// The file of a wasm module.
    pub fn wasm(&self, module: Module) -> String {
        self.wasm.replace("{filter}", module.name())
    }

    /// The dynamic module, whose filters send requests if the document makes them.
    pub fn calling(&self, document: &Document) -> Option<&str> {
        self.native.as_deref().filter(|_| document.mirroring.compare.is_some())
    }

    /// Whether the filter in this place stays a wasm module, although the dynamic module has it:
    /// there, network filters are experimental.
    pub fn is_native_experimental(&self, place: Place) -> bool {
        self.native.is_some() && place == Place::Network
    }

    /// The dynamic module, if it has the filter of `module` in this place.
    pub fn native(&self, module: Module, place: Place) -> Option<&str> {
        let is_in_it = match place {
            Place::Http => module != Module::Single(Filter::Outlier),
            Place::Network => false,
            Place::Upstream => self.marks_failures,
        };
        self.native.as_deref().filter(|_| is_in_it)
    }
}
