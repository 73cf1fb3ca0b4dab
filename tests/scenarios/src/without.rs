//! Envoy's configuration without one of the filters.

use std::collections::BTreeSet;

use serde_json::Value;

/// Returns the names in `dist/` of the modules that a configuration loads.
pub fn filters(configuration: &str) -> BTreeSet<String> {
    fn visit(value: &Value, found: &mut BTreeSet<String>) {
        found.extend(filter(value).map(str::to_owned));
        match value {
            Value::Array(values) => values.iter().for_each(|value| visit(value, found)),
            Value::Object(fields) => fields.values().for_each(|value| visit(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    visit(&parse(configuration), &mut found);
    found
}

/// Returns the configuration as JSON, without the list entries that load this module.
pub fn without(configuration: &str, name: &str) -> String {
    fn visit(value: &mut Value, name: &str) {
        match value {
            Value::Array(values) => {
                values.retain(|value| filter(value) != Some(name));
                values.iter_mut().for_each(|value| visit(value, name));
            }
            Value::Object(fields) => fields.values_mut().for_each(|value| visit(value, name)),
            _ => {}
        }
    }
    let mut configuration = parse(configuration);
    visit(&mut configuration, name);
    configuration.to_string()
}

/// Returns the module that an HTTP filter, network filter or filter in a cluster loads.
fn filter(value: &Value) -> Option<&str> {
    let file = &value["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"];
    file.as_str()?.rsplit('/').next()?.strip_suffix(".wasm")
}

/// Resolves anchors, because a filter may contain the anchor of another one's configuration.
fn parse(configuration: &str) -> Value {
    serde_yaml_ng::from_str(configuration).expect("YAML")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "
        http_filters:
        - name: a
          typed_config:
            config:
              vm_config: {code: {local: {filename: dist/fault.wasm}}}
              configuration: &document {value: {x: 1}}
        - name: b
          typed_config:
            config:
              vm_config: {code: {local: {filename: /else/where/router.wasm}}}
              configuration: *document
        - name: envoy.filters.http.router
    ";

    #[test]
    fn a_removed_filter_does_not_change_the_others() {
        let names = |configuration: &str| filters(configuration).into_iter().collect::<Vec<_>>();
        assert_eq!(names(CONFIGURATION), ["fault", "router"]);
        let less = without(CONFIGURATION, "fault");
        assert_eq!(names(&less), ["router"]);
        let less: Value = serde_json::from_str(&less).unwrap();
        let left = less["http_filters"].as_array().unwrap();
        assert_eq!(left.len(), 2);
        assert_eq!(left[0]["typed_config"]["config"]["configuration"]["value"]["x"], 1);
    }
}
