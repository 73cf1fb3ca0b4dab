//! `sluice render`: combines files into one document, in a format for Envoy or Istio.

mod block;
mod destinations;
mod envoy;
mod envoy_filter;
mod error;
mod istio;
mod mirrored;
mod outlier;
mod templates;
mod wasm;
mod wasm_plugin;
mod workloads;

use std::collections::HashSet;
use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use sluice_policy::document::filter::Filter;

use crate::arguments::InputArgs;
use crate::check::Compiled;
use crate::filters;
use crate::tree::{Key, Tree};
use destinations::GivenEndpoint;
use istio::Context;

pub use error::RenderError;

/// Arguments of `sluice render`.
#[derive(Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub input: InputArgs,
    /// The format to write
    #[arg(long, value_enum, default_value_t = To::PluginJson)]
    pub to: To,
    /// A filter; may be repeated [default: the filters that the rules need]
    #[arg(long = "filter", value_name = "FILTER", value_parser = filters::parser())]
    filters: Vec<Filter>,
    /// The namespace of the workloads, such as that of a gateway [default: that of the objects]
    #[arg(long, value_name = "NAME")]
    workload_namespace: Option<String>,
    /// A label of the workloads; may be repeated [default: all workloads of the namespace]
    #[arg(long, value_name = "NAME=VALUE", value_parser = read_label)]
    selector: Vec<(String, String)>,
    /// The listeners of the mesh to add the filters to
    #[arg(long, value_enum, default_value = "SIDECAR_OUTBOUND")]
    context: Context,
    /// The path of the modules, with {filter} for the name of the filter [default:
    /// dist/{filter}.wasm for envoy, /var/lib/sluice/{filter}.wasm for envoyfilter]
    #[arg(long, value_name = "PATH", conflicts_with = "module_url")]
    module_file: Option<String>,
    /// The URL of the modules for wasmplugin, such as
    /// oci://registry.example.com/sluice/{filter}:0.1.0
    #[arg(long, value_name = "URL")]
    module_url: Option<String>,
    /// The SHA-256 of the module at --module-url
    #[arg(long, value_name = "HEX", value_parser = read_sha256)]
    module_sha256: Option<String>,
    /// An endpoint of a host or subset for envoy: HOST[/SUBSET]=ADDRESS:PORT; may be repeated
    #[arg(long = "endpoint", value_name = "ENDPOINT")]
    endpoints: Vec<GivenEndpoint>,
    /// The address on which Envoy accepts HTTP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10000")]
    listen: SocketAddr,
    /// The address on which Envoy accepts TLS, if there are tls routes
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10443")]
    listen_tls: SocketAddr,
    /// The address of Envoy's administration interface
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
}

/// The format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// The plugin document, as JSON
    PluginJson,
    /// Istio EnvoyFilters
    #[value(name = "envoyfilter")]
    EnvoyFilter,
    /// Istio WasmPlugins
    #[value(name = "wasmplugin")]
    WasmPlugin,
    /// A complete static configuration of Envoy
    Envoy,
}

fn read_label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = parts.ok_or("must be NAME=VALUE, such as app=web")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn read_sha256(text: &str) -> Result<String, String> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be 64 hexadecimal digits".to_owned())
    }
}

/// The default pattern of cluster names for `--to envoy`. Unlike Istio's, it requires no port.
pub const CLUSTER_NAME: &str = "{host}[-{subset}][:{port}]";

