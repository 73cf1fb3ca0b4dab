//! One wasm filter in Envoy's configuration.

use serde::Serialize;

use crate::filters::Filter;

/// The entry of a filter in a list of filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WasmFilter {
    /// The name of the filter
    name: &'static str,
    /// Where it runs
    place: Place,
    /// The file of its module
    module: String,
    /// What happens to requests when the module has failed
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

/// What happens to requests when a module has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailurePolicy {
    /// They pass without the filter.
    FailOpen,
    /// Those of the failure end with an error, later ones get a new instance of the module.
    FailReload,
}

impl WasmFilter {
    /// A filter whose module is at `module`, with `{filter}` for its name.
    pub fn new(filter: Filter, place: Place, module: &str) -> Self {
        Self {
            name: filter.name(),
            place,
            module: module_of(filter, module),
            failure_policy: FailurePolicy::of(filter),
        }
    }
}

impl FailurePolicy {
    /// The policy that suits a filter: without faults a service works, without the others it does not.
    pub fn of(filter: Filter) -> Self {
        if filter == Filter::Fault { Self::FailOpen } else { Self::FailReload }
    }
}

/// The file or address of a filter's module, given with `{filter}` for the name of the filter.
pub fn module_of(filter: Filter, pattern: &str) -> String {
    pattern.replace("{filter}", filter.name())
}
