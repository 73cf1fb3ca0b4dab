//! Faults of VirtualServices for requests that a workload receives.

use fastrand::Rng;
use serde_json::{Value, json};

use super::{one_in, pick};

/// Adds faults to the routes of a VirtualService that forward.
pub fn add_faults(rng: &mut Rng, spec: &mut Value) {
    let routes = spec["http"].as_array_mut().into_iter().flatten();
    for route in routes.filter(|route| route["route"].is_array()) {
        if one_in(rng, 3) {
            route["fault"]["delay"] = json!({
                "fixedDelay": "220ms",
                "percentage": { "value": pick(rng, &[0, 100, 100]) },
            });
        }
        if one_in(rng, 3) {
            route["fault"]["abort"] = json!({
                "httpStatus": pick(rng, &[400, 404, 418, 503]),
                "percentage": { "value": pick(rng, &[0, 100, 100]) },
            });
        }
    }
}
