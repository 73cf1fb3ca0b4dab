//! Finds what only several objects together can show: references to objects, hosts, ports and
//! subsets that the files do not have, and objects that compete for the same requests.
//!
//! Rules of one object or document that have no effect are found by the policy itself.

mod destinations;
mod gateways;
mod host_index;
mod hosts;
pub mod inventory;
mod mesh;
mod registry;
mod report;
mod routes;
mod same_hosts;
mod server_names;
mod subsets;
mod weights;

use std::collections::HashSet;

use crate::bundle::Bundle;
use crate::finding::Finding;
use inventory::Inventory;
use mesh::Mesh;
use report::Report;

/// The findings about the documents of all namespaces together, without those that `known` has.
/// `rejected` has the titles of the objects with errors, of each document: there are no findings
/// about them.
pub fn lint(
    bundles: &[Bundle],
    inventory: &Inventory,
    rejected: &[HashSet<String>],
    known: &[Finding],
) -> Vec<Finding> {
    let mesh = Mesh::new(bundles, inventory);
    let mut report = Report::new(bundles, rejected, known);
    hosts::lint(&mesh, &mut report);
    subsets::lint(&mesh, &mut report);
    same_hosts::lint(&mesh, &mut report);
    server_names::lint(&mesh, &mut report);
    weights::lint(&mesh, &mut report);
    gateways::lint(&mesh, &mut report);
    routes::lint(&mesh, &mut report);
    report.into_findings()
}
