//! Arguments that several commands take.

use clap::{Args, ValueEnum};

use crate::collect::Defaults;
use crate::inputs::InputFiles;

/// Files, and defaults for objects and documents that do not set these fields.
#[derive(Args, Default)]
pub struct InputArgs {
    #[command(flatten)]
    pub files: InputFiles,
    #[command(flatten)]
    defaults: DefaultArgs,
}

/// Defaults for objects and documents that do not set these fields.
#[derive(Args, Default)]
pub struct DefaultArgs {
    /// The namespace of objects without one; short host names are completed with it
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// The pattern of cluster names if no document sets clusterName, such as '{host}[-{subset}]'
    #[arg(long, value_name = "PATTERN")]
    cluster_name: Option<String>,
    /// A gateway that the proxy serves, or mesh for a sidecar, if no document sets proxy; may be
    /// repeated
    #[arg(long = "gateway", value_name = "NAME")]
    gateways: Vec<String>,
    /// The port that clients call, if no document sets proxy: for a gateway, the server.port.number
    /// of the Gateway [default: the port on which Envoy listens]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    proxy_port: Option<u16>,
}

impl InputArgs {
    /// The defaults, independent of the command line.
    pub fn defaults(&self) -> Defaults {
        self.defaults.read()
    }
}

impl DefaultArgs {
    /// The same, independent of the command line.
    pub fn read(&self) -> Defaults {
        Defaults {
            namespace: self.namespace.clone(),
            cluster_name: self.cluster_name.clone(),
            gateways: self.gateways.clone(),
            proxy_port: self.proxy_port,
            routes_services: false,
            attaches_routes: false,
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text, with colours on a terminal
    #[default]
    Text,
    /// One JSON document, for programs
    Json,
}

/// Reads `NAME=VALUE`.
pub fn read_pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = parts.ok_or("must be NAME=VALUE, such as app=web")?;
    Ok((name.to_owned(), value.to_owned()))
}
