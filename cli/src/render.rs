//! `sluice render`: combines files into one document, in a format for Envoy or Istio.

mod attach;
mod block;
pub mod capabilities;
mod cluster;
mod conditions;
mod delegates;
mod destinations;
mod endpoints;
mod envoy;
mod envoy_extension_policy;
mod envoy_filter;
mod error;
mod filter_entry;
mod gateway_routes;
mod gateways;
mod istio;
mod left_out;
mod listeners;
mod mirrored;
mod notices;
mod object;
mod outlier;
mod part;
mod place;
mod registry;
mod selection;
mod tcp;
mod templates;
mod to;
mod wasm_plugin;
mod workloads;

use std::collections::HashSet;
use std::net::SocketAddr;

use clap::Args;
use sluice_policy::document::filter::Filter;

use crate::arguments::{InputArgs, read_pair};
use crate::bundle::Bundle;
use crate::check::Compiled;
use crate::filters::{self, Module};
use crate::finding::Finding;
use crate::tree::{Key, Tree};
use attach::{Attach, Files};
use endpoints::GivenEndpoint;
use envoy_extension_policy::Attached;
use istio::Context;
use left_out::LeftOut;
use listeners::{Addresses, PortMapping};
use selection::Selection;
use wasm_plugin::Kind;

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
    /// A filter, or several with commas; may be repeated [default: the filters that the rules need,
    /// with sluice for HTTP routes]
    #[arg(long = "filter", value_name = "FILTER", value_delimiter = ',',
          value_parser = filters::parser())]
    filters: Vec<Module>,
    /// The namespace of the workloads, such as that of a gateway [default: that of the objects]
    #[arg(long, value_name = "NAME")]
    workload_namespace: Option<String>,
    /// A label of the workloads; may be repeated [default: all workloads of the namespace]
    #[arg(long, value_name = "NAME=VALUE", value_parser = read_pair)]
    selector: Vec<(String, String)>,
    /// The listeners of the mesh to add the filters to
    #[arg(long, value_enum, default_value = "SIDECAR_OUTBOUND")]
    context: Context,
    /// How Envoy loads the filters
    #[arg(long, value_enum, default_value_t = Attach::Wasm)]
    pub attach: Attach,
    /// The path of the wasm modules, with {filter} for the name of the filter [default:
    /// dist/{filter}.wasm for envoy, /var/lib/sluice/{filter}.wasm for envoyfilter]
    #[arg(long, value_name = "PATH", conflicts_with = "module_url")]
    module_file: Option<String>,
    /// The path of the dynamic module for --attach native [default: dist/libsluice.so for envoy,
    /// /var/lib/sluice/libsluice.so for envoyfilter]
    #[arg(long, value_name = "PATH")]
    native_file: Option<String>,
    /// The URL of the modules for wasmplugin and envoyextensionpolicy, such as
    /// oci://registry.example.com/sluice/{filter}:0.1.0
    #[arg(long, value_name = "URL")]
    module_url: Option<String>,
    /// The SHA-256 of the module at --module-url
    #[arg(long, value_name = "HEX", value_parser = read_sha256)]
    module_sha256: Option<String>,
    /// What an envoyextensionpolicy is attached to: Gateway/NAME or HTTPRoute/NAME
    #[arg(long, value_name = "KIND/NAME")]
    target: Option<Attached>,
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
    compiled: &Compiled<'_>,
    args: &RenderArgs,
) -> Result<Rendered, RenderError> {
    let selection = select(&bundle.document, compiled, args)?;
    check_module(args)?;
    check_selector(&args.selector)?;
    let has_bootstrap = matches!(args.to, To::Envoy | To::PluginJson);
    let refused = args.attach.refused(compiled, &selection, has_bootstrap);
    if !refused.is_empty() {
        let findings = refused.iter().map(|finding| bundle.locate(finding));
        return Err(RenderError::Document(findings.collect()));
    }
    let mut left_out = LeftOut::default();
    notices::add(compiled, args.to, &selection, &mut left_out);
    let text = render_as(args, bundle, compiled, &selection, &mut left_out)?;
    let mut findings: Vec<_> =
        left_out.into_values().iter().map(|value| bundle.locate(value)).collect();
    if args.to == To::Envoy {
        findings.extend(gateways::left_out(bundle, &compiled.json));
    }
    Ok(Rendered { text, left_out: findings })
}

/// The modules to render.
fn select(
    document: &Tree,
    compiled: &Compiled<'_>,
    args: &RenderArgs,
) -> Result<Selection, String> {
    if args.filters.is_empty() {
        let selection = Selection::needed(document);
        // Subsets alone need no filter.
        let mut rules = compiled.json.elements("destinationRules").iter();
        let has_others = selection.modules().len() > 1;
        if has_others && !rules.any(destinations::has_detection) {
            return Ok(selection.without(Filter::Outlier));
        }
        return Ok(selection);
    }
    let selection = Selection::chosen(&args.filters, document)?;
    let routing = [Filter::Router, Filter::Sni];
    if args.to == To::Envoy && !selection.has_any(&routing) {
        // The other filters need one that names the upstreams.
        let mut needed = filters::needed(document).into_iter();
        return Ok(match needed.find(|own| routing.contains(own)) {
            Some(filter) => selection.and(filter),
            None => selection,
        });
    }
    Ok(selection)
}

