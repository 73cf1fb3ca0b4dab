//! The endpoints of a cluster that Envoy reads from a file (EDS) and watches.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::address::socket;

/// The members of a cluster at one time.
#[derive(Clone, Debug, Default)]
pub struct Endpoints(Vec<Locality>);

/// A group of endpoints of one zone and priority.
#[derive(Clone, Debug, Default)]
pub struct Locality {
    /// Name of the zone.
    pub zone: String,
    /// Priority; 0 is the first to be used.
    pub priority: u32,
    /// Weight of the locality, for locality-weighted load balancing.
    pub weight: Option<u32>,
    /// Addresses and their weights.
    pub endpoints: Vec<(SocketAddr, u32)>,
}

impl Endpoints {
    /// Endpoints of equal weight, in one locality.
    pub fn of(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::weighted(addresses.into_iter().map(|address| (address, 1)))
    }

    /// Endpoints with these weights, in one locality.
    pub fn weighted(endpoints: impl IntoIterator<Item = (SocketAddr, u32)>) -> Self {
        let endpoints = endpoints.into_iter().collect();
        Self(vec![Locality { endpoints, ..Locality::default() }])
    }

    /// Endpoints in several localities.
    pub fn localities(localities: Vec<Locality>) -> Self {
        Self(localities)
    }

    /// Returns the `ClusterLoadAssignment`.
    pub(crate) fn to_json(&self, cluster: &str) -> Value {
        let localities = self.0.iter().map(Locality::to_json);
        json!({ "cluster_name": cluster, "endpoints": localities.collect::<Vec<_>>() })
    }

    /// Writes the file of the cluster in `directory`. Envoy reads it when a file is moved there, so
    /// it never reads a partial file.
    pub(crate) fn write(&self, directory: &Path, cluster: &str) {
        let mut assignment = self.to_json(cluster);
        assignment["@type"] =
            "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment".into();
        let file = directory.join(file_name(cluster));
        let new = file.with_extension("new");
        std::fs::write(&new, json!({ "resources": [assignment] }).to_string()).unwrap();
        std::fs::rename(&new, &file).unwrap();
    }
}

impl Locality {
    fn to_json(&self) -> Value {
        let endpoints = self.endpoints.iter().map(|(address, weight)| {
            json!({
                "endpoint": { "address": socket(*address) },
                "load_balancing_weight": weight,
            })
        });
        let mut locality = json!({
            "locality": { "zone": self.zone },
            "priority": self.priority,
            "lb_endpoints": endpoints.collect::<Vec<_>>(),
        });
        if let Some(weight) = self.weight {
            locality["load_balancing_weight"] = weight.into();
        }
        locality
    }
}

/// Name of the file with the endpoints of a cluster, in the working directory of Envoy.
pub(crate) fn file_name(cluster: &str) -> String {
    format!("{cluster}.endpoints.json")
}
