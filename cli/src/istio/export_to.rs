//! The rules of istiod for `exportTo` (`validateExportTo` in `pkg/config/validation`).

use sluice_policy::value::host_name;

use crate::istio::errors::Errors;
use crate::istio::path::Path;
use crate::tree::Tree;

/// Checks `exportTo` of an object of the kind `kind` in `namespace`.
pub fn check(
    spec: &Tree,
    kind: &str,
    namespace: Option<&str>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let Some((key, list)) = spec.entry("exportTo") else { return };
    let path = format!("{path}.{}", key.text);
    let names: Vec<_> = list.elements().iter().filter_map(Tree::as_str).collect();
    if names.len() > 1 {
        for sole in ["*", "~"].into_iter().filter(|sole| names.contains(sole)) {
            errors.add(&path, format!("cannot combine {sole:?} with others"));
        }
    }
    let mut seen = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let path = format!("{path}[{index}]");
        let is_hidden = name == "~" && kind == "ServiceEntry";
        let is_name = host_name::is_label(name) || ["*", "."].contains(&name) || is_hidden;
        if !is_name {
            errors.add(&path, format!("{name:?} is not a namespace, . or *"));
        }
        let meant = namespace.filter(|_| name == ".").unwrap_or(name);
        if seen.contains(&meant) {
            errors.add(&path, format!("{name:?} is an earlier namespace too"));
        }
        seen.push(meant);
    }
    if kind == "DestinationRule" && spec.field("workloadSelector").is_some() {
        let is_own = |name: &&str| *name == "." || Some(*name) == namespace;
        if !seen.iter().all(is_own) {
            errors.add(&path, "must be . because of workloadSelector");
        }
    }
}
