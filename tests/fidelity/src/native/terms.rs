//! Names and values as istiod writes them.

use serde_json::Value;

/// The type of a filter's configuration.
pub fn extension(name: &str, kind: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.filters.http.{name}.v3.{kind}")
}

/// The cluster of a destination, by the names of this test.
pub fn cluster(destination: &Value) -> String {
    let host = destination["host"].as_str().unwrap_or_default();
    match destination["subset"].as_str() {
        Some(subset) => format!("{host}-{subset}"),
        None => host.to_owned(),
    }
}

/// A duration in protobuf's JSON, in seconds.
pub fn seconds(text: &str) -> String {
    let of = |number: &str, unit: f64| number.parse::<f64>().expect("a number") * unit;
    let seconds = if let Some(number) = text.strip_suffix("ms") {
        of(number, 0.001)
    } else if let Some(number) = text.strip_suffix('h') {
        of(number, 3600.0)
    } else {
        of(text.strip_suffix('s').expect("a unit"), 1.0)
    };
    format!("{seconds}s")
}
