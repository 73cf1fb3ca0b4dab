//! Cost of each filter per request that Envoy answers itself, compared with no filter, the minimum
//! cost of wasm, an equivalent script, and Envoy's native feature if there is one. Also the cost of
//! a chain of filters, and of the module that replaces the chain.

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Request, any_host, native, wasm};
use tempfile::TempDir;

use crate::floor::{self, Footprint};
use crate::listener::{any, edge, lua, native_fault, ok, virtual_host};
use crate::load::{Costs, Variant, costs, more};
use crate::results::Table;
use crate::samples::{median, quartiles};

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

/// Variants that were measured in the same rounds. The first one has no filter.
struct Measured {
    names: Vec<String>,
    costs: Vec<Costs>,
}

/// Starts an Envoy for each variant and measures them alternately.
async fn measure(ways: Vec<Way>) -> Measured {
    let mut variants = Vec::new();
    for (name, filters, virtual_hosts) in ways {
        let bootstrap = Bootstrap::new().raw_listener(edge(filters, virtual_hosts));
        let envoy = Envoy::start(&bootstrap).await;
        let client = envoy.listener("edge");
        variants.push(Variant { name: name.to_owned(), envoy, client, request });
    }
    let costs = costs(&variants).await;
    Measured { names: variants.into_iter().map(|variant| variant.name).collect(), costs }
}

impl Measured {
    /// Returns a table of the differences between each variant and the first one.
    fn table(&self, title: &str) -> Table {
        let mut table = Table::new(title, &["us of Envoy's processor time", "added", "quartiles"]);
        for (name, own) in self.names.iter().zip(&self.costs) {
            let (difference, quartiles) = more(own, &self.costs[0]);
            table.row(name, &[median(&mut own.clone()), difference], Some(quartiles));
        }
        table
    }

    /// Returns what each round of the variant `name` adds to the first variant.
    fn added(&self, name: &str) -> impl Iterator<Item = f64> {
        let place = self.names.iter().position(|own| own == name).expect("a variant");
        self.costs[place].iter().zip(&self.costs[0]).map(|(own, none)| own - none)
    }

    /// Adds a row with what the variant `own` adds, in multiples of what `router.wasm` adds.
    fn compare_with_router(&self, own: &str, name: &str, table: &mut Table) {
        let ratios = self.added(own).zip(self.added(ROUTER)).map(|(own, router)| own / router);
        let mut ratios: Vec<f64> = ratios.collect();
        table.row(name, &[median(&mut ratios)], Some(quartiles(&mut ratios)));
    }
}

const ROUTER: &str = "router.wasm";
const BUNDLE: &str = "sluice.wasm";
const CHAIN: &str = "fault.wasm, mirror.wasm and router.wasm";

/// Measures and returns the tables.
pub async fn run() -> Vec<Table> {
    let (router, fault) = (router().await, fault().await);
    let (mirror, chain) = (mirror().await, chain().await);
    let mut ratios = Table::new(
        "Added processor time in multiples of that of router.wasm with the same document",
        &["multiples", "quartiles"],
    );
    router.compare_with_router(BUNDLE, "sluice.wasm, routes only", &mut ratios);
    chain.compare_with_router(BUNDLE, "sluice.wasm, faults, mirrors and routes", &mut ratios);
    chain.compare_with_router(CHAIN, CHAIN, &mut ratios);
    vec![
        router.table("The router with ten rules, the last one matches"),
        fault.table("The fault filter with ten rules, the last one matches, no fault is drawn"),
        mirror.table(
            "The mirror filter with ten rules, the last one matches, every request is mirrored",
        ),
        chain.table("A chain of three filters"),
        ratios,
    ]
}

/// The minimum cost of a filter in a case of `tests/wasm`.
fn floor(filter: &str, case: &str) -> (TempDir, Value) {
    let (directory, path) = floor::module(&Footprint::of(filter, case));
    let module = wasm(path.to_str().expect("a path in UTF-8"), &format!("floor {filter}"), "{}");
    (directory, module)
}

