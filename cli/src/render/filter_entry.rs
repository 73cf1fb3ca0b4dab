//! One filter in Envoy's configuration.

use serde::Serialize;
use sluice_policy::document::filter::Filter;

use super::attach::Files;
use super::capabilities;
use super::place::Place;
use crate::filters::Module;

/// The entry of a filter in a list of filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilterEntry {
    /// The name of the filter in the list
    full_name: String,
    /// The name of the filter
    name: &'static str,
    /// Where it runs
    place: Place,
    /// The file of its wasm module
    module: String,
    /// What Envoy allows its wasm module
    capabilities: minijinja::Value,
    /// The file of the dynamic module, if that has the filter
    native: Option<String>,
    /// Whether the dynamic module has the filter as an experiment only, so that it is not used
    is_native_experimental: bool,
    /// The effect of a failed module on requests
    failure_policy: FailurePolicy,
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

impl FilterEntry {
    /// The filter of a module.
    pub fn new(module: impl Into<Module>, place: Place, files: &Files) -> Self {
        let module = module.into();
        Self {
            full_name: module.full_name('.'),
            name: module.name(),
            place,
            module: files.wasm(module),
            capabilities: minijinja::Value::from_safe_string(capabilities::field(module)),
            native: files.native(module, place).map(str::to_owned),
            is_native_experimental: files.is_native_experimental(place),
            failure_policy: FailurePolicy::of(module),
        }
    }
}

impl FailurePolicy {
    /// The policy for a module. A service works without faults, but not without the other filters.
    pub fn of(module: Module) -> Self {
        match module {
            Module::Single(Filter::Fault) => Self::FailOpen,
            Module::Single(_) | Module::Sluice => Self::FailReload,
        }
    }
}
