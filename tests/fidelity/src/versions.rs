//! Requests that the versions of Envoy treat differently, natively and through the filters.

use serde_json::{Value, json};

use crate::case::{Case, name};
use crate::world::{Side, World};

/// A request as bytes, for a VirtualService whose first rule has one condition.
///
/// The outcomes are `match PATH` or `other PATH`, which say whether the first rule matches and what
/// path the upstream gets, or the status of a refusal.
pub struct Row {
    /// What the table calls it
    pub name: &'static str,
    /// The condition of the first rule
    pub condition: fn() -> Value,
    /// Method and target of the request
    pub line: &'static [u8],
    /// The value of the header `x-user`
    pub user: &'static [u8],
    /// The outcome natively, before Envoy 1.39 and since
    pub native: [&'static str; 2],
    /// The outcome through the filters, before Envoy 1.39 and since
    pub filtered: [&'static str; 2],
}

/// A row with the same outcome on all versions and sides.
const fn row(
    name: &'static str,
    condition: fn() -> Value,
    line: &'static [u8],
    outcome: &'static str,
) -> Row {
    let outcomes = [outcome; 2];
    Row { name, condition, line, user: b"", native: outcomes, filtered: outcomes }
}

/// A row about a regular expression, which Envoy applies to characters before 1.39.
const fn header(
    name: &'static str,
    condition: fn() -> Value,
    user: &'static [u8],
    native: [&'static str; 2],
) -> Row {
    let filtered = [native[1]; 2];
    Row { name, condition, line: b"GET /", user, native, filtered }
}

fn user(regex: &str) -> Value {
    json!({ "headers": { "x-user": { "regex": regex } } })
}

fn uri(regex: &str) -> Value {
    json!({ "uri": { "regex": regex } })
}

fn exact(path: &str) -> Value {
    json!({ "uri": { "exact": path } })
}

const PARAMETER_OF_DOTS: Row = Row {
    name: "/a/..;/b",
    condition: || exact("/b"),
    line: b"GET /a/..;/b",
    user: b"",
    native: ["other /a/..;/b", "match /b"],
    // Envoy normalizes the path before the filters see it.
    filtered: ["other /a/..;/b", "match /b"],
};

const NOT: [&str; 2] = ["match /", "other /"];
const NOW: [&str; 2] = ["other /", "match /"];

/// All rows.
pub const ROWS: [Row; 15] = [
    row("/a;x=1/b", || exact("/a;x=1/b"), b"GET /a;x=1/b", "match /a;x=1/b"),
    row("/a;/../b", || exact("/b"), b"GET /a;/../b", "match /b"),
    PARAMETER_OF_DOTS,
    row("/a/;/../b", || json!({ "uri": { "prefix": "/a/" } }), b"GET /a/;/../b", "match /a/b"),
    row("/a%3bb is not /a;b", || exact("/a;b"), b"GET /a%3bb", "other /a%3bb"),
    row("/a%3Bb", || exact("/a%3Bb"), b"GET /a%3Bb", "match /a%3Bb"),
    row("/a\\xc3\\xafb, /a.b", || uri("/a.b"), b"GET /a\xc3\xafb", "400"),
    row("/a\\xc3\\xafb, /a..b", || uri("/a..b"), b"GET /a\xc3\xafb", "400"),
    row("/a%C3%AFb, /a.{6}b", || uri("/a.{6}b"), b"GET /a%C3%AFb", "match /a%C3%AFb"),
    header("k\\xc3\\xafm, k.m", || user("k.m"), b"k\xc3\xafm", NOT),
    header("k\\xc3\\xafm, k.{1}m", || user("k.{1}m"), b"k\xc3\xafm", NOT),
    header("k\\xc3\\xafm, k.{2}m", || user("k.{2}m"), b"k\xc3\xafm", NOW),
    header("k\\xffm, k.m", || user("k.m"), b"k\xffm", NOW),
    header("k\\xffm, .*", || user(".*"), b"k\xffm", NOW),
    row("QUERY /", || json!({ "method": { "exact": "QUERY" } }), b"QUERY /", "400"),
];

/// Returns the outcome of each row on each side.
///
/// # Panics
/// If Envoy refuses the configuration.
pub async fn outcomes(sides: &[Side]) -> Vec<Vec<String>> {
    let rule = |name: &str, matched: Option<Value>| {
        let mut rule = json!({
            "headers": { "request": { "set": { "x-rule": name } } },
            "route": [{ "destination": { "host": "a" } }],
        });
        if let Some(condition) = matched {
            rule["match"] = json!([condition]);
        }
        rule
    };
    let case = |(number, row): (usize, &Row)| {
        let rules = [rule("match", Some((row.condition)())), rule("other", None)];
        Case { number, spec: json!({ "hosts": [name(number)], "http": rules }) }
    };
    let cases: Vec<_> = ROWS.iter().enumerate().map(case).collect();
    let world = World::start(&cases, sides).await;
    let world = world.unwrap_or_else(|log| panic!("Envoy refuses the configuration:\n{log}"));
    let mut all = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        let mut outcomes = Vec::new();
        for side in sides {
            let id = format!("{number}-{}", side.name());
            let mut bytes = [row.line, b" HTTP/1.1\r\nhost: "].concat();
            bytes.extend(name(number).as_bytes());
            bytes.extend(format!("\r\nconnection: close\r\nx-test-id: {id}\r\n").as_bytes());
            if !row.user.is_empty() {
                bytes.extend([b"x-user: ", row.user, b"\r\n"].concat());
            }
            bytes.extend(b"\r\n");
            let (response, arrival) = world.exchange(*side, &bytes, &id).await;
            outcomes.push(match arrival {
                Some(own) => format!("{} {}", own.headers["x-rule"].join(","), own.target),
                None => response.split(' ').nth(1).unwrap_or("no response").to_owned(),
            });
        }
        all.push(outcomes);
    }
    all
}
