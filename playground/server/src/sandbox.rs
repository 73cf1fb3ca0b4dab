//! The configuration of the sandbox with a filter that Envoy reads from a file, and with the page.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The listener with the page.
const LISTENER: &str = "edge";

/// The filter with the rules.
const FILTER: &str = "sluice";

/// The pattern of cluster names in the sandbox.
const CLUSTER_NAME: &str = "{host}[-{subset}]";

/// The hosts of the page, with any port.
const HOSTS: &str = r"(127\.0\.0\.1|localhost)(:[0-9]+)?";

/// The sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// The configuration that Envoy starts with
    pub bootstrap: Value,
    /// The rules as YAML, with their comments
    pub rules: String,
    /// The port of the listener
    pub port: u16,
    /// The port of the admin interface
    pub admin_port: u16,
    /// The `typed_config` of the filter with the rules
    filter: Value,
}

impl Sandbox {
    /// Reads a configuration as `envoy/sandbox.yaml`. Envoy will read the filter with the rules
    /// from the file `discovery`, and send requests for the page to `page_port`.
    ///
    /// # Errors
    /// The text is not YAML, or does not have the listener, the filter or a port.
    pub fn read(text: &str, discovery: &str, page_port: u16) -> Result<Self> {
        let mut yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
        yaml.apply_merge()?;
        let mut bootstrap = serde_json::to_value(yaml)?;
        let admin_port = port(bootstrap.pointer("/admin")).context("admin has no port")?;
        let clusters = bootstrap.pointer_mut("/static_resources/clusters");
        let clusters = clusters.and_then(Value::as_array_mut).context("no clusters")?;
        clusters.push(cluster(page_port));
        let listeners = bootstrap.pointer_mut("/static_resources/listeners");
        let mut listeners = listeners.and_then(Value::as_array_mut).into_iter().flatten();
        let listener = listeners.find(|own| is_named(own, LISTENER)).context("no listener edge")?;
        let edge_port = port(Some(listener)).context("the listener edge has no port")?;
        let manager = listener.pointer_mut("/filter_chains/0/filters/0/typed_config");
        let manager = manager.context("the listener edge has no filter")?;
        let filters = manager.get_mut("http_filters").and_then(Value::as_array_mut);
        let filters = filters.context("no http_filters")?;
        let names: Vec<_> = filters.iter().filter_map(|own| own.get("name")?.as_str()).collect();
        let routes = page_routes(&names);
        let own = filters.iter_mut().find(|own| is_named(own, FILTER));
        let own = own.context("no filter sluice")?;
        let filter = own.get("typed_config").cloned().context("no typed_config")?;
        *own = discovered(discovery, filter.get("@type").context("no @type")?);
        let known = manager.pointer_mut("/route_config/virtual_hosts/0/routes");
        let known = known.and_then(Value::as_array_mut).context("no routes")?;
        known.splice(0..0, routes);
        // Envoy requires a node for configuration that it reads from a file.
        let fields = bootstrap.as_object_mut().context("no configuration")?;
        fields.insert("node".to_owned(), json!({"id": "sandbox", "cluster": "sandbox"}));
        let document = filter.pointer(document_path(&filter)).context("no document")?;
        let rules = rules_of(text, document)?;
        Ok(Self { bootstrap, rules, port: edge_port, admin_port, filter })
    }

    /// The file that Envoy reads the filter from, with a plugin document.
    ///
    /// # Errors
    /// The document is not a JSON object.
    pub fn discovery(&self, document: &str) -> Result<String> {
        let mut document: Value = serde_json::from_str(document)?;
        let fields = document.as_object_mut().context("the rules are not an object")?;
        fields.entry("clusterName").or_insert_with(|| json!(CLUSTER_NAME));
        let mut filter = self.filter.clone();
        let place = filter.pointer_mut(document_path(&self.filter)).context("no document")?;
        *place = document;
        let resource = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": FILTER,
            "typed_config": filter,
        });
        Ok(json!({"resources": [resource]}).to_string())
    }
}

fn is_named(value: &Value, name: &str) -> bool {
    value.get("name").is_some_and(|own| own == name)
}

fn port(owner: Option<&Value>) -> Option<u16> {
    let port = owner?.pointer("/address/socket_address/port_value")?;
    port.as_u64().and_then(|port| u16::try_from(port).ok())
}

/// The place of the document in the configuration of a wasm filter or of the dynamic module.
fn document_path(filter: &Value) -> &'static str {
    match filter.get("filter_config") {
        Some(_) => "/filter_config/value",
        None => "/config/configuration/value",
    }
}

/// The filter as Envoy reads it from a file (ECDS): an update closes no connection.
fn discovered(file: &str, kind: &Value) -> Value {
    json!({
        "name": FILTER,
        "config_discovery": {
            "config_source": {
                "resource_api_version": "V3",
                "path_config_source": {"path": file},
            },
            "type_urls": [kind],
        },
    })
}

