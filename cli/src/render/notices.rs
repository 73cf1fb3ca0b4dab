//! What the filters leave to Envoy, for the list of what the output leaves out.

use sluice_policy::document::field_name::is_field;
use sluice_policy::document::filter::Filter;

use super::left_out::LeftOut;
use super::selection::Selection;
use super::to::To;
use crate::check::Compiled;

/// Adds what the filters leave to Envoy, unless the format has it or the filters do not concern it.
pub fn add(compiled: &Compiled<'_>, to: To, selection: &Selection, left_out: &mut LeftOut) {
    for notice in compiled.left_to_envoy() {
        let list = notice.path.split('[').next().unwrap_or_default();
        let field = notice.path.split_once("].").map_or("", |(_, field)| field);
        let is_of_cluster = is_field(list, "destinationRules") || is_field(list, "serviceEntries");
        let is_of_listener = field == "tcp";
        // `--to envoy` writes listeners and clusters, and says itself what it leaves out of them.
        if to == To::Envoy && (is_of_cluster || is_of_listener) {
            continue;
        }
        let concerned: &[Filter] = match () {
            () if is_of_cluster => &[Filter::Mirror, Filter::Outlier, Filter::Router, Filter::Sni],
            () if is_of_listener => &[Filter::Router, Filter::Sni],
            () => &[Filter::Router],
        };
        if !selection.has_any(concerned) {
            continue;
        }
        if to == To::EnvoyFilter && (is_of_cluster || is_of_listener) {
            left_out.add(&notice.path, "is left to Istio, whose own object must have it");
        } else {
            left_out.add(&notice.path, &notice.reason);
        }
    }
}
