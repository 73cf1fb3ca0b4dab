//! The modules that are rendered, and the filters that they carry out.

use sluice_policy::document::filter::Filter;

use crate::filters::{self, Module};
use crate::tree::Tree;

/// The modules to render.
#[derive(Debug)]
pub struct Selection {
    /// In the order in which requests pass them
    modules: Vec<Module>,
    /// The filters that the modules carry out
    filters: Vec<Filter>,
}

impl Selection {
    /// The modules that a document needs.
    ///
    /// With routes for HTTP, `sluice.wasm` carries them out with all other parts of the rules, also
    /// if there are no others yet: then a fault or mirror in the rules changes neither the modules
    /// nor the names of filters. It is for routes only, so other documents get single modules.
    /// Connections that are not HTTP have the module of the egress filter.
    pub fn needed(document: &Tree) -> Self {
        let needed = filters::needed(document);
        let mut modules: Vec<Module> = Vec::new();
        if needed.contains(&Filter::Router) {
            modules.push(Module::Sluice);
        }
        let singles = needed.into_iter().filter(|own| modules.is_empty() || !is_of_sluice(*own));
        let singles: Vec<_> = singles.map(Module::Single).collect();
        modules.extend(singles);
        Self::of(modules, document)
    }

    /// The modules that the user chooses.
    ///
    /// # Errors
    /// A single module that `sluice.wasm` replaces, or a document that it rejects.
    pub fn chosen(modules: &[Module], document: &Tree) -> Result<Self, String> {
        if !modules.contains(&Module::Sluice) {
            return Ok(Self::of(modules.to_vec(), document));
        }
        let is_twice =
            |module: &&Module| matches!(module, Module::Single(own) if is_of_sluice(*own));
        if let Some(module) = modules.iter().find(is_twice) {
            let name = module.name();
            return Err(format!("--filter sluice includes the {name} filter; choose one of them"));
        }
        if !filters::needed(document).contains(&Filter::Router) {
            let reason = "--filter sluice needs http routes with destinations; choose the filters \
                          of the other rules, such as --filter fault";
            return Err(reason.to_owned());
        }
        Ok(Self::of(modules.to_vec(), document))
    }

    fn of(mut modules: Vec<Module>, document: &Tree) -> Self {
        modules.sort_by_key(place);
        modules.dedup();
        let mut filters = Vec::new();
        for module in &modules {
            match module {
                Module::Single(filter) => filters.push(*filter),
                Module::Sluice => {
                    let needed = filters::needed(document).into_iter();
                    filters
                        .extend(needed.filter(|own| *own == Filter::Egress || is_of_sluice(*own)));
                }
            }
        }
        Self { modules, filters }
    }

    /// The same with the module of one more filter.
    pub fn and(mut self, filter: Filter) -> Self {
        self.modules.push(filter.into());
        self.modules.sort_by_key(place);
        self.filters.push(filter);
        self
    }

    /// The same without a filter and its module.
    pub fn without(mut self, filter: Filter) -> Self {
        self.modules.retain(|own| *own != filter.into());
        self.filters.retain(|own| *own != filter);
        self
    }

    /// The modules, in the order in which requests pass them.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The filters that the modules carry out.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// Returns whether a module carries out `filter`.
    pub fn has(&self, filter: Filter) -> bool {
        self.filters.contains(&filter)
    }

    /// Returns whether a module carries out one of these filters.
    pub fn has_any(&self, filters: &[Filter]) -> bool {
        filters.iter().any(|filter| self.has(*filter))
    }

    /// Returns whether a module handles HTTP requests. Beside `sluice.wasm`, the egress filter
    /// handles other connections only.
    pub fn is_for_http(&self, module: Module) -> bool {
        match module {
            Module::Single(Filter::Egress) => !self.modules.contains(&Module::Sluice),
            Module::Single(Filter::Sni) => false,
            Module::Single(_) | Module::Sluice => true,
        }
    }
}

/// Returns whether `sluice.wasm` replaces the module of a filter. It handles HTTP only, so that it
/// does not replace that of the egress filter.
fn is_of_sluice(filter: Filter) -> bool {
    matches!(filter, Filter::Fault | Filter::Mirror | Filter::Router)
}

/// The place of a module among those that requests pass.
fn place(module: &Module) -> u32 {
    match module {
        Module::Single(Filter::Egress) => 0,
        Module::Single(Filter::Fault) => 1,
        Module::Single(Filter::Mirror) => 2,
        Module::Sluice | Module::Single(Filter::Router) => 3,
        Module::Single(Filter::Outlier) => 4,
        Module::Single(Filter::Sni) => 5,
    }
}
