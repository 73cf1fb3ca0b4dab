//! The configuration of the sandbox with a filter that Envoy reads from a file, and with the page.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::secret::Secret;

/// The listener with the page.
const LISTENER: &str = "edge";

/// The filter with the rules.
const FILTER: &str = "sluice";

/// The pattern of cluster names in the sandbox.
const CLUSTER_NAME: &str = "{host}[-{subset}]";

/// The sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// The configuration that Envoy starts with
    pub bootstrap: Value,
    /// The rules as YAML, with their comments
    pub rules: String,
    /// The address of the listener
    pub edge: SocketAddr,
    /// The address of the admin interface
    pub admin: SocketAddr,
    /// Who gets explanations, if the rules do not say it
    explain: Value,
    /// The `typed_config` of the filter with the rules
    filter: Value,
}

impl Sandbox {
    /// Reads a configuration as `envoy/sandbox.yaml`. Envoy will read the filter with the rules
    /// from the file `discovery`, and send requests for the page to `page_port`. Rules without
    /// `explain` get that of the configuration, or else `secret`.
    ///
    /// # Errors
    /// The text is not YAML, or does not have the listener, the filter or a port.
    pub fn read(text: &str, discovery: &str, page_port: u16, secret: &str) -> Result<Self> {
        let mut yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
        yaml.apply_merge()?;
        let mut bootstrap = serde_json::to_value(yaml)?;
        let admin = address(bootstrap.pointer("/admin")).context("admin has no port")?;
        let clusters = bootstrap.pointer_mut("/static_resources/clusters");
        let clusters = clusters.and_then(Value::as_array_mut).context("no clusters")?;
        clusters.push(cluster(page_port));
        let listeners = bootstrap.pointer_mut("/static_resources/listeners");
        let mut listeners = listeners.and_then(Value::as_array_mut).into_iter().flatten();
        let listener = listeners.find(|own| is_named(own, LISTENER)).context("no listener edge")?;
        let edge = address(Some(listener)).context("the listener edge has no port")?;
        let manager = listener.pointer_mut("/filter_chains/0/filters/0/typed_config");
        let manager = manager.context("the listener edge has no filter")?;
        let filters = manager.get_mut("http_filters").and_then(Value::as_array_mut);
        let filters = filters.context("no http_filters")?;
        let names: Vec<_> = filters.iter().filter_map(|own| own.get("name")?.as_str()).collect();
        let routes = page_routes(&names, edge.ip());
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
        let explain = document.get("explain").cloned().unwrap_or_else(|| json!({"secret": secret}));
        Ok(Self { bootstrap, rules, edge, admin, explain, filter })
    }

    /// The file that Envoy reads the filter from, with a plugin document. Also returns what a
    /// request needs to be explained, unless the document has only a digest of it.
    ///
    /// # Errors
    /// The document is not a JSON object.
    pub fn discovery(&self, document: &str) -> Result<(String, Option<Secret>)> {
        let mut document: Value = serde_json::from_str(document)?;
        let fields = document.as_object_mut().context("the rules are not an object")?;
        fields.entry("clusterName").or_insert_with(|| json!(CLUSTER_NAME));
        let explain = fields.entry("explain").or_insert_with(|| self.explain.clone());
        let secret = Secret::of(explain);
        let mut filter = self.filter.clone();
        let place = filter.pointer_mut(document_path(&self.filter)).context("no document")?;
        *place = document;
        let resource = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": FILTER,
            "typed_config": filter,
        });
        Ok((json!({"resources": [resource]}).to_string(), secret))
    }
}

fn is_named(value: &Value, name: &str) -> bool {
    value.get("name").is_some_and(|own| own == name)
}

/// The address that a part of the configuration listens on. One that listens on more than the
/// loopback device is reached on 127.0.0.1.
fn address(owner: Option<&Value>) -> Option<SocketAddr> {
    let own = owner?.pointer("/address/socket_address")?;
    let port = own.get("port_value")?.as_u64().and_then(|port| u16::try_from(port).ok())?;
    let ip = own.get("address")?.as_str()?.parse().ok().filter(IpAddr::is_loopback);
    Some(SocketAddr::new(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), port))
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

