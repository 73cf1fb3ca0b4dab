//! `sluice render`: one document from many, in the form that Envoy or Istio takes.

mod block;
mod destinations;
mod envoy;
mod envoy_filter;
mod istio;
mod mirrored;
mod templates;
mod wasm;
mod wasm_plugin;

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::arguments::InputArgs;
use crate::filters::Filter;
use crate::tree::Tree;
use destinations::GivenEndpoint;
use istio::Context;

/// Arguments of `sluice render`.
#[derive(Args)]
pub struct RenderArgs {
    /// Files to put together, - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    #[command(flatten)]
    pub input: InputArgs,
    /// What to write
    #[arg(long, value_enum, default_value_t = To::PluginJson)]
    pub to: To,
    /// The filters, as often as needed [default: those that the rules are for]
    #[arg(long = "filter", value_enum, value_name = "FILTER")]
    filters: Vec<Filter>,
    /// The namespace of the workloads, such as that of a gateway [default: that of the objects]
    #[arg(long, value_name = "NAME")]
    workload_namespace: Option<String>,
    /// A label of the workloads, as often as needed; all workloads of the namespace without one
    #[arg(long, value_name = "NAME=VALUE", value_parser = read_label)]
    selector: Vec<(String, String)>,
    /// The listeners of the mesh that get the filters
    #[arg(long, value_enum, default_value = "SIDECAR_OUTBOUND")]
    context: Context,
    /// The file of the modules, with {filter} for the name of the filter
    /// [default: dist/{filter}.wasm for envoy, /var/lib/sluice/{filter}.wasm for envoyfilter]
    #[arg(long, value_name = "PATH", conflicts_with = "module_url")]
    module_file: Option<String>,
    /// The address of the modules for wasmplugin, such as oci://registry.example.com/sluice/{filter}:0.1.0
    #[arg(long, value_name = "URL")]
    module_url: Option<String>,
    /// The SHA-256 of the module at --module-url
    #[arg(long, value_name = "HEX", value_parser = read_sha256)]
    module_sha256: Option<String>,
    /// An endpoint of a host or subset for envoy, as often as needed: HOST[/SUBSET]=ADDRESS:PORT
    #[arg(long = "endpoint", value_name = "ENDPOINT")]
    endpoints: Vec<GivenEndpoint>,
    /// Where Envoy listens for HTTP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10000")]
    listen: SocketAddr,
    /// Where Envoy listens for TLS, if there are tls routes
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10443")]
    listen_tls: SocketAddr,
    /// Where Envoy listens for its administrators
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// The plugin document, as JSON
    PluginJson,
    /// EnvoyFilters of Istio
    #[value(name = "envoyfilter")]
    EnvoyFilter,
    /// WasmPlugins of Istio
    #[value(name = "wasmplugin")]
    WasmPlugin,
    /// A static configuration of Envoy
    Envoy,
}

fn read_label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = parts.ok_or("is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn read_sha256(text: &str) -> Result<String, String> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("is not 64 hexadecimal digits".to_owned())
    }
}

/// The pattern of cluster names in an Envoy of its own, where no document has one: unlike Istio's, it
/// asks for no port.
pub const CLUSTER_NAME: &str = "{host}[-{subset}][:{port}]";

/// Why nothing is rendered.
#[derive(Debug)]
pub enum RenderError {
    /// Arguments that do not go together with each other or with the document
    Usage(String),
    /// A template that does not fit its context, which is a defect of this program
    Template(minijinja::Error),
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(reason) => write!(f, "{reason}"),
            Self::Template(error) => {
                write!(f, "cannot render: {error}")?;
                // An error inside an included template is the source of another.
                let mut sources = std::iter::successors(error.source(), |error| (*error).source());
                sources.try_for_each(|source| write!(f, ": {source}"))
            }
        }
    }
}

impl From<String> for RenderError {
    fn from(reason: String) -> Self {
        Self::Usage(reason)
    }
}

impl From<minijinja::Error> for RenderError {
    fn from(error: minijinja::Error) -> Self {
        Self::Template(error)
    }
}

/// Renders a document without errors.
///
/// # Errors
/// Arguments that do not go together with each other or with the document.
pub fn render(document: &Tree, args: &RenderArgs) -> Result<String, RenderError> {
    let filters = if args.filters.is_empty() { Filter::of(document) } else { args.filters.clone() };
    check_module(args)?;
    let document = &complete(document, args.to, &filters);
    let module = |default: &str| args.module_file.clone().unwrap_or_else(|| default.to_owned());
    match args.to {
        To::PluginJson => Ok(document.to_pretty_json() + "\n"),
        To::EnvoyFilter => {
            check_envoy_filter(&filters, args.context)?;
            let module = module("/var/lib/sluice/{filter}.wasm");
            Ok(envoy_filter::render(&target(document, &filters, args, &module))?)
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
            Ok(wasm_plugin::render(&target(document, &filters, args, &module))?)
        }
        To::Envoy => {
            if !filters.iter().any(|filter| matches!(filter, Filter::Router | Filter::Sni)) {
                let reason = "--to envoy is for documents with http or tls routes, as nothing else \
                              names an upstream";
                return Err(reason.to_owned().into());
            }
            let addresses =
                envoy::Addresses { admin: args.admin, http: args.listen, tls: args.listen_tls };
            envoy::check_egress(document, &filters, &addresses)?;
            let module = module("dist/{filter}.wasm");
            Ok(envoy::bootstrap(document, &filters, &module, &addresses, &args.endpoints)?)
        }
    }
}

/// The document with what it needs beside Istio.
fn complete(document: &Tree, to: To, filters: &[Filter]) -> Tree {
    let mut document = document.clone();
    let is_beside_istio = to == To::EnvoyFilter
        && filters.iter().any(|filter| matches!(filter, Filter::Router | Filter::Mirror));
    if is_beside_istio && document.field("unmatchedHosts").is_none() {
        // Hosts without rules keep Istio's routes.
        document.push_field("unmatchedHosts", Tree::text("pass"));
    }
    document
}

fn target<'a>(
    document: &'a Tree,
    filters: &'a [Filter],
    args: &'a RenderArgs,
    module: &'a str,
) -> istio::Target<'a> {
    istio::Target {
        document,
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
        return Err(
            "--module-url is for --to wasmplugin, Envoy itself reads a --module-file".to_owned()
        );
    }
    if args.module_sha256.is_some() && args.module_url.is_none() {
        return Err("--module-sha256 goes with --module-url".to_owned());
    }
    Ok(())
}

fn check_envoy_filter(filters: &[Filter], context: Context) -> Result<(), String> {
    let has_upstreams =
        |filter: &&Filter| matches!(filter, Filter::Router | Filter::Mirror | Filter::Outlier);
    match filters.iter().find(has_upstreams) {
        Some(filter) if context == Context::SidecarInbound => Err(format!(
            "the {} filter is about upstreams, which SIDECAR_INBOUND does not choose; leave it out \
             with --filter, or use SIDECAR_OUTBOUND or GATEWAY",
            filter.name()
        )),
        _ => Ok(()),
    }
}

fn check_wasm_plugin(filters: &[Filter]) -> Result<(), String> {
    let is_enough = |filter: &Filter| matches!(filter, Filter::Fault | Filter::Egress);
    match filters.iter().find(|filter| !is_enough(filter)) {
        Some(filter) => Err(format!(
            "the {} filter needs routes, clusters or a place in the chain that a WasmPlugin cannot \
             give; leave it out with --filter, or use --to envoyfilter",
            filter.name()
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
