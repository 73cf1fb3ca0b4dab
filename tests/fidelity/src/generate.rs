//! Random VirtualServices that Istio accepts.
//!
//! Draws are certain (percentages of 0 and 100, one destination with all the weight), and times are
//! short. What the READMEs of the filters describe as a difference from Istio is avoided at the
//! place that would make it, with the reason.

mod actions;
mod conditions;
mod policies;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::case::{Case, name};
use crate::words::one_in;

/// Returns the VirtualService with this number.
pub fn case(rng: &mut Rng, number: usize) -> Case {
    let mut hosts = vec![name(number)];
    if one_in(rng, 3) {
        hosts.push(format!("other.{}", name(number)));
    }
    if one_in(rng, 3) {
        hosts.push(format!("*.{}", name(number)));
    }
    let count = rng.usize(1..=5);
    let rules: Vec<_> = (0..count).map(|index| rule(rng, index, index + 1 == count)).collect();
    let spec = json!({ "hosts": hosts, "gateways": ["gateway"], "http": rules });
    Case { number, spec }
}

fn rule(rng: &mut Rng, index: usize, is_last: bool) -> Value {
    let mut rule = json!({ "name": format!("r{index}") });
    // A rule without conditions hides those after it.
    let is_for_all = one_in(rng, 20) || is_last && rng.bool();
    if !is_for_all {
        let count = if one_in(rng, 3) { 2 } else { 1 };
        rule["match"] = (0..count).map(|index| conditions::block(rng, index)).collect();
    }
    match rng.u32(..10) {
        0 => rule["redirect"] = actions::redirect(rng, &mut rule),
        1 => rule["directResponse"] = actions::direct_response(rng),
        _ => actions::forward(rng, &mut rule),
    }
    let can_edit_host = rule["route"].is_array() && rule["rewrite"]["authority"].is_null();
    if one_in(rng, 3) {
        rule["headers"] = actions::operations(rng, "", can_edit_host);
    }
    policies::add(rng, &mut rule);
    rule
}
