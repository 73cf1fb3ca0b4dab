//! The workloads and listeners of EnvoyFilters and WasmPlugins.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde::Serialize;
use sluice_policy::spec::service_entry::{Protocol, ServicePort};

use super::attach::Files;
use super::selection::Selection;
use crate::check::Compiled;
use crate::tree::Tree;

/// The listeners of Istio's proxies that get the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Context {
    /// Requests that arrive at a workload
    SidecarInbound,
    /// Requests that a workload sends
    SidecarOutbound,
    /// Requests that pass a gateway
    Gateway,
}

/// The filters to render and their target.
#[derive(Debug)]
pub struct Target<'a> {
    /// The plugin document
    pub document: &'a Tree,
    /// The same document as it was read, compiled
    pub compiled: &'a Compiled<'a>,
    /// The modules
    pub selection: &'a Selection,
    /// The namespace of the workloads; by default that of the document
    pub namespace: Option<&'a str>,
    /// The labels of the workloads; without one all workloads of the namespace
    pub selector: &'a [(String, String)],
    /// The listeners
    pub context: Context,
    /// The files of the modules, or their URLs
    pub files: &'a Files,
    /// The SHA-256 of the module, in hexadecimal
    pub sha256: Option<&'a str>,
}

/// A label of workloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label<'a> {
    name: &'a str,
    value: &'a str,
}

impl Target<'_> {
    /// The namespace of the workloads, if it is known.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.or_else(|| self.document.field("namespace").and_then(Tree::as_str))
    }

    /// The labels of the workloads.
    pub fn labels(&self) -> Vec<Label<'_>> {
        self.selector.iter().map(|(name, value)| Label { name, value }).collect()
    }

    /// The ports of TLS connections, which have server names, by the ServiceEntries.
    pub fn tls_ports(&self) -> BTreeSet<u16> {
        let entries = self.compiled.document.egress.entries.iter();
        let ports = entries.flat_map(|entry| &entry.ports);
        let is_tls = |port: &&ServicePort| port.protocols == [Protocol::Tls];
        ports.filter(is_tls).map(|port| port.number).collect()
    }
}