fn render_as(
    args: &RenderArgs,
    bundle: &Bundle,
    compiled: &Compiled<'_>,
    selection: &Selection,
    left_out: &mut LeftOut,
) -> Result<String, RenderError> {
    let document = &complete(&bundle.document, args.to, selection);
    let files = |folder: &str| {
        let file = |given: &Option<String>, name: &str| {
            given.clone().unwrap_or_else(|| format!("{folder}/{name}"))
        };
        let wasm = file(&args.module_file, "{filter}.wasm");
        match args.attach {
            Attach::Wasm => Files::of_wasm(wasm),
            Attach::Native => {
                Files::of_native(wasm, file(&args.native_file, "libsluice.so"), compiled)
            }
        }
    };
    let plugins = |kind: Kind| {
        check_needs_no_routes(selection, args.to)?;
        let files = kind.files(args.module_url.as_deref(), args.module_file.as_deref())?;
        let target = target(document, compiled, selection, args, &files);
        Ok(wasm_plugin::render(kind, &target)?)
    };
    match args.to {
        To::PluginJson => Ok(document.to_pretty_json() + "\n"),
        To::EnvoyFilter => {
            check_envoy_filter(selection, args.context)?;
            let files = files("/var/lib/sluice");
            envoy_filter::render(&target(document, compiled, selection, args, &files))
        }
        To::WasmPlugin => plugins(Kind::WasmPlugin),
        To::TrafficExtension => plugins(Kind::TrafficExtension),
        To::EnvoyExtensionPolicy => {
            check_needs_no_routes(selection, args.to)?;
            let Some(attached) = &args.target else {
                let reason = "--to envoyextensionpolicy needs --target, such as Gateway/NAME";
                return Err(reason.to_owned().into());
            };
            let files = match (args.attach, &args.module_url) {
                (Attach::Native, _) => files("/var/lib/sluice"),
                (Attach::Wasm, Some(url)) => Files::of_wasm(url.clone()),
                (Attach::Wasm, None) => {
                    let reason = "--to envoyextensionpolicy needs --module-url, because Envoy \
                                  Gateway loads the modules, or --attach native";
                    return Err(reason.to_owned().into());
                }
            };
            let target = target(document, compiled, selection, args, &files);
            Ok(envoy_extension_policy::render(&target, attached)?)
        }
        To::Envoy => {
            let addresses = &Addresses {
                admin: args.admin,
                http: args.listen,
                tls: args.listen_tls,
                mapped: args.port_maps.clone(),
            };
            let choices = envoy::Choices {
                files: &files("dist"),
                addresses,
                endpoints: &args.endpoints,
                system_authorities: &args.ca_certificates,
                http2_ports: &bundle.http2_ports,
            };
            envoy::bootstrap(document, compiled, selection, &choices, left_out)
        }
    }
}

/// The document with the settings that it needs in a mesh.
fn complete(document: &Tree, to: To, selection: &Selection) -> Tree {
    let mut document = document.clone();
    let is_beside_istio =
        to == To::EnvoyFilter && selection.has_any(&[Filter::Router, Filter::Mirror]);
    if is_beside_istio && document.field("unmatchedHosts").is_none() {
        // Hosts without rules keep Istio's routes.
        document.push_field(Key::new("unmatchedHosts"), Tree::text("pass"));
    }
    document
}

fn target<'a>(
    document: &'a Tree,
    compiled: &'a Compiled<'a>,
    selection: &'a Selection,
    args: &'a RenderArgs,
    files: &'a Files,
) -> istio::Target<'a> {
    istio::Target {
        document,
        compiled,
        selection,
        namespace: args.workload_namespace.as_deref(),
        selector: &args.selector,
        context: args.context,
        files,
        sha256: args.module_sha256.as_deref(),
    }
}

fn check_module(args: &RenderArgs) -> Result<(), String> {
    let plugin = args.to.plugin();
    let has_url = plugin.is_some() || args.to == To::EnvoyExtensionPolicy;
    if args.module_url.is_some() && !has_url {
        let reason = "--module-url is for --to wasmplugin, trafficextension and \
                      envoyextensionpolicy only; use --module-file";
        return Err(reason.to_owned());
    }
    if args.target.is_some() && args.to != To::EnvoyExtensionPolicy {
        return Err("--target is for --to envoyextensionpolicy only".to_owned());
    }
    if let (Attach::Native, Some(kind)) = (args.attach, plugin) {
        return Err(format!("a {kind:?} cannot load the dynamic module; use --to envoyfilter"));
    }
    if args.native_file.is_some() && args.attach != Attach::Native {
        return Err("--native-file needs --attach native".to_owned());
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

fn check_envoy_filter(selection: &Selection, context: Context) -> Result<(), String> {
    let has_upstreams = |module: &&Module| match module {
        Module::Sluice => true,
        Module::Single(own) => matches!(own, Filter::Router | Filter::Mirror | Filter::Outlier),
    };
    match selection.modules().iter().find(has_upstreams) {
        Some(module) if context == Context::SidecarInbound => Err(format!(
            "the {} filter selects upstreams, so it needs --context SIDECAR_OUTBOUND or GATEWAY; \
             or choose other filters with --filter",
            module.name()
        )),
        _ => Ok(()),
    }
}

fn check_needs_no_routes(selection: &Selection, to: To) -> Result<(), String> {
    let is_enough =
        |module: &&Module| matches!(module, Module::Single(Filter::Fault | Filter::Egress));
    let Some(module) = selection.modules().iter().find(|module| !is_enough(module)) else {
        return Ok(());
    };
    let name = module.name();
    Err(match to {
        To::EnvoyExtensionPolicy => format!(
            "the {name} filter cannot be in an EnvoyExtensionPolicy, because Envoy Gateway writes \
             the routes and clusters itself; choose other filters with --filter, such as fault"
        ),
        _ => format!(
            "the {name} filter needs --to envoyfilter, because a WasmPlugin or TrafficExtension \
             cannot give it the routes, clusters or place in the chain that it needs; or choose \
             other filters with --filter"
        ),
    })
}

#[cfg(test)]
mod tests;
