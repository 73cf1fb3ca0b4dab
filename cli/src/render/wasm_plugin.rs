//! `--to wasmplugin` and `--to trafficextension`: an object of Istio for each filter that needs no
//! routes.

use serde::Serialize;
use sluice_policy::document::filter::Filter;

use super::attach::Files;
use super::filter_entry::FailurePolicy;
use super::istio::{Context, Label, Target};
use super::templates;
use crate::filters::Module;

/// The kind of the objects.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Kind {
    /// For all versions of Istio
    WasmPlugin,
    /// Its successor, since Istio 1.30
    TrafficExtension,
}

impl Kind {
    /// The files of modules at a URL, or in the file system of the proxy.
    ///
    /// # Errors
    /// Without any of them.
    pub fn files(self, url: Option<&str>, file: Option<&str>) -> Result<Files, String> {
        let to = match self {
            Self::WasmPlugin => "wasmplugin",
            Self::TrafficExtension => "trafficextension",
        };
        let url = url.map(str::to_owned).or_else(|| Some(format!("file://{}", file?)));
        url.map(Files::of_wasm).ok_or(format!("--to {to} needs --module-url or --module-file"))
    }
}

/// The context of the template `wasmplugin.yaml`.
#[derive(Serialize)]
struct WasmPlugins<'a> {
    kind: Kind,
    document: minijinja::Value,
    namespace: Option<&'a str>,
    labels: Vec<Label<'a>>,
    mode: Mode,
    sha256: Option<&'a str>,
    objects: Vec<WasmPlugin>,
}

/// One object.
#[derive(Serialize)]
struct WasmPlugin {
    name: String,
    /// The type of the filter; without one it is HTTP
    r#type: Option<PluginType>,
    /// The ports of its traffic; without one all ports
    ports: Vec<u16>,
    url: String,
    failure_policy: FailurePolicy,
}

/// The side of the connection on which the workload is.
#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Mode {
    Client,
    Server,
}

/// The type of a filter.
#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum PluginType {
    Http,
    Network,
}

/// The objects of a target.
///
/// # Errors
/// A template that does not fit its context.
pub fn render(kind: Kind, target: &Target<'_>) -> Result<String, minijinja::Error> {
    let context = WasmPlugins {
        kind,
        document: templates::document(target.document),
        namespace: target.namespace(),
        labels: target.labels(),
        mode: match target.context {
            Context::SidecarInbound => Mode::Server,
            Context::SidecarOutbound | Context::Gateway => Mode::Client,
        },
        sha256: target.sha256,
        objects: target.selection.modules().iter().flat_map(|own| plugins(target, *own)).collect(),
    };
    templates::render("wasmplugin.yaml", &context)
}

/// The objects of one module.
fn plugins(target: &Target<'_>, own: Module) -> Vec<WasmPlugin> {
    let plugin = |suffix: &str, r#type, ports| WasmPlugin {
        name: own.full_name('-') + suffix,
        r#type,
        ports,
        url: target.files.wasm(own),
        failure_policy: FailurePolicy::of(own),
    };
    if own != Module::Single(Filter::Egress) {
        return vec![plugin("", None, Vec::new())];
    }
    let mut plugins = vec![plugin("-http", Some(PluginType::Http), Vec::new())];
    let ports: Vec<_> = target.tls_ports().into_iter().collect();
    if target.context == Context::SidecarOutbound && !ports.is_empty() {
        plugins.push(plugin("-network", Some(PluginType::Network), ports));
    }
    plugins
}
