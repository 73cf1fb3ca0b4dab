//! `router` of a document: settings of the router that Istio does not have.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::mode::{MODES, Mode};

/// `router` of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterSettings {
    /// Whether the router routes requests, or leaves them to Envoy's own routes and only counts
    pub mode: Mode,
}

fields!(RouterSettings as "Router", "Settings of the router.", {
    "mode": Kind::OneOf(&MODES) =>
        "enforce (default) routes requests; shadow decides and counts, and leaves all requests to \
         Envoy's own routes.";
});

impl RouterSettings {
    /// Reads `router: { mode }`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let mode = node.object::<Self>()?.optional("mode", Mode::read)?;
        Ok(Self { mode: mode.unwrap_or_default() })
    }
}
