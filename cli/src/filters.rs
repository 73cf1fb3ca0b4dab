//! The filters of the bundle on the command line, and which of them a document needs.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use sluice_policy::document::filter::Filter;

use crate::tree::Tree;

/// The filters with their descriptions, in the order of the help.
const FILTERS: [(Filter, &str); 6] = [
    (Filter::Fault, "Injects delays and aborts"),
    (Filter::Egress, "Rejects calls of unknown services"),
    (Filter::Mirror, "Copies requests"),
    (Filter::Router, "Routes HTTP requests"),
    (Filter::Outlier, "Ejects failing hosts"),
    (Filter::Sni, "Routes TLS connections"),
];

/// The name of a filter and of its module.
pub fn name(filter: Filter) -> &'static str {
    match filter {
        Filter::Egress => "egress",
        Filter::Fault => "fault",
        Filter::Mirror => "mirror",
        Filter::Outlier => "outlier",
        Filter::Router => "router",
        Filter::Sni => "sni",
    }
}

/// Parses the name of a filter in an argument.
pub fn parser() -> impl TypedValueParser<Value = Filter> {
    let values = FILTERS.map(|(filter, help)| PossibleValue::new(name(filter)).help(help));
    PossibleValuesParser::new(values).try_map(|text| {
        let named = FILTERS.into_iter().find(|(filter, _)| name(*filter) == text);
        named.map(|(filter, _)| filter).ok_or("is not a filter")
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
    let mut filters = Vec::new();
    let mut add = |filter, is_needed| filters.extend(Some(filter).filter(|_| is_needed));
    add(Filter::Egress, has("outboundTrafficPolicy") || has("egress"));
    add(Filter::Fault, route_has("fault") || (has("faults") && routes().next().is_some()));
    add(Filter::Mirror, route_has("mirror") || route_has("mirrors"));
    let has_any =
        |route: &Tree, names: &[&str]| names.iter().any(|name| route.field(name).is_some());
    let is_for_router = |route: &Tree| {
        has_any(route, &["route", "redirect", "directResponse", "delegate"])
            || !has_any(route, &["fault", "mirror", "mirrors"])
    };
    add(Filter::Router, routes().any(is_for_router));
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

/// Sorts filters in the order in which requests pass them, without repetitions.
pub fn sort(filters: &mut Vec<Filter>) {
    let place = |filter: &Filter| match filter {
        Filter::Egress => 0,
        Filter::Fault => 1,
        Filter::Mirror => 2,
        Filter::Router => 3,
        Filter::Outlier => 4,
        Filter::Sni => 5,
    };
    filters.sort_by_key(place);
    filters.dedup();
}
