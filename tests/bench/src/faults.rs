//! The same fault in Envoy's own filter and in ours.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_e2e::{Listener, any_host};

/// The filter that delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `envoy.filters.http.fault`
    Native,
    /// `fault.wasm`
    Wasm,
    /// The fault filter of `libsluice.so`
    Module,
}

/// The header of requests to delay.
pub const DELAYED: &str = "x-delayed";

impl Filter {
    /// Envoy's own filter, and the wasm module.
    pub const PAIR: [Self; 2] = [Self::Native, Self::Wasm];

    /// The name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Wasm => "wasm",
            Self::Module => "libsluice.so",
        }
    }

    /// A listener called `name` where this filter delays every request with the header [`DELAYED`],
    /// and Envoy's route then answers all requests.
    pub fn listener(self, name: &str, delay: Duration) -> Listener {
        let listener = Listener::new(name).direct_response();
        let seconds = format!("{}s", delay.as_secs_f64());
        match self {
            Self::Native => listener.envoy_fault(native(&seconds)),
            Self::Wasm => listener.fault(&virtual_service(&seconds)),
            Self::Module => listener.fault(&virtual_service(&seconds)).native(),
        }
    }

    /// Name of the gauge of waiting requests, for the listener called `name`.
    pub fn gauge(self, name: &str) -> String {
        match self {
            Self::Native => format!("http.{name}.fault.active_faults"),
            Self::Wasm | Self::Module => "wasmcustom.sluice.fault.active_faults".to_owned(),
        }
    }
}

fn native(seconds: &str) -> Value {
    json!({
        "delay": { "fixed_delay": seconds, "percentage": { "numerator": 100 } },
        "headers": [{ "name": DELAYED, "present_match": true }],
    })
}

fn virtual_service(seconds: &str) -> Value {
    let route = json!([{ "destination": { "host": "service" } }]);
    any_host(json!([
        {
            "match": [{ "headers": { DELAYED: {} } }],
            "fault": { "delay": { "fixedDelay": seconds, "percentage": { "value": 100 } } },
            "route": route,
        },
        { "route": route },
    ]))
}
