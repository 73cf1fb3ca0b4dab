//! The clusters that have outlier detection, for programs that write Envoy's configuration.

use std::iter;

use super::{DestinationRules, Detection, Policy, Rule};
use crate::spec::outlier_detection::Settings;

/// Clusters of a host that have the same outlier detection.
#[derive(Clone, Copy, Debug)]
pub struct Clusters<'a> {
    /// The host; it may be a wildcard
    pub host: &'a str,
    /// The subset; `None` for clusters without a subset, and for subsets that no rule names
    pub subset: Option<&'a str>,
    /// The port; `None` for all ports that no policy of the host names
    pub port: Option<u16>,
    /// The outlier detection, own or inherited; `None` if it is off
    pub settings: Option<&'a Settings>,
}

impl DestinationRules {
    /// Returns the clusters of all hosts: for each host and each of its subsets, one item for all
    /// ports and one for each port that a policy of the host names.
    pub fn clusters(&self) -> impl Iterator<Item = Clusters<'_>> {
        self.rules.iter().enumerate().flat_map(|(index, rule)| {
            let earlier = self.rules.iter().take(index).filter(|other| other.host == rule.host);
            rule.clusters(&earlier.collect::<Vec<_>>())
        })
    }
}

impl Rule {
    /// Returns the clusters of this rule, without those that `earlier` rules of the host have.
    fn clusters(&self, earlier: &[&Self]) -> Vec<Clusters<'_>> {
        let is_new = |subset: Option<&str>| {
            earlier.iter().all(|rule| subset.is_some_and(|name| rule.subset(name).is_none()))
        };
        let names = iter::once(None).chain(self.subsets.iter().map(|(name, _)| Some(&**name)));
        let names = names.filter(|subset| is_new(*subset));
        let ports = self.ports();
        let clusters = |subset, port| Clusters {
            host: &self.host,
            subset,
            port,
            settings: self.detection(subset, port).map(|detection| &*detection.settings),
        };
        names.flat_map(|subset| ports.iter().map(move |port| clusters(subset, *port))).collect()
    }

    /// Returns the ports that policies name, after `None` for all others.
    fn ports(&self) -> Vec<Option<u16>> {
        let policies = self.policy.iter().chain(self.subsets.iter().map(|(_, policy)| policy));
        let mut ports: Vec<_> =
            policies.flat_map(|own| &own.ports).map(|own| Some(own.0)).collect();
        ports.push(None);
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    fn subset(&self, name: &str) -> Option<&Policy> {
        self.subsets.iter().find(|(known, _)| known == name).map(|(_, policy)| policy)
    }

    /// Returns the outlier detection of a subset, or else of the host, on a port.
    pub(super) fn detection(&self, subset: Option<&str>, port: Option<u16>) -> Option<&Detection> {
        let of_host = self.policy.as_ref().and_then(|policy| policy.at(port, None));
        match subset {
            Some(name) => self.subset(name)?.at(port, of_host),
            None => of_host,
        }
    }
}
