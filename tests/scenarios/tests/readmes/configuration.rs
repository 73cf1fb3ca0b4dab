//! Envoy accepts the documents and the parts of configurations.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use sluice_e2e::{capabilities, envoy_program, host_calls, workspace};
use tempfile::TempDir;

use crate::{Kind, READMES, has};

/// Where Envoy loads a module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// In the HTTP filters of a listener.
    Http,
    /// In the network filters of a listener.
    Network,
    /// In the HTTP filters of a listener and of a cluster.
    Upstream,
}

const ALL: [(&str, Place); 7] = [
    ("router", Place::Http),
    ("fault", Place::Http),
    ("mirror", Place::Http),
    ("sluice", Place::Http),
    ("sni", Place::Http),
    ("egress", Place::Http),
    ("outlier", Place::Upstream),
];

/// A document that the rules of the sandbox complete.
const RULES: &str = "{virtualServices: [{hosts: [example.com], http: [{route: [{destination: {host: \
                     kim-payment-service}}]}]}], clusterName: \"{host}[-{subset}]\"}";

/// An Envoy configuration that grows by what the READMEs show.
struct Configuration {
    listeners: Vec<Value>,
    clusters: Vec<Value>,
    /// Those of the bootstrap
    extensions: Value,
}

#[test]
fn envoy_accepts_documents_and_configurations() {
    let sandbox = sandbox();
    let mut whole = Configuration {
        listeners: Vec::new(),
        clusters: sandbox["static_resources"]["clusters"].as_array().unwrap().clone(),
        extensions: json!([]),
    };
    for readme in &READMES {
        for (block, kind) in readme.blocks() {
            let name = format!("{}:{}", readme.file, block.line);
            let yaml = || parse(&name, &block.text);
            match kind {
                Kind::Document(module, place) | Kind::Sandbox(module, place) => {
                    whole.add(&name, module, place, &complete(yaml()));
                }
                Kind::Complete => {
                    for (module, place) in ALL {
                        whole.add(&format!("{name} {module}"), module, place, &yaml());
                    }
                }
                Kind::VirtualService => {
                    let mut service = yaml();
                    service["hosts"] = json!(["example.com"]);
                    let document = complete(json!({ "virtualServices": [service] }));
                    whole.add(&name, "router", Place::Http, &document);
                }
                Kind::Envoy => whole.add_parts(&name, &block.text),
                Kind::Bootstrap | Kind::Commands | Kind::Log | Kind::Other(_) | Kind::Script => {}
            }
        }
    }
    whole.validate();
}

#[test]
fn examples_are_in_the_sandbox() {
    let mut documents = Vec::new();
    collect(&sandbox(), &mut documents);
    for readme in &READMES {
        for (block, kind) in readme.blocks() {
            let name = format!("{}:{}", readme.file, block.line);
            let is_there = match kind {
                Kind::Sandbox(module, place) => {
                    let shown = parse(&name, &block.text);
                    let mut of_module = documents.iter().filter(|(file, kind, _)| {
                        *file == format!("dist/{module}.wasm")
                            && kind.contains(".network.") == (place == Place::Network)
                    });
                    of_module.any(|(.., document)| has(document, &shown))
                }
                Kind::VirtualService => {
                    let shown = parse(&name, &block.text);
                    documents.iter().any(|(.., document)| {
                        let services = document["virtualServices"].as_array();
                        services.is_some_and(|rules| rules.iter().any(|rule| has(rule, &shown)))
                    })
                }
                Kind::Bootstrap => has(&sandbox(), &parse(&name, &block.text)),
                _ => continue,
            };
            assert!(is_there, "{name}: the sandbox does not have this:\n{}", block.text);
        }
    }
}

/// Returns the configuration of the sandbox.
fn sandbox() -> Value {
    let text = fs::read_to_string(workspace().join("envoy/sandbox.yaml")).unwrap();
    parse("envoy/sandbox.yaml", &text)
}

