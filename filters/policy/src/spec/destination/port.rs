//! The port of a destination, and where it comes from.

/// Port of a destination. The order is that of istiod's `GetDestinationCluster`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The destination has a port.
    Written(u16),
    /// The only port of the service.
    Only(u16),
    /// The port that the client called; `None` if only the request has it.
    Called(Option<u16>),
}

impl Port {
    /// Returns the port of the service, as far as the document has it.
    pub fn of_service(self) -> Option<u16> {
        match self {
            Self::Written(port) | Self::Only(port) => Some(port),
            Self::Called(_) => None,
        }
    }
}
