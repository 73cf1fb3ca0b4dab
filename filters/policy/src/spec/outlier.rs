//! `outlier` of a document: settings of the outlier filter that Istio does not have.

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::mode::{MODES, Mode};

/// Who keeps requests away from hosts that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Envoy's own outlier detection. The filter marks failed responses with a header, and the
    /// `error_matcher` of the cluster counts them.
    Envoy,
    /// The filter. It counts, and tells the load balancer of the cluster which hosts may be used.
    Filter,
}

/// `outlier` of a document.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutlierSettings {
    /// `mode`: whether hosts are ejected, or detections are only counted
    pub mode: Mode,
    /// `enforcement`; if absent, each `outlierDetection` is carried out by Envoy where Envoy can,
    /// otherwise by the filter
    pub enforcement: Option<Enforcement>,
}

const ENFORCEMENTS: [&str; 2] = ["envoy", "filter"];

const NOT_IN_MODULE: &str = "cannot be filter in a dynamic module; use outlier.wasm, or envoy";

fields!(OutlierSettings as "Outlier", "Settings of the outlier filter.", {
    "mode": Kind::OneOf(&MODES) =>
        "enforce (default) ejects hosts, shadow only counts and logs what would eject them.";
    "enforcement": Kind::OneOf(&ENFORCEMENTS) =>
        "Who keeps requests away from ejected hosts: envoy (Envoy's own outlier detection; the \
         filter marks failed responses for it) or filter (a list of hosts for the load balancer). \
         If absent, filter for an outlierDetection with halfOpen, fallback or failure.grpcStatus, \
         envoy for all others.";
});

impl OutlierSettings {
    /// Reads `outlier`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let mode = object.optional("mode", Mode::read);
        let enforcement = object.optional("enforcement", |node| {
            Ok(match node.one_of(&ENFORCEMENTS)? {
                "envoy" => Enforcement::Envoy,
                _ => {
                    check_module(node, NOT_IN_MODULE)?;
                    Enforcement::Filter
                }
            })
        });
        Ok(Self { mode: mode?.unwrap_or_default(), enforcement: enforcement? })
    }
}

/// Reports a field of an `outlierDetection` that only the filter can carry out, if Envoy has to or
/// if the filter is in a dynamic module, which only marks failures for Envoy.
pub(crate) fn check_enforcement(
    node: &Node<'_>,
    enforcement: Option<Enforcement>,
) -> Result<(), Reported> {
    match enforcement {
        Some(Enforcement::Envoy) => Err(node.error(
            "cannot be carried out with outlier.enforcement envoy; use filter, or leave it out",
        )),
        Some(Enforcement::Filter) | None => {
            check_module(node, "cannot be carried out by a dynamic module; use outlier.wasm")
        }
    }
}

/// Reports a value that requires ejections by the filter, if the outlier filter is in a dynamic
/// module. Other filters of a module ignore the value.
#[inline]
fn check_module(node: &Node<'_>, reason: &str) -> Result<(), Reported> {
    match node.filters().are_native() && node.filters().contains(Filter::Outlier) {
        true => node.needs_wasm(reason),
        false => Ok(()),
    }
}
