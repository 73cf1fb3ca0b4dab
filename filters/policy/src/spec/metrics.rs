//! `metrics` of a document: statistics that the filters have only if the document asks for them.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;

/// `metrics` of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `routes`: whether the router counts the requests of each route and destination
    pub routes: bool,
}

fields!(MetricsSettings as "Metrics", "Statistics that are off by default.", {
    "routes": Kind::Boolean =>
        "Whether the router has a counter for each route and destination, for up to 1,000 of them; \
         false if absent.";
});

impl MetricsSettings {
    /// Reads `metrics`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let routes = object.optional("routes", Node::boolean)?;
        Ok(Self { routes: routes.unwrap_or_default() })
    }
}
