//! The clusters that have outlier detection, for programs that write Envoy's configuration.

use std::iter;

use crate::name_set::NameSet;
use crate::sort::sort;

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
        // The first rule of a host, and a subset of it, come before others of the same name.
        let mut seen = NameSet::default();
        self.rules.iter().flat_map(move |rule| {
            let mut is_new = |subset: Option<&str>| {
                let subset = subset.map_or(String::new(), |name| format!("|{name}"));
                seen.insert([&*rule.host, &*subset].concat().as_bytes())
            };
            rule.clusters(&mut is_new)
        })
    }
}

impl Rule {
    /// Returns the clusters of this rule without a subset and of its subsets, if they are new.
    fn clusters(&self, is_new: &mut dyn FnMut(Option<&str>) -> bool) -> Vec<Clusters<'_>> {
        let subsets = self.subsets.iter().map(|(name, policy)| (Some(&**name), Some(policy)));
        let own = iter::once((None, None)).chain(subsets);
        let own: Vec<_> = own.filter(|(subset, _)| is_new(*subset)).collect();
        let ports = self.ports();
        let clusters = |subset, policy: Option<_>, port| Clusters {
            host: &self.host,
            subset,
            port,
            settings: self.at(policy, port).map(|detection| &*detection.settings),
        };
        let all = own.into_iter();
        all.flat_map(|(name, policy)| ports.iter().map(move |port| clusters(name, policy, *port)))
            .collect()
    }

    /// Returns the ports that policies name, after `None` for all others.
    fn ports(&self) -> Vec<Option<u16>> {
        let policies = self.policy.iter().chain(self.subsets.iter().map(|(_, policy)| policy));
        let mut ports: Vec<_> =
            policies.flat_map(|own| &own.ports).map(|own| Some(own.0)).collect();
        ports.push(None);
        sort(&mut ports, Ord::cmp);
        ports.dedup();
        ports
    }

    fn subset(&self, name: &str) -> Option<&Policy> {
        self.subsets.iter().find(|(known, _)| known == name).map(|(_, policy)| policy)
    }

    /// Returns the outlier detection of a subset, or else of the host, on a port.
    pub(super) fn detection(&self, subset: Option<&str>, port: Option<u16>) -> Option<&Detection> {
        match subset {
            Some(name) => self.at(Some(self.subset(name)?), port),
            None => self.at(None, port),
        }
    }

    /// Returns the outlier detection of a subset's policy, or else of the host, on a port.
    fn at<'a>(&'a self, policy: Option<&'a Policy>, port: Option<u16>) -> Option<&'a Detection> {
        let of_host = self.policy.as_ref().and_then(|policy| policy.at(port, None));
        policy.map_or(of_host, |policy| policy.at(port, of_host))
    }
}
