//! Layers: which top-level module of a crate may import which.
//!
//! A crate with layers declares its top-level modules in `lib.rs` from the lowest layer to the
//! highest. A module, with all modules below it, may import from the layers that are declared
//! before its own one. The root is above all layers.

use crate::imports::Import;
use crate::modules::{Crate, ModuleId, ROOT};

/// The packages whose library declares layers.
pub const PACKAGES: [&str; 2] = ["sluice-architecture", "sluice-policy"];

/// The imports of a crate that point to a layer above their own one, as one message each.
pub fn upward_imports(modules: &Crate, imports: &[Import]) -> Vec<String> {
    let layers = &modules.modules[ROOT].children;
    let layer = |module: ModuleId| {
        let top_level = modules.top_level(module);
        layers.iter().position(|(_, layer)| Some(*layer) == top_level).unwrap_or(layers.len())
    };
    let name = |layer: usize| layers.get(layer).map_or("the root", |(name, _)| name.as_str());
    imports
        .iter()
        .filter(|import| layer(import.from) < layer(import.to))
        .map(|import| {
            let (from, to) = (name(layer(import.from)), name(layer(import.to)));
            format!("{import}: {from} must not import from {to}, a layer above it")
        })
        .collect()
}