async fn router() -> Measured {
    let (_directory, floor) = floor("router", "10 header rules, the last matches");
    let rules = document(&json!({}));
    let lua = script(
        |number| format!("\"service-{number}\""),
        "if value then headers:replace(\"x-sluice-cluster\", value) end",
    );
    let ways: Vec<Way> = vec![
        ("no filter", vec![], any()),
        ("floor of wasm", vec![floor], any()),
        (ROUTER, vec![wasm("router", "edge", &rules)], any()),
        (BUNDLE, vec![wasm("sluice", "edge", &rules)], any()),
        ("router of libsluice.so", vec![native("router", &rules)], any()),
        ("sluice of libsluice.so", vec![native("sluice", &rules)], any()),
        ("Lua", vec![lua], any()),
        ("Envoy's own routes", vec![], native_routes()),
    ];
    measure(ways).await
}

/// No fault is drawn, which is the case of nearly all requests.
async fn fault() -> Measured {
    let (_directory, floor) = floor("fault", "none");
    let abort = json!({ "abort": { "httpStatus": 503, "percentage": { "value": 0 } } });
    let rules = document(&json!({ "fault": abort }));
    let lua = script(
        |_| "0".to_owned(),
        "if value and math.random() < value then handle:respond({ [\":status\"] = \"503\" }, \"\") end",
    );
    let of_envoy = json!({
        "abort": { "http_status": 503, "percentage": { "numerator": 0 } },
        "headers": [{ "name": "x-rule", "string_match": { "exact": RULES.to_string() } }],
    });
    let ways: Vec<Way> = vec![
        ("no filter", vec![], any()),
        ("floor of wasm", vec![floor], any()),
        ("fault.wasm", vec![wasm("fault", "edge", &rules)], any()),
        ("fault of libsluice.so", vec![native("fault", &rules)], any()),
        ("Lua", vec![lua], any()),
        ("Envoy's own, one rule", vec![native_fault(of_envoy)], any()),
    ];
    measure(ways).await
}

async fn mirror() -> Measured {
    let (_directory, floor) = floor("mirror", "sampled");
    let mirror = json!({ "mirror": { "host": "copy" } });
    let rules = document(&mirror);
    let lua = script(
        |_| "\"copy\"".to_owned(),
        "if value then headers:replace(\"x-sluice-mirror-0\", value) end",
    );
    let ways: Vec<Way> = vec![
        ("no filter", vec![], any()),
        ("floor of wasm", vec![floor], any()),
        ("mirror.wasm", vec![wasm("mirror", "edge", &rules)], any()),
        ("mirror of libsluice.so", vec![native("mirror", &rules)], any()),
        ("Lua", vec![lua], any()),
    ];
    measure(ways).await
}

/// All filters with the same document, and the module that replaces them.
async fn chain() -> Measured {
    let all = document(&json!({
        "fault": { "abort": { "httpStatus": 503, "percentage": { "value": 0 } } },
        "mirror": { "host": "copy" },
    }));
    let filter = |name| wasm(name, "edge", &all);
    let (_router, router) = floor("router", "10 header rules, the last matches");
    let (_fault, fault) = floor("fault", "none");
    let (_mirror, mirror) = floor("mirror", "sampled");
    let (_bundle, bundle) = floor("sluice", "all parts");
    let ways: Vec<Way> = vec![
        ("no filter", vec![], any()),
        ("the floors of all three", vec![fault, mirror, router], any()),
        ("the floor of sluice.wasm", vec![bundle], any()),
        (ROUTER, vec![filter("router")], any()),
        ("fault.wasm", vec![filter("fault")], any()),
        ("mirror.wasm", vec![filter("mirror")], any()),
        (BUNDLE, vec![filter("sluice")], any()),
        (CHAIN, vec![filter("fault"), filter("mirror"), filter("router")], any()),
        ("router of libsluice.so", vec![native("router", &all)], any()),
        ("sluice of libsluice.so", vec![native("sluice", &all)], any()),
        (
            "a chain of libsluice.so",
            ["fault", "mirror", "router"].map(|name| native(name, &all)).into(),
            any(),
        ),
    ];
    measure(ways).await
}
