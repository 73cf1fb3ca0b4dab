//! The formats that are rendered.

use clap::ValueEnum;

use super::wasm_plugin::Kind;

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
    /// Istio TrafficExtensions, for Istio 1.30 and later
    #[value(name = "trafficextension")]
    TrafficExtension,
    /// An EnvoyExtensionPolicy of Envoy Gateway
    #[value(name = "envoyextensionpolicy")]
    EnvoyExtensionPolicy,
    /// A complete static configuration of Envoy
    Envoy,
}

impl To {
    /// The kind of the objects that load a module in Istio, without its routes and clusters.
    pub fn plugin(self) -> Option<Kind> {
        match self {
            Self::WasmPlugin => Some(Kind::WasmPlugin),
            Self::TrafficExtension => Some(Kind::TrafficExtension),
            _ => None,
        }
    }
}
