//! Routes of requests that Envoy copies to the clusters that the mirror filter names in headers.

use serde::Serialize;

use super::destinations::Copy;

/// The route of requests that are copied to a set of clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MirroredRoute {
    /// A name for access logs
    name: String,
    copies: Vec<Copy>,
}

impl MirroredRoute {
    /// The route of a set of copies.
    pub fn new(copies: &[Copy]) -> Self {
        let clusters: Vec<_> = copies.iter().map(|copy| copy.cluster.as_str()).collect();
        Self { name: format!("mirrored to {}", clusters.join(", ")), copies: copies.to_vec() }
    }
}

/// The headers in which the mirror filter names the clusters of all sets.
pub fn headers(sets: &[Vec<Copy>]) -> Vec<String> {
    let count = sets.iter().flatten().map(|copy| copy.index + 1).max().unwrap_or(0);
    (0..count).map(|index| format!("x-sluice-mirror-{index}")).collect()
}