/// The routes of the page, which pass no filter of ours: wrong rules must not hide the page.
fn page_routes(filters: &[&str]) -> [Value; 2] {
    let disabled = json!({
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "disabled": true,
    });
    let own = filters.iter().filter(|name| name.starts_with(FILTER));
    let per_filter: Value = own.map(|name| ((*name).to_owned(), disabled.clone())).collect();
    let host = json!([{"name": ":authority", "string_match": {"safe_regex": {"regex": HOSTS}}}]);
    let first = json!({"path": "/", "headers": host});
    let second = json!({"prefix": "/playground/", "headers": host});
    [first, second].map(|wanted| {
        json!({
            "match": wanted,
            "route": {"cluster": "playground", "timeout": "60s"},
            "typed_per_filter_config": per_filter,
        })
    })
}

fn cluster(port: u16) -> Value {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    json!({
        "name": "playground",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "playground",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    })
}

/// The document as it is written in the configuration, with its comments. Where its text cannot be
/// found, the same without comments.
fn rules_of(text: &str, document: &Value) -> Result<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| !line.ends_with("configuration: &document"));
    let start = lines.by_ref().find(|line| line.trim() == "value:").map_or(0, indent);
    let is_part = |line: &&str| line.trim().is_empty() || indent(line) > start;
    let own: Vec<_> = lines.take_while(is_part).collect();
    let margin = own.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(line)).min();
    let cut = |line: &&str| line.get(margin.unwrap_or(0)..).unwrap_or_default().to_owned() + "\n";
    let found: String = own.iter().map(cut).collect();
    let found = found.trim_end().to_owned() + "\n";
    let is_same = serde_yaml_ng::from_str::<Value>(&found).is_ok_and(|own| own == *document);
    if is_same { Ok(found) } else { Ok(serde_yaml_ng::to_string(document)?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = include_str!("../../../envoy/sandbox.yaml");

    fn sandbox() -> Sandbox {
        Sandbox::read(CONFIGURATION, "filter.json", 7777).unwrap()
    }

    #[test]
    fn the_rules_of_the_sandbox_keep_their_comments() {
        let Sandbox { rules, port, admin_port, .. } = sandbox();
        assert_eq!((port, admin_port), (10000, 9901));
        assert!(rules.starts_with("# How a destination's cluster is called"), "{rules}");
        assert!(rules.contains("\nvirtualServices:\n"), "{rules}");
        assert!(rules.ends_with("fallback: {subset: v1}\n"), "{rules}");
    }

    #[test]
    fn rules_without_their_text_are_written_anew() {
        let document = json!({"virtualServices": [{"hosts": ["a.com"]}]});
        let rules = rules_of("listeners: []", &document).unwrap();
        assert_eq!(serde_yaml_ng::from_str::<Value>(&rules).unwrap(), document);
    }

    #[test]
    fn only_the_filter_with_the_rules_is_read_from_a_file() {
        let sandbox = sandbox();
        let text = sandbox.bootstrap.to_string();
        assert_eq!(text.matches("config_discovery").count(), 1);
        let document = r#"{"virtualServices": []}"#;
        let file: Value = serde_json::from_str(&sandbox.discovery(document).unwrap()).unwrap();
        let resource = &file["resources"][0];
        assert_eq!(resource["name"], "sluice");
        assert_eq!(
            resource["typed_config"]["config"]["configuration"]["value"],
            json!({"virtualServices": [], "clusterName": CLUSTER_NAME}),
        );
        assert_eq!(
            resource["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"],
            "dist/sluice.wasm",
        );
        assert!(sandbox.discovery("[]").is_err());
    }

    #[test]
    fn the_page_passes_no_filter_with_rules() {
        let bootstrap = sandbox().bootstrap;
        let manager = bootstrap
            .pointer("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
            .unwrap();
        let routes = &manager["route_config"]["virtual_hosts"][0]["routes"];
        assert_eq!(routes[0]["match"]["path"], "/");
        assert_eq!(routes[1]["match"]["prefix"], "/playground/");
        for route in [&routes[0], &routes[1]] {
            let disabled = route["typed_per_filter_config"].as_object().unwrap();
            assert_eq!(disabled.keys().collect::<Vec<_>>(), ["sluice", "sluice.outlier"]);
        }
        assert_eq!(routes[3]["match"], json!({"prefix": "/"}));
    }

    #[test]
    fn a_configuration_without_the_sandbox_is_refused() {
        let reason = Sandbox::read("admin: {}", "filter.json", 1).unwrap_err();
        assert_eq!(reason.to_string(), "admin has no port");
        let renamed = CONFIGURATION.replace("name: edge", "name: border");
        let reason = Sandbox::read(&renamed, "filter.json", 1).unwrap_err();
        assert_eq!(reason.to_string(), "no listener edge");
    }
}
