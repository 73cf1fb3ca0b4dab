//! Cost of a request by the number of rules: the router compared with Envoy's routes. The last rule
//! matches.

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Request, any_host, native, wasm};

use crate::listener::{any, edge, ok, virtual_host};
use crate::load::{Variant, costs, more};
use crate::plot;
use crate::results::Table;

/// Kind of match of the rules.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Header,
    Prefix,
    Host,
    Regex,
}

/// Envoy uses about 20 kB for each regular expression, and tries them in order.
const REGEX_LIMIT: usize = 10_000;
const COUNTS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
const LAST: usize = 1_000_000;

impl Kind {
    const ALL: [Self; 4] = [Self::Header, Self::Prefix, Self::Host, Self::Regex];

    fn name(self) -> &'static str {
        match self {
            Self::Header => "exact header",
            Self::Prefix => "path prefix",
            Self::Host => "host",
            Self::Regex => "path by regular expression",
        }
    }

    /// Matches the last rule.
    fn request(self) -> fn(&Client) -> Request {
        match self {
            Self::Header => |client| client.get("/").header("x-rule", LAST.to_string()),
            Self::Prefix => |client| client.get(&format!("/service-{LAST}/status")),
            Self::Host => |client| client.get("/").host(&format!("host-{LAST}.example.com")),
            Self::Regex => |client| client.get(&format!("/item-{LAST}/42")),
        }
    }

    fn document(self, count: usize) -> Value {
        let route = json!([{ "destination": { "host": "service" } }]);
        let rule = |matching: Value| json!({ "match": [matching], "route": route });
        match self {
            Self::Header => any_host(numbers(count, |number| {
                rule(json!({ "headers": { "x-rule": { "exact": number.to_string() } } }))
            })),
            Self::Prefix => any_host(numbers(count, |number| {
                rule(json!({ "uri": { "prefix": format!("/service-{number}/") } }))
            })),
            Self::Regex => any_host(numbers(count, |number| {
                rule(json!({ "uri": { "regex": format!("/item-{number}/[0-9]+") } }))
            })),
            Self::Host => {
                let host = |number| {
                    json!({
                        "hosts": [format!("host-{number}.example.com")],
                        "http": [{ "route": route }],
                    })
                };
                json!({ "clusterName": "{host}", "virtualServices": numbers(count, host) })
            }
        }
    }

    fn native(self, count: usize) -> Vec<Value> {
        let routes = |rule: fn(usize) -> Value| {
            let routes = numbers(count, |number| ok(rule(number)));
            vec![virtual_host("any", &["*"], routes.as_array().cloned().unwrap_or_default())]
        };
        match self {
            Self::Header => routes(|number| {
                let exact = json!({ "exact": number.to_string() });
                json!({ "prefix": "/", "headers": [{ "name": "x-rule", "string_match": exact }] })
            }),
            Self::Prefix => routes(|number| json!({ "prefix": format!("/service-{number}/") })),
            Self::Regex => routes(
                |number| json!({ "safe_regex": { "regex": format!("/item-{number}/[0-9]+") } }),
            ),
            Self::Host => {
                let hosts = numbers(count, |number| {
                    let domain = format!("host-{number}.example.com");
                    virtual_host(&domain, &[&domain], vec![ok(json!({ "prefix": "/" }))])
                });
                hosts.as_array().cloned().unwrap_or_default()
            }
        }
    }
}

/// Returns the value of each rule. The last rule always has the same number, so that the request
/// does not change.
fn numbers(count: usize, value: impl Fn(usize) -> Value) -> Value {
    (1..count).chain([LAST]).map(value).collect()
}

async fn variant(name: String, request: fn(&Client) -> Request, listener: Value) -> Variant {
    let envoy = Envoy::start(&Bootstrap::new().raw_listener(listener)).await;
    let client = envoy.listener("edge");
    Variant { name, envoy, client, request }
}

/// Measures, and returns the tables; the plots go beside them.
pub async fn run() -> Vec<Table> {
    let mut tables = Vec::new();
    for kind in Kind::ALL {
        tables.push(measure(kind).await);
    }
    tables
}

/// The variants for each number of rules.
const NAMES: [&str; 3] = ["router.wasm", "router of libsluice.so", "Envoy's own"];

async fn measure(kind: Kind) -> Table {
    let limit = if matches!(kind, Kind::Regex) { REGEX_LIMIT } else { usize::MAX };
    let counts: Vec<_> = COUNTS.into_iter().filter(|count| *count <= limit).collect();
    let request = kind.request();
    let mut variants = vec![variant("no filter".to_owned(), request, edge(vec![], any())).await];
    for count in &counts {
        let module = wasm("router", "edge", &kind.document(*count).to_string());
        let ours = edge(vec![module], any());
        variants.push(variant(format!("router.wasm, {count}"), request, ours).await);
        let module = native("router", &kind.document(*count).to_string());
        let ours = edge(vec![module], any());
        variants.push(variant(format!("router of libsluice.so, {count}"), request, ours).await);
        let native = edge(vec![], kind.native(*count));
        variants.push(variant(format!("Envoy's own, {count}"), request, native).await);
    }
    let costs = costs(&variants).await;
    let title = format!("Rules by {}: what is added to a request", kind.name());
    let mut table = Table::new(&title, &NAMES).comparing(0);
    let mut series = NAMES.map(|_| Vec::new());
    for (count, ways) in counts.iter().zip(costs[1..].chunks_exact(NAMES.len())) {
        let added: Vec<_> = ways.iter().map(|own| more(own, &costs[0]).0).collect();
        table.row(&count.to_string(), &added, None);
        for (series, added) in series.iter_mut().zip(&added) {
            series.push((*count as f64, *added));
        }
    }
    plot::write(kind.name(), &NAMES, &series);
    table
}
