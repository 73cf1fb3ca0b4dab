//! The filters of the bundle, and which of them a document needs.

use clap::ValueEnum;

use crate::tree::Tree;

/// A filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Filter {
    /// Injects delays and aborts
    Fault,
    /// Rejects calls of unknown services
    Egress,
    /// Copies requests
    Mirror,
    /// Routes HTTP requests
    Router,
    /// Ejects failing hosts
    Outlier,
    /// Routes TLS connections
    Sni,
}

impl Filter {
    /// The name of the filter and of its module.
    pub fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Fault => "fault",
            Self::Mirror => "mirror",
            Self::Outlier => "outlier",
            Self::Router => "router",
            Self::Sni => "sni",
        }
    }

    /// The filters that a document needs, in the order in which requests pass them. If it needs
    /// none, the router.
    pub fn of(document: &Tree) -> Vec<Self> {
        let services = document.field("virtualServices").map_or(&[][..], Tree::elements);
        let routes =
            || services.iter().flat_map(|s| s.field("http").map_or(&[][..], Tree::elements));
        let route_has = |name: &str| routes().any(|route| route.field(name).is_some());
        let has = |name: &str| document.field(name).is_some();
        let is_given = |list: Option<&Tree>| list.is_some_and(|list| !list.elements().is_empty());
        let mut filters = Vec::new();
        let mut add = |filter, is_needed| filters.extend(Some(filter).filter(|_| is_needed));
        add(Self::Egress, has("outboundTrafficPolicy") || has("egress"));
        add(Self::Fault, route_has("fault") || (has("faults") && routes().next().is_some()));
        add(Self::Mirror, route_has("mirror") || route_has("mirrors"));
        add(Self::Router, routes().next().is_some());
        add(Self::Outlier, has("destinationRules"));
        add(Self::Sni, services.iter().any(|service| is_given(service.field("tls"))));
        // ServiceEntries alone are for the egress filter, although they lack its policy.
        if filters.is_empty() {
            filters.push(if has("serviceEntries") { Self::Egress } else { Self::Router });
        }
        filters
    }
}
