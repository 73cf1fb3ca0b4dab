//! Weights that are not percentages.

use sluice_policy::document::report::Kind;

use super::destinations::KINDS;
use super::mesh::Mesh;
use super::report::Report;
use crate::tree::{Tree, Value};

/// Notes weights whose sum is not 100: they are proportions.
pub fn lint(mesh: &Mesh<'_>, report: &mut Report<'_>) {
    for service in mesh.virtual_services.iter().chain(&mesh.shadow_services) {
        for kind in KINDS {
            for (index, route) in service.tree.list(kind).iter().enumerate() {
                let Some(reason) = reason(route.list("route")) else { continue };
                let path = format!(".{kind}[{index}].route");
                report.add(service, &path, Kind::Proportional, reason, None);
            }
        }
    }
}

fn reason(destinations: &[Tree]) -> Option<String> {
    let weight = |own: &Tree| match own.field("weight").map(|weight| &weight.value) {
        Some(Value::Integer(weight)) => *weight,
        _ => 0,
    };
    if let [only] = destinations {
        let own = Some(weight(only)).filter(|own| *own != 100 && only.field("weight").is_some())?;
        return Some(format!(
            "the weight {own} has no effect: the only destination gets all traffic"
        ));
    }
    let sum = destinations.iter().map(weight).fold(0_i64, i64::saturating_add);
    // 0 is an error.
    (sum != 100 && sum > 0).then(|| {
        format!("the sum of the weights is {sum}, not 100; each weight is a share of this sum")
    })
}
