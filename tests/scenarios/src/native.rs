//! An Envoy configuration with the dynamic module in place of wasm modules.

use serde_yaml_ng::{Mapping, Value};
use sluice_e2e::{NATIVE, bootstrap_extensions};

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const MODULE: &str =
    "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter";

/// Returns an Envoy configuration in which `libsluice.so` has the HTTP filters that it contains,
/// and its extension, by which they send requests. Other filters and those of clusters stay as they
/// are.
///
/// # Errors
/// The text is not YAML, or no filter is replaced.
pub fn attach(configuration: &str) -> Result<String, String> {
    let mut value: Value =
        serde_yaml_ng::from_str(configuration).map_err(|error| error.to_string())?;
    value.apply_merge().map_err(|error| error.to_string())?;
    let mut count = 0;
    if let Some(listeners) =
        value.get_mut("static_resources").and_then(|own| own.get_mut("listeners"))
    {
        replace_all(listeners, &mut count);
    }
    if count == 0 {
        return Err("the configuration has no HTTP filter that libsluice.so contains".to_owned());
    }
    let extensions = serde_yaml_ng::to_value(bootstrap_extensions());
    if let Value::Mapping(fields) = &mut value {
        let name = Value::String("bootstrap_extensions".to_owned());
        fields.insert(name, extensions.map_err(|error| error.to_string())?);
    }
    serde_yaml_ng::to_string(&value).map_err(|error| error.to_string())
}

/// Replaces all filters in a part of a configuration, and counts them.
fn replace_all(value: &mut Value, count: &mut usize) {
    match value {
        Value::Mapping(fields) => match replacement(fields) {
            Some(filter) => {
                *value = filter;
                *count += 1;
            }
            None => fields.values_mut().for_each(|field| replace_all(field, count)),
        },
        Value::Sequence(elements) => {
            elements.iter_mut().for_each(|element| replace_all(element, count));
        }
        _ => {}
    }
}

/// Returns what replaces the `typed_config` of a filter.
fn replacement(typed_config: &Mapping) -> Option<Value> {
    if typed_config.get("@type")?.as_str()? != WASM {
        return None;
    }
    let config = typed_config.get("config")?;
    let file = config.get("vm_config")?.get("code")?.get("local")?.get("filename")?.as_str()?;
    let name = file.rsplit('/').next()?.strip_suffix(".wasm")?;
    if !NATIVE.contains(&name) {
        return None;
    }
    let text = |text: &str| Value::String(text.to_owned());
    let module = Mapping::from_iter([
        (text("name"), text("sluice")),
        (text("metrics_namespace"), text("wasmcustom")),
    ]);
    Some(Value::Mapping(Mapping::from_iter([
        (text("@type"), text(MODULE)),
        (text("dynamic_module_config"), Value::Mapping(module)),
        (text("filter_name"), text(name)),
        (text("filter_config"), config.get("configuration")?.clone()),
    ])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_filters_of_listeners_are_replaced() {
        let filter = |name: &str| {
            format!(
                "{{typed_config: {{\"@type\": {WASM}, config: {{configuration: &d {{a: 1}}, \
                 vm_config: {{code: {{local: {{filename: dist/{name}.wasm}}}}}}}}}}}}"
            )
        };
        let configuration = |listener: &str, cluster: &str| {
            format!(
                "static_resources: {{listeners: [{{filters: [{}]}}], clusters: [{}]}}",
                filter(listener),
                filter(cluster)
            )
        };
        let attached = attach(&configuration("router", "router")).unwrap();
        assert_eq!(attached.matches(MODULE).count(), 1, "{attached}");
        assert_eq!(attached.matches(WASM).count(), 1, "{attached}");
        assert!(attached.contains("filter_name: router"), "{attached}");
        assert!(attached.contains("extension_name: calls"), "{attached}");
        assert!(attach(&configuration("outlier", "router")).is_err());
        assert!(attach("{").is_err());
    }
}
