//! `sluice render`: combines files into one document, in a format for Envoy or Istio.

mod block;
mod cluster;
mod conditions;
mod destinations;
mod endpoints;
mod envoy;
mod envoy_filter;
mod error;
mod gateways;
mod istio;
mod left_out;
mod listeners;
mod mirrored;
mod notices;
mod object;
mod outlier;
mod part;
mod registry;
mod tcp;
mod templates;
mod to;
mod wasm;
mod wasm_plugin;
mod workloads;

use std::collections::HashSet;
use std::net::SocketAddr;

use clap::Args;
use sluice_policy::document::filter::Filter;

use crate::arguments::InputArgs;
use crate::bundle::Bundle;
use crate::check::Compiled;
use crate::filters;
use crate::finding::Finding;
use crate::tree::{Key, Tree};
use endpoints::GivenEndpoint;
use istio::Context;
use left_out::LeftOut;
use listeners::{Addresses, PortMapping};

pub use error::RenderError;
pub use to::To;

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
    /// The address on which Envoy accepts HTTP, for all ports that no rule has
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10000")]
    listen: SocketAddr,
    /// The address on which Envoy accepts TLS if there are tls routes, for all ports that no rule
    /// has
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10443")]
    listen_tls: SocketAddr,
    /// The port of the listener for rules with a port: PORT=PORT, such as 80=10080; may be repeated
    /// [default: the port of the rule, plus 10000 if it is less than 1024]
    #[arg(long = "port-map", value_name = "PORTS")]
    port_maps: Vec<PortMapping>,
    /// The address of Envoy's administration interface
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// The file with the certificate authorities for envoy, for TLS without caCertificates
    #[arg(long, value_name = "PATH", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca_certificates: String,
    /// Write the output although it leaves out the values that are listed on standard error
    #[arg(long)]
    pub allow_partial: bool,
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

/// The output, and what it leaves out.
#[derive(Debug)]
pub struct Rendered {
    /// The output
    pub text: String,
    /// What it leaves out, with the places in the files and the reasons
    pub left_out: Vec<Finding>,
}

/// Renders a document that has no errors.
///
/// # Errors
/// The arguments contradict each other or the document.
pub fn render(
    bundle: &Bundle,
    compiled: &Compiled,
    args: &RenderArgs,
) -> Result<Rendered, RenderError> {
    let filters = filters_of(&bundle.document, compiled, args);
    check_module(args)?;
    check_selector(&args.selector)?;
    let mut left_out = LeftOut::default();
    notices::add(compiled, args.to, &filters, &mut left_out);
    let text = render_as(args, bundle, compiled, &filters, &mut left_out)?;
    let mut findings: Vec<_> =
        left_out.into_values().iter().map(|value| bundle.locate(value)).collect();
    if args.to == To::Envoy {
        findings.extend(gateways::left_out(bundle, &compiled.json));
    }
    Ok(Rendered { text, left_out: findings })
}

/// The filters to render, in the order in which requests pass them.
fn filters_of(document: &Tree, compiled: &Compiled, args: &RenderArgs) -> Vec<Filter> {
    let mut filters = args.filters.clone();
    if filters.is_empty() {
        filters = filters::needed(document);
        // Subsets alone need no filter.
        let mut rules = compiled.json.elements("destinationRules").iter();
        if filters.len() > 1 && !rules.any(destinations::has_detection) {
            filters.retain(|filter| *filter != Filter::Outlier);
        }
    } else if args.to == To::Envoy
        && !filters.iter().any(|filter| matches!(filter, Filter::Router | Filter::Sni))
    {
        // The other filters need one that names the upstreams.
        let needed = filters::needed(document).into_iter();
        let mut routing = needed.filter(|own| matches!(own, Filter::Router | Filter::Sni));
        filters.extend(routing.next());
    }
    filters::sort(&mut filters);
    filters
}

fn render_as(
    args: &RenderArgs,
    bundle: &Bundle,
    compiled: &Compiled,
    filters: &[Filter],
    left_out: &mut LeftOut,
) -> Result<String, RenderError> {
    let document = &complete(&bundle.document, args.to, filters);
    let module = |default: &str| args.module_file.clone().unwrap_or_else(|| default.to_owned());
    match args.to {
        To::PluginJson => Ok(document.to_pretty_json() + "\n"),
        To::EnvoyFilter => {
            check_envoy_filter(filters, args.context)?;
            let module = module("/var/lib/sluice/{filter}.wasm");
            envoy_filter::render(&target(document, compiled, filters, args, &module))
        }
        To::WasmPlugin => {
            check_wasm_plugin(filters)?;
            let module = match (&args.module_url, &args.module_file) {
                (Some(url), _) => url.clone(),
                (None, Some(file)) => format!("file://{file}"),
                (None, None) => {
                    let reason = "--to wasmplugin needs --module-url or --module-file";
                    return Err(reason.to_owned().into());
                }
            };
            Ok(wasm_plugin::render(&target(document, compiled, filters, args, &module))?)
        }
        To::Envoy => {
            let addresses = &Addresses {
                admin: args.admin,
                http: args.listen,
                tls: args.listen_tls,
                mapped: args.port_maps.clone(),
            };
            let choices = envoy::Choices {
                module: &module("dist/{filter}.wasm"),
                addresses,
                endpoints: &args.endpoints,
                system_authorities: &args.ca_certificates,
                http2_ports: &bundle.http2_ports,
            };
            envoy::bootstrap(document, compiled, filters, &choices, left_out)
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