/// The hosts that a request for the page may name, at this address. A page of another site that
/// resolves its own host to this machine names that host.
pub fn hosts(own: IpAddr) -> [String; 3] {
    ["127.0.0.1".to_owned(), "localhost".to_owned(), own.to_string()]
}

/// The routes of the page, which pass no filter of ours: wrong rules must not hide the page.
fn page_routes(filters: &[&str], own: IpAddr) -> [Value; 2] {
    let disabled = json!({
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "disabled": true,
    });
    let ours = filters.iter().filter(|name| name.starts_with(FILTER));
    let per_filter: Value = ours.map(|name| ((*name).to_owned(), disabled.clone())).collect();
    let names = hosts(own).map(|host| host.replace('.', r"\.")).join("|");
    let regex = format!("({names})(:[0-9]+)?");
    let host = json!([{"name": ":authority", "string_match": {"safe_regex": {"regex": regex}}}]);
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
        Sandbox::read(CONFIGURATION, "filter.json", 7777, "0123456789abcdef").unwrap()
    }

    #[test]
    fn the_rules_of_the_sandbox_keep_their_comments() {
        let Sandbox { rules, edge, admin, .. } = sandbox();
        assert_eq!([edge, admin].map(|own| own.to_string()), ["127.0.0.1:10000", "127.0.0.1:9901"]);
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
        let (file, _) = sandbox.discovery(document).unwrap();
        let file: Value = serde_json::from_str(&file).unwrap();
        let resource = &file["resources"][0];
        assert_eq!(resource["name"], "sluice");
        assert_eq!(
            resource["typed_config"]["config"]["configuration"]["value"],
            json!({
                "virtualServices": [],
                "clusterName": CLUSTER_NAME,
                "explain": {"secret": "secret-of-the-sandbox"},
            }),
        );
        assert_eq!(
            resource["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"],
            "dist/sluice.wasm",
        );
        assert!(sandbox.discovery("[]").is_err());
    }

    #[test]
    fn the_secret_is_that_of_the_rules_or_of_the_sandbox() {
        let secret = |sandbox: &Sandbox, explain: &str| {
            let (_, secret) = sandbox.discovery(&format!("{{{explain}}}")).unwrap();
            secret.map(|own| (own.header, own.value))
        };
        let own = |header: &str, value: &str| Some((header.to_owned(), value.to_owned()));
        let sandbox = sandbox();
        assert_eq!(secret(&sandbox, ""), own("x-sluice-explain", "secret-of-the-sandbox"));
        let explain = r#""explain": {"secret": "s", "header": "x-why"}"#;
        assert_eq!(secret(&sandbox, explain), own("x-why", "s"));
        assert_eq!(secret(&sandbox, r#""explain": {"secretSha256": "s"}"#), None);
        let without = CONFIGURATION
            .replace("explain: &explain {secret: secret-of-the-sandbox}", "")
            .replace("explain: *explain", "");
        let sandbox = Sandbox::read(&without, "filter.json", 1, "0123456789abcdef").unwrap();
        assert_eq!(secret(&sandbox, ""), own("x-sluice-explain", "0123456789abcdef"));
    }

    #[test]
    fn addresses_are_on_the_loopback_device() {
        for (listens, reached) in [("127.1.2.3", "127.1.2.3"), ("0.0.0.0", "127.0.0.1")] {
            let text = CONFIGURATION.replace("127.0.0.1", listens);
            let Sandbox { edge, bootstrap, .. } = Sandbox::read(&text, "f", 1, "x").unwrap();
            assert_eq!(edge.to_string(), format!("{reached}:10000"));
            let host = format!("|{})(:", reached.replace('.', r"\\."));
            assert!(bootstrap.to_string().contains(&host), "{host}");
        }
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
        let reason = Sandbox::read("admin: {}", "filter.json", 1, "x").unwrap_err();
        assert_eq!(reason.to_string(), "admin has no port");
        let renamed = CONFIGURATION.replace("name: edge", "name: border");
        let reason = Sandbox::read(&renamed, "filter.json", 1, "x").unwrap_err();
        assert_eq!(reason.to_string(), "no listener edge");
    }
}
