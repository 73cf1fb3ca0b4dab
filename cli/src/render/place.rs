//! Where a filter runs.

use serde::Serialize;

/// Where a filter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the chain of an HTTP connection manager
    Http,
    /// In the chain of a listener
    Network,
    /// In a cluster, before `upstream_codec`
    Upstream,
}
