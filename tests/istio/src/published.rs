//! Validation of documents with the schemas that Istio publishes, its CustomResourceDefinitions.
//! They are read from the module that istiod was built from.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use sluice_e2e::workspace;

/// All schemas of a version of Istio.
pub struct Schemas(Vec<Value>);

impl Schemas {
    /// Reads the schemas.
    ///
    /// # Panics
    /// If the module cannot be found.
    pub fn load() -> Self {
        let file = istio().join("manifests/charts/base/files/crd-all.gen.yaml");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{}", file.display()));
        Self(documents(&text))
    }

    /// Returns the errors that the API server would report for a document; empty if it is valid.
    pub fn errors(&self, document: &Value) -> Vec<String> {
        let api = document["apiVersion"].as_str().unwrap_or_default();
        let kind = &document["kind"];
        let (group, version) = api.split_once('/').unwrap_or_default();
        let definition = self.0.iter().map(|definition| &definition["spec"]).find(|definition| {
            definition["group"] == group && definition["names"]["kind"] == *kind
        });
        let versions = definition.and_then(|definition| definition["versions"].as_array());
        let found = versions.and_then(|all| all.iter().find(|entry| entry["name"] == version));
        let Some(found) = found else {
            return vec![format!("Istio has no {kind} of {api}")];
        };
        let mut errors = Vec::new();
        let schema = &found["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert!(schema["properties"].is_object(), "{api} {kind} has no schema");
        check(schema, &document["spec"], "spec", &mut errors);
        errors
    }
}

/// The documents of a YAML file.
///
/// # Panics
/// If it is not YAML.
pub fn documents(text: &str) -> Vec<Value> {
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    let values = documents.map(|document| Value::deserialize(document).expect("YAML"));
    values.filter(|value| !value.is_null()).collect()
}

/// Returns the folder of the module `istio.io/istio`, in the version of go.mod.
fn istio() -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "istio.io/istio"])
        .current_dir(workspace().join("tests/istio/istiod"))
        .env("PATH", format!("{path}:/usr/local/go/bin"))
        .output()
        .expect("go");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// Validates with the parts of structural schemas that Istio uses. Unknown fields are errors here;
/// the API server would drop them.
fn check(schema: &Value, value: &Value, path: &str, errors: &mut Vec<String>) {
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        errors.push(format!("{path}: {value} is not one of {allowed:?}"));
    }
    if schema["x-kubernetes-int-or-string"] == true && (value.is_number() || value.is_string()) {
        return;
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        errors.push(format!("{path}: {value} is not of type {}", schema["type"]));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap_or_default()).is_none() {
            errors.push(format!("{path}: {name} is required"));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) => {
                if schema["x-kubernetes-preserve-unknown-fields"] != true {
                    errors.push(format!("{path}: unknown field"));
                }
            }
            (Value::Null, schema) | (schema, _) => check(schema, field, &path, errors),
        }
    }
    for (index, element) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], element, &format!("{path}[{index}]"), errors);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schemas() -> Schemas {
        let spec = json!({
            "type": "object",
            "required": ["url"],
            "properties": {
                "url": { "type": "string" },
                "mode": { "type": "string", "enum": ["A", "B"] },
                "any": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "ports": { "type": "array", "items": { "type": "integer" } },
            },
        });
        Schemas(vec![json!({ "spec": {
            "group": "g.io",
            "names": { "kind": "K" },
            "versions": [{
                "name": "v1",
                "schema": { "openAPIV3Schema": { "properties": { "spec": spec } } },
            }],
        } })])
    }

    #[test]
    fn every_error_is_found() {
        let errors = |api: &str, spec: Value| {
            schemas().errors(&json!({ "apiVersion": api, "kind": "K", "spec": spec }))
        };
        let right = json!({
            "url": "x", "mode": "A", "any": { "thing": 1 }, "labels": { "app": "x" }, "ports": [1],
        });
        assert_eq!(errors("g.io/v1", right.clone()), [""; 0]);
        assert_eq!(errors("g.io/v2", right), ["Istio has no \"K\" of g.io/v2"]);
        let wrong = json!({ "mode": "C", "labels": { "app": 1 }, "ports": ["x"], "other": 1 });
        assert_eq!(
            errors("g.io/v1", wrong),
            [
                "spec: \"url\" is required",
                "spec.labels.app: 1 is not of type \"string\"",
                "spec.mode: \"C\" is not one of [String(\"A\"), String(\"B\")]",
                "spec.other: unknown field",
                "spec.ports[0]: \"x\" is not of type \"integer\"",
            ]
        );
    }
}
