//! What all workers know of a cluster, in the store that they share. There are three kinds of values:
//!
//! - the *state*: whose it is, and the policy's [`Cluster`];
//! - the *sign*: how many endpoints Envoy's cluster has. Whoever changes the state so that it matters to
//!   requests writes it again, and by its version others see that there is something new. So what a
//!   request costs does not depend on how many hosts there are;
//! - the *counts* of each host that has failed.
//!
//! State and counts begin with the fingerprint of the settings that they were made with. Other counts are
//! none. Other state is replaced, if it is from an older configuration; a worker that still has the older
//! one, for the requests that are under way, does nothing any more.

use std::time::Duration;

use sluice_policy::outlier::Cluster;
use sluice_policy::outlier::count::Counts;
use smallvec::SmallVec;

/// The keys of a cluster's values.
#[derive(Debug)]
pub struct Keys {
    /// Of the sign
    pub sign: Vec<u8>,
    /// Of the state
    pub state: Vec<u8>,
    counts: Vec<u8>,
}

impl Keys {
    /// Those of the cluster of this name.
    pub fn new(cluster: &str) -> Self {
        let key = |kind: &str, end: &str| {
            ["sluice.outlier ", kind, " ", cluster, end].concat().into_bytes()
        };
        Self { sign: key("sign", ""), state: key("state", ""), counts: key("counts", " ") }
    }

    /// That of the counts of a host.
    pub fn counts(&self, address: &[u8]) -> SmallVec<[u8; 128]> {
        let mut key = SmallVec::from_slice(&self.counts);
        key.extend_from_slice(address);
        key
    }
}

/// The number of endpoints in a sign; 0 for anything else.
pub fn decode_endpoints(sign: &[u8]) -> u32 {
    sign.try_into().map_or(0, u32::from_le_bytes)
}

/// A state: the fingerprint of the settings, when the plugin was configured, and the cluster.
pub fn encode_state(fingerprint: u64, configured: Duration, cluster: &Cluster) -> Vec<u8> {
    let configured = u64::try_from(configured.as_nanos()).unwrap_or(u64::MAX);
    [&fingerprint.to_le_bytes()[..], &configured.to_le_bytes(), &cluster.encode()].concat()
}

/// The parts of a state, the cluster still as bytes.
pub fn split_state(value: &[u8]) -> Option<(u64, Duration, &[u8])> {
    let (fingerprint, rest) = value.split_first_chunk()?;
    let (configured, cluster) = rest.split_first_chunk()?;
    let configured = Duration::from_nanos(u64::from_le_bytes(*configured));
    Some((u64::from_le_bytes(*fingerprint), configured, cluster))
}

/// Counts and the fingerprint of the settings.
pub fn encode_counts(fingerprint: u64, counts: Counts) -> Vec<u8> {
    [&fingerprint.to_le_bytes()[..], &counts.encode()].concat()
}

/// Counts, if they are from these settings.
pub fn decode_counts(fingerprint: u64, value: &[u8]) -> Option<Counts> {
    let (own, counts) = value.split_first_chunk()?;
    if u64::from_le_bytes(*own) == fingerprint { Counts::decode(counts) } else { None }
}