/// Parses YAML with anchors.
fn parse(name: &str, text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Collects module, type and document of all filters in a configuration.
fn collect(value: &Value, found: &mut Vec<(String, String, Value)>) {
    let config = &value["config"];
    if let Some(file) = config["vm_config"]["code"]["local"]["filename"].as_str() {
        let kind = value["@type"].as_str().unwrap_or_default();
        let document = config["configuration"]["value"].clone();
        found.push((file.to_owned(), kind.to_owned(), document));
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// Adds what filters require, for a document that shows only some of its fields.
fn complete(mut document: Value) -> Value {
    let fields = document.as_object_mut().expect("an object");
    let is_rule = |name: &String| {
        ["explain", "faults", "mirroring", "destinationRules"].contains(&name.as_str())
    };
    if fields.keys().any(is_rule) {
        for (name, value) in parse("rules", RULES).as_object().unwrap() {
            fields.entry(name).or_insert_with(|| value.clone());
        }
    }
    if fields.contains_key("virtualServices") {
        fields.entry("clusterName").or_insert_with(|| json!("{host}[-{subset}]"));
    }
    document
}

impl Configuration {
    /// Adds a module with a document.
    fn add(&mut self, name: &str, module: &str, place: Place, document: &Value) {
        let filter = |kind: &str, root: &str| wasm(name, kind, module, root, document);
        match place {
            Place::Http => self.listen_http(name, vec![filter("http", "")], json!({}), json!({})),
            Place::Network => {
                let proxy = json!({
                    "@type": extension("filters.network.tcp_proxy.v3.TcpProxy"),
                    "stat_prefix": name,
                    "cluster": "none",
                });
                let proxy = json!({ "name": "tcp_proxy", "typed_config": proxy });
                self.listen(name, vec![filter("network", ""), proxy]);
            }
            Place::Upstream => {
                self.listen_http(name, vec![filter("http", "")], json!({}), json!({}));
                let codec = json!({
                    "@type": extension("filters.http.upstream_codec.v3.UpstreamCodec"),
                });
                let codec = json!({ "name": "codec", "typed_config": codec });
                let options = json!({
                    "@type": extension("upstreams.http.v3.HttpProtocolOptions"),
                    "explicit_http_config": { "http_protocol_options": {} },
                    "http_filters": [filter("http", "upstream"), codec],
                });
                let all = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
                self.cluster(name, json!({ "typed_extension_protocol_options": { all: options } }));
            }
        }
    }

    /// Adds parts of a configuration: HTTP filters, network filters, extensions of the bootstrap,
    /// fields of a virtual host or of a cluster. They can refer to a document as `*document`.
    fn add_parts(&mut self, name: &str, text: &str) {
        let indented: String = text.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!(
            "document:\n  value: &document\n    \"@type\": \
                            type.googleapis.com/google.protobuf.Struct\n    value: {RULES}\nparts:\n\
                            {indented}"
        );
        let parts = parse(name, &text)["parts"].as_object().expect("fields").clone();
        let (mut filters, mut host, mut cluster) = (Vec::new(), json!({}), json!({}));
        let mut manager = json!({});
        for (field, value) in parts {
            match field.as_str() {
                "http_filters" => filters = value.as_array().expect("filters").clone(),
                "filters" => {
                    let own = value.as_array().expect("filters").clone();
                    self.listen(&format!("{name} of connections"), own);
                }
                "bootstrap_extensions" => self.extensions = value,
                "routes" | "request_headers_to_remove" | "response_headers_to_remove" => {
                    host[field] = value;
                }
                "early_header_mutation_extensions" => manager[field] = value,
                "tracing" => {
                    manager[field] = value;
                    self.cluster("collector", json!({}));
                }
                _ => cluster[field] = value,
            }
        }
        self.listen_http(name, filters, host, manager);
        self.cluster(name, cluster);
    }

    fn listen_http(
        &mut self,
        name: &str,
        mut filters: Vec<Value>,
        mut host: Value,
        mut manager: Value,
    ) {
        let router = json!({ "@type": extension("filters.http.router.v3.Router") });
        filters.push(json!({ "name": "router", "typed_config": router }));
        host["name"] = json!(name);
        host["domains"] = json!(["*"]);
        manager["@type"] =
            extension("filters.network.http_connection_manager.v3.HttpConnectionManager").into();
        manager["stat_prefix"] = json!(name);
        manager["http_filters"] = json!(filters);
        manager["route_config"] = json!({ "virtual_hosts": [host] });
        self.listen(name, vec![json!({ "name": "manager", "typed_config": manager })]);
    }

    fn listen(&mut self, name: &str, filters: Vec<Value>) {
        self.listeners.push(json!({
            "name": name,
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
            "filter_chains": [{ "filters": filters }],
        }));
    }

    fn cluster(&mut self, name: &str, mut fields: Value) {
        fields["name"] = json!(name);
        fields["load_assignment"] = json!({ "cluster_name": name });
        self.clusters.push(fields);
    }

    /// # Panics
    /// If Envoy or a module refuses the configuration. The message contains the errors.
    fn validate(self) {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("envoy.json");
        let resources = json!({ "listeners": self.listeners, "clusters": self.clusters });
        let extensions = self.extensions;
        let whole = json!({ "bootstrap_extensions": extensions, "static_resources": resources });
        fs::write(&file, whole.to_string()).unwrap();
        let output = Command::new(envoy_program())
            .args(["--mode", "validate", "--log-level", "error", "--config-path"])
            .arg(&file)
            // Paths of modules are relative to this folder.
            .current_dir(workspace())
            .env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", "dist")
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "Envoy refuses what the READMEs show:\n{log}");
    }
}

fn wasm(name: &str, kind: &str, module: &str, root: &str, document: &Value) -> Value {
    let configuration =
        json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": document });
    let config = json!({
        "name": name,
        "root_id": root,
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": format!("dist/{module}.wasm") } },
        },
        "capability_restriction_config": capabilities(host_calls(module).expect("a module")),
        "configuration": configuration,
    });
    let typed =
        json!({ "@type": extension(&format!("filters.{kind}.wasm.v3.Wasm")), "config": config });
    json!({ "name": name, "typed_config": typed })
}

fn extension(kind: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{kind}")
}
