//! Arguments that several commands take.

use clap::{Args, ValueEnum};

use crate::collect::Defaults;

/// What holds for objects that do not say it.
#[derive(Args)]
pub struct InputArgs {
    /// The namespace of objects without one; it completes short host names
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// How clusters are called where no document has clusterName, such as '{host}[-{subset}]'
    #[arg(long, value_name = "PATTERN")]
    cluster_name: Option<String>,
    /// A gateway that the proxy serves, mesh for a sidecar, as often as needed; for rules about gateways where no
    /// document has proxy
    #[arg(long = "gateway", value_name = "NAME")]
    gateways: Vec<String>,
}

impl InputArgs {
    /// The same without the command line.
    pub fn defaults(&self) -> Defaults {
        Defaults {
            namespace: self.namespace.clone(),
            cluster_name: self.cluster_name.clone(),
            gateways: self.gateways.clone(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, with colours on a terminal
    Text,
    /// One JSON document
    Json,
}
