//! The cost of regular expressions for long values that are chosen to be expensive: the router
//! compared with Envoy's routes, whose engine is RE2.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, any_host, wasm};
use sluice_progress::steps;

use crate::listener::{any, edge, ok, virtual_host};
use crate::results::Table;
use crate::samples::median;

/// Length of the value, in KiB. Envoy's limit for all headers of a request is 60.
const KIB: usize = 32;
const ROUNDS: usize = 5;
/// Length of a turn.
const TURN: Duration = Duration::from_millis(400);

/// The worst patterns that the filters accept, and some that look like them; the values repeat a
/// text.
const PATTERNS: [(&str, &str); 10] = [
    ("[a-z0-9]*", "a"),
    (".*Firefox.*", "Firefo"),
    ("(?i).*(android|iphone|ipad|mobile|tablet|kindle).*", "iphonipa"),
    (".*.*.*.*=.*", "a"),
    ("(x+x+)+y", "x"),
    ("(a{0,11}){0,11}.*b", "a"),
    ("((a?){50})*b", "a"),
    (".*a.{10}b", "random"),
    (".*a.{120}b", "a"),
    (".*a.{120}b", "random"),
];

fn value(text: &str) -> String {
    if text != "random" {
        return text.chars().cycle().take(KIB * 1024).collect();
    }
    // A linear congruential generator; its high bits are random enough to fill caches of states.
    let mut state = 2026_u32;
    let letters = (0..KIB * 1024).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { 'a' } else { 'b' }
    });
    letters.collect()
}

fn ours(pattern: &str) -> Value {
    let route = json!([{ "destination": { "host": "service" } }]);
    let document = any_host(json!([
        { "match": [{ "headers": { "x-value": { "regex": pattern } } }], "route": route },
        { "route": route },
    ]));
    edge(vec![wasm("router", "edge", &document.to_string())], any())
}

fn native(pattern: &str) -> Value {
    let matching = json!({ "safe_regex": { "regex": pattern } });
    let header = json!({ "name": "x-value", "string_match": matching });
    let routes =
        vec![ok(json!({ "prefix": "/", "headers": [header] })), ok(json!({ "prefix": "/" }))];
    edge(vec![], vec![virtual_host("any", &["*"], routes)])
}

/// Milliseconds of processor time for a request.
async fn cost(envoy: &Envoy, value: &str) -> f64 {
    let client = envoy.listener("edge");
    let mut connection = client.connect().await;
    let before = envoy.processor_time();
    let end = Instant::now() + TURN;
    let mut requests = 0u32;
    // At least as many that the clock of processor time is precise enough.
    while Instant::now() < end || requests < 3 {
        let response = connection.send(client.get("/").header("x-value", value)).await;
        assert_eq!(response.status, 200, "{}", response.text());
        requests += 1;
    }
    (envoy.processor_time() - before).as_secs_f64() * 1e3 / f64::from(requests)
}

async fn start(listener: Value) -> Envoy {
    // As Istio sets it; the default is 100.
    let runtime = json!({ "re2.max_program_size.error_level": 32_768 });
    Envoy::start(&Bootstrap::new().runtime(runtime).raw_listener(listener)).await
}

/// Measures, and returns the table.
pub async fn run() -> Vec<Table> {
    let title = "Regular expressions for a value of 32 KiB: microseconds for each KiB";
    let mut table = Table::new(title, &["router.wasm", "Envoy's RE2"]);
    for (pattern, text) in steps("patterns", "patterns", PATTERNS) {
        let value = value(text);
        // Without an expression: for the same header, with and without a module.
        let none = any_host(json!([{ "route": [{ "destination": { "host": "service" } }] }]));
        let none = edge(vec![wasm("router", "edge", &none.to_string())], any());
        let envoys = [
            start(none).await,
            start(ours(pattern)).await,
            start(edge(vec![], any())).await,
            start(native(pattern)).await,
        ];
        let mut rounds = [Vec::new(), Vec::new()];
        // The first round is a warm-up and is not counted.
        for round in 0..=ROUNDS {
            let mut costs = [0.0; 4];
            for (envoy, cost_of) in envoys.iter().zip(&mut costs) {
                *cost_of = cost(envoy, &value).await;
            }
            if round > 0 {
                rounds[0].push(costs[1] - costs[0]);
                rounds[1].push(costs[3] - costs[2]);
            }
        }
        let [ours, native] = rounds.map(|mut costs| median(&mut costs) * 1e3 / KIB as f64);
        let shown = pattern.replace('|', r"\|");
        table.row(&format!("`{shown}`, {text}"), &[ours, native], None);
    }
    vec![table]
}

#[cfg(test)]
mod tests {
    use sluice_policy::value::pattern::Pattern;

    use super::*;

    #[test]
    fn the_filters_accept_the_patterns() {
        for (pattern, _) in PATTERNS {
            assert!(Pattern::new(pattern).is_ok(), "{pattern}");
        }
    }
}
