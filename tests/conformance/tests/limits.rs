//! Inputs that are too large for a table, natively and as WebAssembly.

use sluice_policy::router::Router;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

fn notices(document: &str) -> Vec<String> {
    let (_, notices) = Router::compile(document.as_bytes(), &NoMetadata).unwrap();
    notices.iter().map(ToString::to_string).collect()
}

fn errors(document: &str) -> String {
    Router::compile(document.as_bytes(), &NoMetadata).unwrap_err().to_string()
}

/// A document with a direct response whose body has this number of bytes.
fn body(bytes: usize) -> String {
    let text = "x".repeat(bytes);
    let route =
        format!(r#"{{"directResponse": {{"status": 200, "body": {{"string": "{text}"}}}}}}"#);
    format!(r#"{{"virtualServices": [{{"hosts": ["example.com"], "http": [{route}]}}]}}"#)
}

/// Source: istio pkg/config/validation, validateHTTPDirectResponse
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn bodies_give_notices_from_100_kib_and_errors_above_1_mib() {
    const PATH: &str = "virtualServices[0].http[0].directResponse.body";
    assert!(notices(&body(100 << 10)).is_empty());
    let large = format!("{PATH}: has 102401 bytes, which every worker keeps in memory");
    assert_eq!(notices(&body((100 << 10) + 1)), [large]);
    assert_eq!(notices(&body(1 << 20)).len(), 1);
    assert_eq!(
        errors(&body((1 << 20) + 1)),
        format!("{PATH}: has 1048577 bytes; the limit is 1048576")
    );
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_document_that_is_nested_too_deeply_is_refused() {
    for (open, close) in [("[", "]"), (r#"{"virtualServices":"#, "}")] {
        let document = format!("{}0{}", open.repeat(100_000), close.repeat(100_000));
        assert!(errors(&document).contains("recursion limit exceeded"));
    }
}

/// A short pattern can require more memory than a module has.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_pattern_that_needs_too_much_memory_is_refused() {
    let route = r#"{"match": [{"uri": {"regex": "((a{100}){100}){100}"}}], "directResponse": {"status": 200}}"#;
    let document = format!(r#"{{"virtualServices": [{{"hosts": ["a.com"], "http": [{route}]}}]}}"#);
    let errors = errors(&document);
    assert!(errors.starts_with("virtualServices[0].http[0].match[0].uri.regex: "), "{errors}");
}
