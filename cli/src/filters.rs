//! The modules of the bundle on the command line, and the filters that a document needs.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use sluice_policy::document::filter::Filter;

use crate::kinds::ROUTES;
use crate::tree::Tree;

/// The modules with their descriptions, in the order of the help.
const MODULES: [(Module, &str); 7] = [
    (Module::Sluice, "Does for HTTP requests what egress, fault, mirror and router do"),
    (Module::Single(Filter::Fault), "Injects delays and aborts"),
    (Module::Single(Filter::Egress), "Rejects calls of unknown services"),
    (Module::Single(Filter::Mirror), "Copies requests"),
    (Module::Single(Filter::Router), "Routes HTTP requests"),
    (Module::Single(Filter::Outlier), "Ejects failing hosts"),
    (Module::Single(Filter::Sni), "Routes TLS connections"),
];

/// A module of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// `sluice.wasm`, which does for HTTP requests what egress, fault, mirror and router do
    Sluice,
    /// The module of one filter
    Single(Filter),
}

impl From<Filter> for Module {
    fn from(filter: Filter) -> Self {
        Self::Single(filter)
    }
}

impl Module {
    /// The name of the module and of its filter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sluice => "sluice",
            Self::Single(Filter::Egress) => "egress",
            Self::Single(Filter::Fault) => "fault",
            Self::Single(Filter::Mirror) => "mirror",
            Self::Single(Filter::Outlier) => "outlier",
            Self::Single(Filter::Router) => "router",
            Self::Single(Filter::Sni) => "sni",
        }
    }

    /// A name among those of other programs: `sluice`, or `sluice` and the name of the filter with
    /// `separator` between them.
    pub fn full_name(self, separator: char) -> String {
        match self {
            Self::Sluice => self.name().to_owned(),
            Self::Single(_) => format!("sluice{separator}{}", self.name()),
        }
    }
}

/// Parses the name of a module in an argument.
pub fn parser() -> impl TypedValueParser<Value = Module> {
    let values = MODULES.map(|(module, help)| PossibleValue::new(module.name()).help(help));
    PossibleValuesParser::new(values).try_map(|text| {
        let named = MODULES.into_iter().find(|(module, _)| module.name() == text);
        named.map(|(module, _)| module).ok_or("is not a filter")
    })
}

/// The filters that a document needs, in the order in which requests pass them. If it needs none,
/// the router. Rules that only have faults or mirrors are whole without a destination where no
/// router is.
pub fn needed(document: &Tree) -> Vec<Filter> {
    let services = document.list("virtualServices");
    let routes = || services.iter().flat_map(|service| service.list("http"));
    let route_has = |name: &str| routes().any(|route| route.field(name).is_some());
    let has = |name: &str| document.field(name).is_some();
    let gateway_routes = || ROUTES.into_iter().flat_map(|list| document.list(list));
    let has_gateway_routes = gateway_routes().next().is_some();
    let mut gateway_filters = gateway_routes()
        .flat_map(|route| route.list("rules"))
        .flat_map(|rule| rule.list("filters"));
    let has_gateway_mirror = gateway_filters.any(|own| own.field("requestMirror").is_some());
    let mut filters = Vec::new();
    let mut add = |filter, is_needed| filters.extend(Some(filter).filter(|_| is_needed));
    add(Filter::Egress, has("outboundTrafficPolicy") || has("egress"));
    let has_routes = has_gateway_routes || routes().next().is_some();
    let has_fault_rules =
        document.field("faults").is_some_and(|faults| !faults.list("rules").is_empty());
    let has_faults = route_has("fault") || (has("faults") && has_routes);
    add(Filter::Fault, has_faults || has_fault_rules);
    add(Filter::Mirror, route_has("mirror") || route_has("mirrors") || has_gateway_mirror);
    let has_any =
        |route: &Tree, names: &[&str]| names.iter().any(|name| route.field(name).is_some());
    let is_for_router = |route: &Tree| {
        has_any(route, &["route", "redirect", "directResponse", "delegate"])
            || !has_any(route, &["fault", "mirror", "mirrors"])
    };
    add(Filter::Router, has_gateway_routes || routes().any(is_for_router));
    add(Filter::Outlier, has("destinationRules"));
    add(Filter::Sni, services.iter().any(|service| !service.list("tls").is_empty()));
    if filters.is_empty() {
        // ServiceEntries alone are for the egress filter, although they lack its policy. Settings
        // of the sni filter alone are for its checks, which need no routes.
        filters.push(match () {
            () if has("serviceEntries") => Filter::Egress,
            () if has("sni") && services.is_empty() => Filter::Sni,
            () => Filter::Router,
        });
    }
    filters
}
