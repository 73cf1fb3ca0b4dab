//! The values about a cluster in the store that all workers share. There are three kinds:
//!
//! - the *state*: the owner, and the policy's [`Cluster`];
//! - the *sign*: the number of endpoints of Envoy's cluster. A worker that changes the state in a
//!   way that matters to requests writes the sign again. The other workers see the change by the
//!   sign's version, so the cost of a request does not depend on the number of hosts;
//! - the *counts* of each host that has failed.
//!
//! State and counts begin with the fingerprint of the settings with which they were made. Counts
//! with another fingerprint are ignored. A state with another fingerprint is replaced if its
//! configuration is older. A worker that still runs the older configuration, for requests that have
//! not ended, then does nothing any more.

use std::time::Duration;

use sluice_policy::outlier::Cluster;
use sluice_policy::outlier::count::Counts;
use smallvec::SmallVec;

/// The keys of a cluster's values.
#[derive(Debug)]
pub struct Keys {
    /// The key of the sign
    pub sign: Vec<u8>,
    /// The key of the state
    pub state: Vec<u8>,
    counts: Vec<u8>,
}

impl Keys {
    /// The keys of the cluster with this name.
    pub fn new(cluster: &str) -> Self {
        let key = |kind: &str, end: &str| {
            ["sluice.outlier ", kind, " ", cluster, end].concat().into_bytes()
        };
        Self { sign: key("sign", ""), state: key("state", ""), counts: key("counts", " ") }
    }

    /// The key of the counts of a host.
    pub fn counts(&self, address: &[u8]) -> SmallVec<[u8; 128]> {
        let mut key = SmallVec::from_slice(&self.counts);
        key.extend_from_slice(address);
        key
    }
}

/// Returns the number of endpoints in a sign; 0 for anything else.
pub fn decode_endpoints(sign: &[u8]) -> u32 {
    sign.try_into().map_or(0, u32::from_le_bytes)
}

/// Encodes a state: the fingerprint of the settings, the time of the configuration, and the
/// cluster.
pub fn encode_state(fingerprint: u64, configured: Duration, cluster: &Cluster) -> Vec<u8> {
    let configured = u64::try_from(configured.as_nanos()).unwrap_or(u64::MAX);
    [&fingerprint.to_le_bytes()[..], &configured.to_le_bytes(), &cluster.encode()].concat()
}

/// Returns the three parts of a state. The cluster is still encoded.
pub fn split_state(value: &[u8]) -> Option<(u64, Duration, &[u8])> {
    let (fingerprint, rest) = value.split_first_chunk()?;
    let (configured, cluster) = rest.split_first_chunk()?;
    let configured = Duration::from_nanos(u64::from_le_bytes(*configured));
    Some((u64::from_le_bytes(*fingerprint), configured, cluster))
}

/// Encodes counts: the fingerprint of the settings and the counts. Nothing for counts without
/// failures: each later success reads them, and Envoy returns an empty value at a quarter of the
/// cost.
pub fn encode_counts(fingerprint: u64, counts: Counts) -> Vec<u8> {
    if counts.is_clear() {
        return Vec::new();
    }
    [&fingerprint.to_le_bytes()[..], &counts.encode()].concat()
}

/// Decodes counts that were made with the settings of this fingerprint.
pub fn decode_counts(fingerprint: u64, value: &[u8]) -> Option<Counts> {
    let (own, counts) = value.split_first_chunk()?;
    if u64::from_le_bytes(*own) == fingerprint { Counts::decode(counts) } else { None }
}
