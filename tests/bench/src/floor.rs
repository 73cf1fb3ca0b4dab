//! The minimum cost of wasm in Envoy: a module with the same callbacks and host calls as another
//! one, and no other code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use sluice_e2e::workspace;
use tempfile::TempDir;

/// Callbacks and host calls of a module per request.
#[derive(Default)]
pub struct Footprint {
    /// Number of calls per host function in the callback for request headers
    pub calls: BTreeMap<String, usize>,
    /// Exported callbacks other than those of every module
    pub callbacks: Vec<String>,
}

impl Footprint {
    /// Reads the footprint of a filter in one of the cases of `tests/wasm`.
    ///
    /// # Panics
    /// If there is no such case.
    pub fn of(filter: &str, case: &str) -> Self {
        let costs = counted("costs.json");
        let calls = &costs[format!("{filter}: {case}")]["calls"];
        let calls = calls.as_object().unwrap_or_else(|| panic!("{filter} has no case {case}"));
        // The table contains the counts of a hundred streams.
        let per_stream = |count: &Value| (count.as_u64().unwrap_or(0) / 100) as usize;
        let calls = calls.iter().map(|(name, count)| (name.clone(), per_stream(count)));
        let exports = counted("interfaces.json")[filter]["exports"].clone();
        let exports = exports.as_array().cloned().unwrap_or_default();
        // Every module exports these.
        let own = text(&Self::default());
        let is_more = |name: &&str| {
            name.starts_with("proxy_on_") && !own.contains(&format!("(export \"{name}\")"))
        };
        let callbacks = exports.iter().filter_map(Value::as_str).filter(is_more);
        Self { callbacks: callbacks.map(str::to_owned).collect(), calls: calls.collect() }
    }
}

fn counted(file: &str) -> Value {
    let path = workspace().join("tests/wasm").join(file);
    let text = std::fs::read_to_string(&path).expect("the counts of tests/wasm");
    serde_json::from_str(&text).expect("JSON")
}

/// A host function: its parameters, all `i32` but those of `MetricDelta`, and a call that succeeds.
struct HostFunction {
    name: &'static str,
    signature: &'static str,
    call: &'static str,
}

/// Memory from 0 to 16 is for results. Names lie as `DATA` says; metric 0 was defined when the
/// module was configured.
const HOST_FUNCTIONS: &[HostFunction] = &[
    HostFunction {
        name: "proxy_get_header_map_pairs",
        signature: "(param i32 i32 i32) (result i32)",
        call: "(i32.const 0) (i32.const 0) (i32.const 4)",
    },
    HostFunction {
        name: "proxy_get_header_map_value",
        signature: "(param i32 i32 i32 i32 i32) (result i32)",
        call: "(i32.const 0) (i32.const 16) (i32.const 6) (i32.const 0) (i32.const 4)",
    },
    HostFunction {
        name: "proxy_replace_header_map_value",
        signature: "(param i32 i32 i32 i32 i32) (result i32)",
        call: "(i32.const 0) (i32.const 32) (i32.const 16) (i32.const 48) (i32.const 7)",
    },
    HostFunction {
        name: "proxy_add_header_map_value",
        signature: "(param i32 i32 i32 i32 i32) (result i32)",
        call: "(i32.const 0) (i32.const 32) (i32.const 16) (i32.const 48) (i32.const 7)",
    },
    HostFunction {
        name: "proxy_remove_header_map_value",
        signature: "(param i32 i32 i32) (result i32)",
        call: "(i32.const 0) (i32.const 32) (i32.const 16)",
    },
    HostFunction {
        name: "proxy_get_property",
        signature: "(param i32 i32 i32 i32) (result i32)",
        call: "(i32.const 64) (i32.const 14) (i32.const 0) (i32.const 4)",
    },
    HostFunction {
        name: "proxy_set_property",
        signature: "(param i32 i32 i32 i32) (result i32)",
        call: "(i32.const 80) (i32.const 12) (i32.const 48) (i32.const 7)",
    },
    HostFunction {
        name: "proxy_increment_metric",
        signature: "(param i32 i64) (result i32)",
        call: "(i32.load (i32.const 8)) (i64.const 1)",
    },
    HostFunction {
        name: "proxy_get_current_time_nanoseconds",
        signature: "(param i32) (result i32)",
        call: "(i32.const 0)",
    },
];