/// Renders a document that has no errors.
///
/// # Errors
/// The arguments contradict each other or the document.
pub fn render(
    document: &Tree,
    compiled: &Compiled,
    args: &RenderArgs,
) -> Result<String, RenderError> {
    let filters =
        if args.filters.is_empty() { filters::needed(document) } else { args.filters.clone() };
    check_module(args)?;
    check_selector(&args.selector)?;
    let document = &complete(document, args.to, &filters);
    let module = |default: &str| args.module_file.clone().unwrap_or_else(|| default.to_owned());
    match args.to {
        To::PluginJson => Ok(document.to_pretty_json() + "\n"),
        To::EnvoyFilter => {
            check_envoy_filter(&filters, args.context)?;
            let module = module("/var/lib/sluice/{filter}.wasm");
            envoy_filter::render(&target(document, compiled, &filters, args, &module))
        }
        To::WasmPlugin => {
            check_wasm_plugin(&filters)?;
            let module = match (&args.module_url, &args.module_file) {
                (Some(url), _) => url.clone(),
                (None, Some(file)) => format!("file://{file}"),
                (None, None) => {
                    let reason = "--to wasmplugin needs --module-url or --module-file";
                    return Err(reason.to_owned().into());
                }
            };
            Ok(wasm_plugin::render(&target(document, compiled, &filters, args, &module))?)
        }
        To::Envoy => {
            if !filters.iter().any(|filter| matches!(filter, Filter::Router | Filter::Sni)) {
                let reason =
                    "--to envoy needs http or tls routes, because only these name upstreams";
                return Err(reason.to_owned().into());
            }
            let addresses =
                envoy::Addresses { admin: args.admin, http: args.listen, tls: args.listen_tls };
            envoy::check_egress(&compiled.document.egress, &filters, &addresses)?;
            let module = module("dist/{filter}.wasm");
            envoy::bootstrap(document, compiled, &filters, &module, &addresses, &args.endpoints)
        }
    }
}

/// The document with the settings that it needs in a mesh.
fn complete(document: &Tree, to: To, filters: &[Filter]) -> Tree {
    let mut document = document.clone();
    let is_beside_istio = to == To::EnvoyFilter
        && filters.iter().any(|filter| matches!(filter, Filter::Router | Filter::Mirror));
    if is_beside_istio && document.field("unmatchedHosts").is_none() {
        // Hosts without rules keep Istio's routes.
        document.push_field(Key::new("unmatchedHosts"), Tree::text("pass"));
    }
    document
}

fn target<'a>(
    document: &'a Tree,
    compiled: &'a Compiled,
    filters: &'a [Filter],
    args: &'a RenderArgs,
    module: &'a str,
) -> istio::Target<'a> {
    istio::Target {
        document,
        compiled,
        filters,
        namespace: args.workload_namespace.as_deref(),
        selector: &args.selector,
        context: args.context,
        module,
        sha256: args.module_sha256.as_deref(),
    }
}

fn check_module(args: &RenderArgs) -> Result<(), String> {
    if args.module_url.is_some() && args.to != To::WasmPlugin {
        return Err("--module-url is for --to wasmplugin only; use --module-file".to_owned());
    }
    if args.module_sha256.is_some() && args.module_url.is_none() {
        return Err("--module-sha256 needs --module-url".to_owned());
    }
    Ok(())
}

fn check_selector(selector: &[(String, String)]) -> Result<(), String> {
    let mut names = HashSet::new();
    match selector.iter().find(|(name, _)| !names.insert(name)) {
        Some((name, _)) => Err(format!("--selector: the label {name:?} is given twice")),
        None => Ok(()),
    }
}

fn check_envoy_filter(filters: &[Filter], context: Context) -> Result<(), String> {
    let has_upstreams =
        |filter: &&Filter| matches!(filter, Filter::Router | Filter::Mirror | Filter::Outlier);
    match filters.iter().find(has_upstreams) {
        Some(filter) if context == Context::SidecarInbound => Err(format!(
            "the {} filter selects upstreams, so it needs --context SIDECAR_OUTBOUND or GATEWAY; \
             or choose other filters with --filter",
            filters::name(*filter)
        )),
        _ => Ok(()),
    }
}

fn check_wasm_plugin(filters: &[Filter]) -> Result<(), String> {
    let is_enough = |filter: &Filter| matches!(filter, Filter::Fault | Filter::Egress);
    match filters.iter().find(|filter| !is_enough(filter)) {
        Some(filter) => Err(format!(
            "the {} filter needs --to envoyfilter, because a WasmPlugin cannot give it the routes, \
             clusters or place in the chain that it needs; or choose other filters with --filter",
            filters::name(*filter)
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
