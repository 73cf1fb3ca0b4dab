//! The cases of `sluice.wasm`, and of the modules that it replaces with the same documents.

use serde_json::{Value, json};

use crate::cases::{Case, exchange, header_rules, http, routes};

/// The document of the cases of all parts.
const PARTS: &str = "all parts";

/// The counters that show that a part carries out the document.
const FORWARDED: &str = "sluice.router.forwarded";
const DELAYED: &str = "sluice.fault.delays_injected";
const MIRRORED: &str = "sluice.mirror.mirrored";

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let user = [("end-user", "user-9")];
    let stream = || exchange("/", &user, "200");
    let split = json!([{ "route": [
        { "destination": { "host": "reviews", "subset": "v1" }, "weight": 90 },
        { "destination": { "host": "reviews", "subset": "v2" }, "weight": 10 },
    ] }]);
    let mut cases = vec![
        http("sluice", "10 header rules, the last matches", header_rules(10), stream(), FORWARDED),
        http(
            "sluice",
            "split",
            routes(split),
            exchange("/", &[("end-user", "user-7")], "200"),
            FORWARDED,
        ),
        http("sluice", PARTS, parts(), stream(), MIRRORED),
        http("sluice", "all parts, a delay", delayed(), stream(), DELAYED),
        http("sluice", "all parts and egress", with_egress(), stream(), "sluice.egress.known"),
    ];
    for (module, counter) in [("router", FORWARDED), ("mirror", MIRRORED), ("fault", DELAYED)] {
        let mut case = http(module, PARTS, parts(), stream(), counter);
        // No request is selected for the delay.
        case.counts = module != "fault";
        cases.push(case);
    }
    cases
}

/// Ten rules, of which the last has a fault that is not drawn, a mirror and a destination.
fn parts() -> Value {
    let mut document = header_rules(10);
    document["virtualServices"][0]["http"][9]["fault"] =
        json!({ "delay": { "fixedDelay": "2s", "percentage": { "value": 0 } } });
    document["virtualServices"][0]["http"][9]["mirror"] =
        json!({ "host": "reviews", "subset": "v2" });
    document
}

fn delayed() -> Value {
    let mut document = parts();
    let delay = json!({ "fixedDelay": "2s", "percentage": { "value": 100 } });
    document["virtualServices"][0]["http"][9]["fault"]["delay"] = delay;
    document
}

fn with_egress() -> Value {
    let mut document = parts();
    document["outboundTrafficPolicy"] = json!({ "mode": "REGISTRY_ONLY" });
    document["serviceEntries"] = json!([{
        "hosts": ["shop.example.com"],
        "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
        "resolution": "DNS",
    }]);
    document
}
