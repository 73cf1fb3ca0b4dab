//! The `trafficPolicy` of each cluster, from the DestinationRules of the document.

use std::collections::{BTreeSet, HashMap, HashSet};

use sluice_policy::document::json::Json;
use sluice_policy::spec::destination::Naming;
use sluice_policy::value::host_name::qualify;

use crate::render::left_out::LeftOut;
use crate::render::part::Part;

/// The fields of a policy that Envoy's clusters carry out, apart from outlier detection.
#[derive(Clone, Debug, Default)]
pub struct Policy<'a> {
    pub connection_pool: Option<Part<'a>>,
    pub load_balancer: Option<Part<'a>>,
    pub tls: Option<Part<'a>>,
    pub tunnel: Option<Part<'a>>,
    pub proxy_protocol: Option<Part<'a>>,
    pub retry_budget: Option<Part<'a>>,
}

/// The DestinationRules that apply to the proxy.
#[derive(Debug)]
pub struct Policies<'a> {
    rules: Vec<Rule<'a>>,
}

#[derive(Debug)]
struct Rule<'a> {
    /// The host, complete; it may be a wildcard
    host: String,
    is_selected: bool,
    part: Part<'a>,
}

impl<'a> Policies<'a> {
    /// The rules of a document. Leaves out rules for workloads if the document has no labels.
    pub fn new(document: &'a Json, naming: &Naming, left_out: &mut LeftOut) -> Self {
        let document = Part::root(document);
        let labels = document.field("proxy").and_then(|proxy| proxy.field("labels"));
        let mut rules = Vec::new();
        for part in document.elements("destinationRules") {
            let selector = part.field("workloadSelector");
            if let Some(selector) = &selector {
                let wanted = selector.field("matchLabels");
                let wanted = wanted.as_ref().map_or(&[][..], |wanted| wanted.json.fields());
                let Some(labels) = &labels else {
                    left_out.add(
                        &selector.path,
                        "the proxy has no labels, so the rule does not apply; set proxy.labels",
                    );
                    continue;
                };
                if !wanted.iter().all(|(name, value)| labels.json.field(name) == Some(value)) {
                    continue;
                }
            }
            let host = part.text("host").unwrap_or_default();
            let host = qualify(host, naming.namespace.as_deref());
            rules.push(Rule { host, is_selected: selector.is_some(), part });
        }
        Self { rules }
    }

    /// The rules of the most specific host that has the host `host` (`MostSpecificHostMatch`). Of
    /// one host, rules for workloads replace the others.
    fn of_host(&self, host: &str) -> Vec<&Rule<'a>> {
        let rank =
            |rule: &&Rule<'a>| (!rule.host.starts_with('*'), rule.host.len(), rule.is_selected);
        let matching: Vec<_> =
            self.rules.iter().filter(|rule| has_host(&rule.host, host)).collect();
        let best = matching.iter().map(rank).max();
        matching.into_iter().filter(|rule| Some(rank(rule)) == best).collect()
    }

    /// The policy of a cluster (`MergeSubsetTrafficPolicy`). `port` is `None` if it is not known.
    pub fn of_cluster(
        &self,
        host: &str,
        subset: Option<&str>,
        port: Option<u16>,
        left_out: &mut LeftOut,
    ) -> Policy<'a> {
        let rules = self.of_host(host);
        let own = rules.iter().find_map(|rule| rule.part.field("trafficPolicy"));
        let of_subset = subset.and_then(|subset| self.subset(host, subset)?.field("trafficPolicy"));
        let mut at_port = |policy: Option<Part<'a>>| -> Option<(Policy<'a>, bool)> {
            let policy = policy?;
            let ports = policy.elements("portLevelSettings");
            if port.is_none() && !ports.is_empty() {
                let path = format!("{}.portLevelSettings", policy.path);
                left_out
                    .add(&path, "the port of this cluster is not known; write destination.port");
            }
            let number = |own: &&Part<'_>| own.field("port").and_then(|own| own.port("number"));
            let own = ports.iter().find(|own| port.is_some() && number(own) == port);
            Some(match own {
                Some(own) => (Policy::read(own), true),
                None => (Policy::read(&policy), false),
            })
        };
        let (own, of_subset) = (at_port(own), at_port(of_subset));
        match (own, of_subset) {
            (Some((own, _)), Some((subset, has_port))) => own.merged(subset, has_port),
            (own, subset) => subset.or(own).map(|(policy, _)| policy).unwrap_or_default(),
        }
    }

    /// A subset of a host.
    pub fn subset(&self, host: &str, name: &str) -> Option<Part<'a>> {
        let rules = self.of_host(host).into_iter();
        let mut subsets = rules.flat_map(|rule| rule.part.elements("subsets"));
        subsets.find(|own| own.text("name") == Some(name))
    }

    /// Leaves out policies of hosts that have no cluster, and of ports that no cluster has.
    /// `clusters` has the host and port of each cluster, `hosts` those of all rules. Rules for
    /// other proxies are left out on purpose.
    pub fn leave_out_unused(
        &self,
        clusters: &[(&str, Option<u16>)],
        hosts: &BTreeSet<String>,
        left_out: &mut LeftOut,
    ) {
        let mut ports: HashMap<&str, Vec<Option<u16>>> = HashMap::new();
        for (host, port) in clusters {
            for rule in self.of_host(host) {
                ports.entry(&rule.part.path).or_default().push(*port);
            }
        }
        let rules = hosts.iter().flat_map(|host| self.of_host(host));
        let of_hosts: HashSet<_> = rules.map(|rule| &rule.part.path).collect();
        for rule in &self.rules {
            let Some(policy) = rule.part.field("trafficPolicy") else { continue };
            let Some(ports) = ports.get(&*rule.part.path) else {
                if !of_hosts.contains(&rule.part.path) {
                    let reason = "no rule has this host as a destination, so it has no cluster";
                    left_out.add(&policy.path, reason);
                }
                continue;
            };
            for own in policy.elements("portLevelSettings") {
                let number = own.field("port").and_then(|own| own.port("number"));
                if !ports.contains(&number) && !ports.contains(&None) {
                    left_out.add(&own.path, "no rule has this port of the host as a destination");
                }
            }
        }
    }
}

/// Returns whether the host of a rule is `host`, or a wildcard for it.
fn has_host(own: &str, host: &str) -> bool {
    own == host || own.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix))
}

impl<'a> Policy<'a> {
    fn read(policy: &Part<'a>) -> Self {
        Self {
            connection_pool: policy.field("connectionPool"),
            load_balancer: policy.field("loadBalancer"),
            tls: policy.field("tls"),
            tunnel: policy.field("tunnel"),
            proxy_protocol: policy.field("proxyProtocol"),
            retry_budget: policy.field("retryBudget"),
        }
    }

    /// The policy with that of a subset (`MergeTrafficPolicy`). The policy of a port inherits
    /// nothing that it may have itself.
    fn merged(self, subset: Self, has_port: bool) -> Self {
        let over = |own: Option<Part<'a>>, subset: Option<Part<'a>>| {
            if has_port { subset } else { subset.or(own) }
        };
        Self {
            connection_pool: over(self.connection_pool, subset.connection_pool),
            load_balancer: over(self.load_balancer, subset.load_balancer),
            tls: over(self.tls, subset.tls),
            tunnel: subset.tunnel.or(self.tunnel),
            proxy_protocol: subset.proxy_protocol.or(self.proxy_protocol),
            retry_budget: subset.retry_budget.or(self.retry_budget),
        }
    }
}
