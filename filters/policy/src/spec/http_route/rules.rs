//! The matches of a route one by one, see [`crate::desk::lint`] and [`crate::desk::explain`].

use super::HttpRoute;
use crate::spec::http_match::HttpMatch;

impl HttpRoute {
    /// The matches, each with its name for logs.
    pub(crate) fn named_matches(&self) -> impl Iterator<Item = (&str, &HttpMatch)> {
        self.matches.iter().map(|entry| (&*entry.name, &entry.conditions))
    }
}
