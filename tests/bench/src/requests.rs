//! Cost of each filter per request that Envoy answers itself, compared with no filter, the minimum
//! cost of wasm, an equivalent script, and Envoy's native feature if there is one. Also the cost of
//! a chain of filters.

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Request, any_host, wasm};
use tempfile::TempDir;

use crate::floor::{self, Footprint};
use crate::listener::{any, edge, lua, native_fault, ok, virtual_host};
use crate::load::{Costs, Variant, costs, more};
use crate::results::Table;
use crate::samples::median;

/// Rules of each filter. The last one matches.
const RULES: usize = 10;

/// A variant: its name in the table, its filters and Envoy's routes.
type Way = (&'static str, Vec<Value>, Vec<Value>);

fn request(client: &Client) -> Request {
    client
        .get("/payment/balance/query?id=1")
        .header("user-agent", "sluice-bench")
        .header("accept", "*/*")
        .header("x-request-id", "6f1a2a0e-0d4f-4d9c-9a50-6a3a9a3f6d51")
        .header("x-rule", RULES.to_string())
}

fn rule(number: usize) -> Value {
    json!({
        "match": [{ "headers": { "x-rule": { "exact": number.to_string() } } }],
        "route": [{ "destination": { "host": format!("service-{number}") } }],
    })
}

/// Returns the rules, each with these additional fields.
fn document(fields: &Value) -> String {
    let rule = |number| {
        let mut rule = rule(number);
        for (name, value) in fields.as_object().into_iter().flatten() {
            rule[name] = value.clone();
        }
        rule
    };
    any_host((1..=RULES).map(rule).collect()).to_string()
}

fn native_routes() -> Vec<Value> {
    let route = |number: usize| {
        ok(json!({
            "prefix": "/",
            "headers": [{ "name": "x-rule", "string_match": { "exact": number.to_string() } }],
        }))
    };
    vec![virtual_host("any", &["*"], (1..=RULES).map(route).collect())]
}

/// A script that finds the rule and applies `action` to it.
fn script(value: impl Fn(usize) -> String, action: &str) -> Value {
    let rules: Vec<_> =
        (1..=RULES).map(|number| format!("[\"{number}\"] = {}", value(number))).collect();
    lua(&format!(
        "local rules = {{ {} }}\n\
         function envoy_on_request(handle)\n\
           local headers = handle:headers()\n\
           local rule = headers:get(\"x-rule\")\n\
           local value = rule and rules[rule]\n\
           {action}\n\
         end\n",
        rules.join(", ")
    ))
}

/// Starts an Envoy for each variant and measures them alternately.
async fn measure(ways: Vec<Way>) -> (Vec<String>, Vec<Costs>) {
    let mut variants = Vec::new();
    for (name, filters, virtual_hosts) in ways {
        let bootstrap = Bootstrap::new().raw_listener(edge(filters, virtual_hosts));
        let envoy = Envoy::start(&bootstrap).await;
        let client = envoy.listener("edge");
        variants.push(Variant { name: name.to_owned(), envoy, client, request });
    }
    let costs = costs(&variants).await;
    (variants.into_iter().map(|variant| variant.name).collect(), costs)
}

/// Returns a table of the differences between each variant and the first one.
async fn table(title: &str, ways: Vec<Way>) -> Table {
    let (names, costs) = measure(ways).await;
    let mut table = Table::new(title, &["us of Envoy's processor time", "added", "quartiles"]);
    for (name, own) in names.iter().zip(&costs) {
        let (difference, quartiles) = more(own, &costs[0]);
        table.row(name, &[median(&mut own.clone()), difference], Some(quartiles));
    }
    table
}

/// Measures and returns the tables.
pub async fn run() -> Vec<Table> {
    vec![router().await, fault().await, mirror().await, chain().await]
}

/// The minimum cost of a filter in a case of `tests/wasm`.
fn floor(filter: &str, case: &str) -> (TempDir, Value) {
    let (directory, path) = floor::module(&Footprint::of(filter, case));
    let module = wasm(path.to_str().expect("a path in UTF-8"), &format!("floor {filter}"), "{}");
    (directory, module)
}

async fn router() -> Table {
    let (_directory, floor) = floor("router", "10 header rules, the last matches");
    let ours = wasm("router", "edge", &document(&json!({})));
    let lua = script(
        |number| format!("\"service-{number}\""),
        "if value then headers:replace(\"x-sluice-cluster\", value) end",
    );
    let ways: Vec<Way> = vec![
        ("no filter", vec![], any()),
        ("floor of wasm", vec![floor], any()),
        ("router.wasm", vec![ours], any()),
        ("Lua", vec![lua], any()),
        ("Envoy's own routes", vec![], native_routes()),
    ];
    table("The router with ten rules, the last one matches", ways).await
}

/// No fault is drawn, which is the case of nearly all requests.
async fn fault() -> Table {
    let (_directory, floor) = floor("fault", "none");
    let abort = json!({ "abort": { "httpStatus": 503, "percentage": { "value": 0 } } });
    let ours = wasm("fault", "edge", &document(&json!({ "fault": abort })));
    let lua = script(
        |_| "0".to_owned(),
        "if value and math.random() < value then handle:respond({ [\":status\"] = \"503\" }, \"\") end",
    );
    let native = json!({
        "abort": { "http_status": 503, "percentage": { "numerator": 0 } },
        "headers": [{ "name": "x-rule", "string_match": { "exact": RULES.to_string() } }],
    });
    let ways: Vec<Way> = vec![
        ("no filter", vec![], any()),
        ("floor of wasm", vec![floor], any()),
        ("fault.wasm", vec![ours], any()),
        ("Lua", vec![lua], any()),
        ("Envoy's own, one rule", vec![native_fault(native)], any()),
    ];
    table("The fault filter with ten rules, the last one matches, no fault is drawn", ways).await
}

async fn mirror() -> Table {
    let (_directory, floor) = floor("mirror", "sampled");
    let mirror = json!({ "mirror": { "host": "copy" } });
    let ours = wasm("mirror", "edge", &document(&mirror));
    let lua = script(
        |_| "\"copy\"".to_owned(),
        "if value then headers:replace(\"x-sluice-mirror-0\", value) end",
    );
    let ways: Vec<Way> = vec![
        ("no filter", vec![], any()),
        ("floor of wasm", vec![floor], any()),
        ("mirror.wasm", vec![ours], any()),
        ("Lua", vec![lua], any()),
    ];
    table("The mirror filter with ten rules, the last one matches, every request is mirrored", ways)
        .await
}

/// All filters with the same document, as in a proxy.
async fn chain() -> Table {
    let all = document(&json!({
        "fault": { "abort": { "httpStatus": 503, "percentage": { "value": 0 } } },
        "mirror": { "host": "copy" },
    }));
    let filter = |name| wasm(name, "edge", &all);
    let (_router, router) = floor("router", "10 header rules, the last matches");
    let (_fault, fault) = floor("fault", "none");
    let (_mirror, mirror) = floor("mirror", "sampled");
    let ways: Vec<Way> = vec![
        ("no filter", vec![], any()),
        ("the floors of all three", vec![fault, mirror, router], any()),
        ("router.wasm", vec![filter("router")], any()),
        ("fault.wasm", vec![filter("fault")], any()),
        ("mirror.wasm", vec![filter("mirror")], any()),
        (
            "fault.wasm, mirror.wasm and router.wasm",
            vec![filter("fault"), filter("mirror"), filter("router")],
            any(),
        ),
    ];
    table("A chain of three filters", ways).await
}
