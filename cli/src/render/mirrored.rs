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
    (0..count).map(header).collect()
}

/// The same without those from which Envoy itself reads the cluster of a copy. If such a header is
/// removed after the filter, Envoy makes no copy.
pub fn removed_headers(sets: &[Vec<Copy>]) -> Vec<String> {
    let mut headers = headers(sets);
    let by_port = sets.iter().flatten().filter(|copy| copy.is_by_port);
    let read: Vec<_> = by_port.map(|copy| header(copy.index)).collect();
    headers.retain(|header| !read.contains(header));
    headers
}

fn header(index: usize) -> String {
    format!("x-sluice-mirror-{index}")
}