const DATA: &str = r#"
  (data (i32.const 16) "x-rule")
  (data (i32.const 32) "x-sluice-cluster")
  (data (i32.const 48) "primary")
  (data (i32.const 64) "source\00address")
  (data (i32.const 80) "sluice.route")
  (data (i32.const 96) "floor")"#;

/// Writes the module to a new directory.
///
/// # Panics
/// If it does not support a call or a callback.
pub fn module(footprint: &Footprint) -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a folder for temporary files");
    let path = directory.path().join("floor.wasm");
    let module = wat::parse_str(text(footprint)).expect("a module");
    std::fs::write(&path, module).expect("a file in it");
    (directory, path)
}

fn text(footprint: &Footprint) -> String {
    let mut imports = String::new();
    let mut body = String::new();
    for (name, count) in &footprint.calls {
        let known = HOST_FUNCTIONS.iter().find(|function| function.name == name);
        let Some(HostFunction { name, signature, call }) = known else {
            panic!("the floor cannot call {name}");
        };
        let _ = writeln!(imports, "  (import \"env\" \"{name}\" (func ${name} {signature}))");
        for _ in 0..*count {
            let _ = writeln!(body, "    (drop (call ${name} {call}))");
        }
    }
    let mut callbacks = String::new();
    for name in &footprint.callbacks {
        let (parameters, result) = match name.as_str() {
            "proxy_on_log" | "proxy_on_tick" => ("(param i32)", ""),
            "proxy_on_done" => ("(param i32) (result i32)", "(i32.const 1)"),
            "proxy_on_request_trailers" | "proxy_on_response_trailers" => {
                ("(param i32 i32) (result i32)", "(i32.const 0)")
            }
            "proxy_on_response_headers" | "proxy_on_request_body" | "proxy_on_response_body" => {
                ("(param i32 i32 i32) (result i32)", "(i32.const 0)")
            }
            "proxy_on_http_call_response" => ("(param i32 i32 i32 i32 i32)", ""),
            _ => panic!("the floor cannot have {name}"),
        };
        let _ = writeln!(callbacks, "  (func (export \"{name}\") {parameters} {result})");
    }
    format!(
        r#"(module
{imports}  (import "env" "proxy_define_metric"
    (func $define_metric (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2){DATA}
  (global $next (mut i32) (i32.const 65536))
  (func (export "proxy_abi_version_0_2_1"))
  ;; Memory is given out in a circle.
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $place i32)
    (if (i32.gt_u (i32.add (global.get $next) (local.get $size)) (i32.const 131072))
      (then (global.set $next (i32.const 65536))))
    (local.set $place (global.get $next))
    (global.set $next
      (i32.and (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $place))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $define_metric (i32.const 0) (i32.const 96) (i32.const 5) (i32.const 8)))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
{body}    (i32.const 0))
{callbacks}  (func (export "proxy_on_delete") (param i32)))
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_function_can_be_called() {
        let calls = HOST_FUNCTIONS.iter().map(|function| (function.name.to_owned(), 2)).collect();
        let callbacks = ["proxy_on_response_headers", "proxy_on_response_trailers", "proxy_on_log"];
        let callbacks = callbacks.map(str::to_owned).to_vec();
        wat::parse_str(text(&Footprint { calls, callbacks })).unwrap();
    }

    #[test]
    fn filters_have_a_floor() {
        for (filter, case) in [
            ("router", "10 header rules, the last matches"),
            ("fault", "none"),
            ("mirror", "sampled"),
        ] {
            let footprint = Footprint::of(filter, case);
            assert_eq!(footprint.calls.get("proxy_get_header_map_pairs"), Some(&1), "{filter}");
            wat::parse_str(text(&footprint)).unwrap();
        }
    }

    #[test]
    #[should_panic(expected = "the floor cannot call proxy_no_such_call")]
    fn unknown_calls_are_reported() {
        let calls = BTreeMap::from([("proxy_no_such_call".to_owned(), 1)]);
        text(&Footprint { calls, callbacks: Vec::new() });
    }
}
