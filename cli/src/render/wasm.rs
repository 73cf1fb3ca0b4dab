//! One wasm filter in Envoy's configuration.

use serde::Serialize;
use sluice_policy::document::filter::Filter;

use crate::filters;

/// The entry of a filter in a list of filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WasmFilter {
    /// The name of the filter
    name: &'static str,
    /// Where it runs
    place: Place,
    /// The file of its module
    module: String,
    /// The effect of a failed module on requests
    failure_policy: FailurePolicy,
}

/// Where a filter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the chain of an HTTP connection manager
    Http,
    /// In the chain of a listener
    Network,
    /// In a cluster, before `upstream_codec`
    Upstream,
}

/// The effect of a failed module on requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailurePolicy {
    /// Requests pass without the filter.
    FailOpen,
    /// Requests in progress fail. Envoy loads the module again for later ones.
    FailReload,
}

impl WasmFilter {
    /// A filter with its module at the path `module`, which has `{filter}` for the name.
    pub fn new(filter: Filter, place: Place, module: &str) -> Self {
        Self {
            name: filters::name(filter),
            place,
            module: module_of(filter, module),
            failure_policy: FailurePolicy::of(filter),
        }
    }
}

impl FailurePolicy {
    /// The policy for a filter. A service works without faults, but not without the other filters.
    pub fn of(filter: Filter) -> Self {
        if filter == Filter::Fault { Self::FailOpen } else { Self::FailReload }
    }
}

/// The path or URL of a filter's module: `pattern` with the name of the filter for `{filter}`.
pub fn module_of(filter: Filter, pattern: &str) -> String {
    pattern.replace("{filter}", filters::name(filter))
}
