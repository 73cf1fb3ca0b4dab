//! Place of a rule in the document.

use std::fmt;

/// Place of a virtual service, of one of its HTTP routes, or of a match of such a route. It is
/// displayed as a JSON path: `virtualServices[0].http[1].match[2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    service: u32,
    route: Option<u32>,
    matched: Option<u32>,
}

impl Place {
    /// Returns the place of the virtual service with the index `index`.
    pub fn of_service(index: usize) -> Self {
        Self { service: number(index), route: None, matched: None }
    }

    /// Returns the place of the HTTP route with the index `index` in the virtual service.
    pub fn route(self, index: usize) -> Self {
        Self { route: Some(number(index)), matched: None, ..self }
    }

    /// Returns the place of the match with the index `index` in the HTTP route.
    pub fn matched(self, index: usize) -> Self {
        Self { matched: Some(number(index)), ..self }
    }

    /// Returns the place of the route that contains the match; `self` if this is no match.
    pub fn of_route(self) -> Self {
        Self { matched: None, ..self }
    }
}

/// Converts an index. A document has fewer than 2^32 elements, so the limit is never reached.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtualServices[{}]", self.service)?;
        if let Some(route) = self.route {
            write!(f, ".http[{route}]")?;
        }
        self.matched.map_or(Ok(()), |matched| write!(f, ".match[{matched}]"))
    }
}
