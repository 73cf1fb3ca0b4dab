//! `DestinationRule`: what holds for the clusters of a host. Of its traffic policy the outlier
//! detection is read; the rest is Envoy's work.

use std::rc::Rc;

use crate::document::filter::Filter;
use crate::document::node::{Node, Object};
use crate::spec::destination::{Naming, read_subset};
use crate::spec::outlier_detection::Settings;
use crate::spec::proxy::{Proxy, read_labels};
use crate::value::host_name::{self, qualify};

/// The rules of a document, compiled.
#[derive(Debug, Default)]
pub struct DestinationRules {
    /// The most specific host first
    rules: Vec<Rule>,
    naming: Option<Naming>,
}

/// What holds for a cluster.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its outlier detection
    pub settings: Rc<Settings>,
    /// The name of the cluster that gets the requests while this one is out
    pub fallback: Option<String>,
}

/// What holds for a host: of all its rules that a workload selector picks, or of all others.
#[derive(Debug)]
struct Rule {
    host: String,
    is_selected: bool,
    policy: Option<Policy>,
    subsets: Vec<(String, Policy)>,
}

/// A `trafficPolicy`.
#[derive(Debug, Default)]
struct Policy {
    detection: Option<Detection>,
    /// By port. A port level inherits nothing: without outlier detection it has none
    ports: Vec<(u16, Option<Detection>)>,
}

#[derive(Clone, Debug)]
struct Detection {
    settings: Rc<Settings>,
    /// The subset that the requests go to instead
    fallback: Option<String>,
}

impl Policy {
    fn has_detection(&self) -> bool {
        self.detection.is_some() || self.ports.iter().any(|(_, detection)| detection.is_some())
    }

    /// What holds for a port in place of what is `inherited` (`MergeTrafficPolicy` of Istio).
    fn at<'a>(
        &'a self,
        port: Option<u16>,
        inherited: Option<&'a Detection>,
    ) -> Option<&'a Detection> {
        match self.ports.iter().find(|(known, _)| Some(*known) == port) {
            Some((_, detection)) => detection.as_ref(),
            None => self.detection.as_ref().or(inherited),
        }
    }
}

impl DestinationRules {
    /// Reads `destinationRules[]`.
    ///
    /// As in Istio, a host may have several rules: their subsets are taken together, and one of them
    /// may have a `trafficPolicy` for all. What Istio then drops without a word is an error: a second
    /// `trafficPolicy` and a second subset of a name.
    pub fn read(node: &Node<'_>, naming: &Naming, proxy: &Proxy<'_>) -> Self {
        node.notice_to(Filter::Router, "is not carried out by this filter");
        let mut rules: Vec<Rule> = Vec::new();
        let mut fallbacks = Vec::new();
        for node in node.elements() {
            read_rule(&node, naming, proxy, &mut rules, &mut fallbacks);
        }
        for (host, node) in fallbacks {
            let subset = node.string();
            let is_known = |rule: &Rule| {
                rule.host == host && rule.subsets.iter().any(|(name, _)| Some(&**name) == subset)
            };
            if subset.is_some() && !rules.iter().any(is_known) {
                node.invalid("is not a subset of this host");
            }
        }
        Self { rules, naming: Some(naming.clone()) }
    }

    /// What holds for Envoy's cluster of this name: by the rule with the most specific host, a
    /// subset's policy before the host's.
    pub fn target(&self, cluster: &str) -> Option<Target> {
        let template = &self.naming.as_ref()?.template;
        let read = |rule: &Rule, subset| template.read_name(cluster, &rule.host, subset);
        let (rule, subset, (host, port)) = self.rules.iter().find_map(|rule| {
            if let Some(place) = read(rule, None) {
                return Some((rule, None, place));
            }
            rule.subsets
                .iter()
                .find_map(|(name, policy)| Some((rule, Some(policy), read(rule, Some(name))?)))
        })?;
        let of_host = rule.policy.as_ref().and_then(|policy| policy.at(port, None));
        let detection = subset.map_or(of_host, |policy| policy.at(port, of_host))?;
        let fallback = detection.fallback.as_deref();
        Some(Target {
            settings: Rc::clone(&detection.settings),
            fallback: fallback.map(|subset| template.name(host, Some(subset), port)),
        })
    }
}

/// Reads a rule into the one of its host. Each subset that a fallback names goes to `fallbacks` with
/// the host, to be looked for when all rules are there.
fn read_rule<'a>(
    node: &Node<'a>,
    naming: &Naming,
    proxy: &Proxy<'_>,
    rules: &mut Vec<Rule>,
    fallbacks: &mut Vec<(String, Node<'a>)>,
) {
    let Some(mut object) = node.object() else { return };
    let host = object.required("host").and_then(|node| {
        let host = node.string()?;
        if let Err(reason) = host_name::check(host) {
            node.invalid(reason);
            return None;
        }
        Some(qualify(host, naming.namespace.as_deref()))
    });
    let selector = object.field("workloadSelector").map(|node| {
        let labels = node.object().and_then(|mut object| object.required("matchLabels"));
        labels.map_or(Vec::new(), |node| read_labels(&node))
    });
    if let Some(node) = object.field("exportTo") {
        node.strings();
        node.notice("is of no effect in a filter, only attached documents apply");
    }
    let policy_node = object.field("trafficPolicy");
    let mut named = Vec::new();
    let policy = policy_node.map(|node| (node, read_policy(&node, naming, None, &mut named)));
    let subsets = object.list("subsets").into_iter();
    let subsets: Vec<_> = subsets
        .filter_map(|node| Some((node, read_subset_policy(&node, naming, &mut named)?)))
        .collect();
    let Some(host) = host else { return };
    // Another workload's rule says nothing here, so nothing here conflicts with it.
    if selector.as_ref().is_some_and(|labels| !proxy.has_labels(labels)) {
        return;
    }
    fallbacks.extend(named.into_iter().map(|node| (host.clone(), node)));
    let is_selected = selector.is_some();
    // The most specific host first, and the rules of some workloads before those of all.
    let specificity = |host: &str, is_selected| (!host.starts_with('*'), host.len(), is_selected);
    let own = specificity(&host, is_selected);
    let is_same = |rule: &Rule| rule.host == host && rule.is_selected == is_selected;
    let index = rules.iter().position(is_same).unwrap_or_else(|| {
        let is_less = |rule: &Rule| specificity(&rule.host, rule.is_selected) < own;
        let index = rules.iter().position(is_less).unwrap_or(rules.len());
        rules.insert(index, Rule { host, is_selected, policy: None, subsets: Vec::new() });
        index
    });
    let Some(rule) = rules.get_mut(index) else { return };
    if let Some((node, policy)) = policy
        && rule.policy.replace(policy).is_some()
    {
        node.error("is given twice for this host");
    }
    for (node, (name, policy)) in subsets {
        if rule.subsets.iter().any(|(known, _)| *known == name) {
            node.error(format_args!("{name:?} is given twice for this host"));
        }
        rule.subsets.push((name, policy));
    }
}

fn read_subset_policy<'a>(
    node: &Node<'a>,
    naming: &Naming,
    fallbacks: &mut Vec<Node<'a>>,
) -> Option<(String, Policy)> {
    let mut object = node.object()?;
    let name = object.required("name");
    // Which endpoints have them is up to Envoy's cluster.
    let _ = object.field("labels").map(|node| read_labels(&node));
    let policy = object.field("trafficPolicy");
    let name = name.and_then(|node| {
        let name = read_subset(&node)?;
        if name.is_none() {
            node.error("is empty");
        }
        name
    });
    let own = Some(name.as_deref().unwrap_or_default());
    let policy = policy.map(|node| {
        let policy = read_policy(&node, naming, own, fallbacks);
        if policy.has_detection() && !naming.template.has_subset() {
            node.notice_to(Filter::Outlier, "never takes effect, clusterName has no {subset}");
        }
        policy
    });
    Some((name?, policy.unwrap_or_default()))
}

/// What Envoy carries out.
const OF_ENVOY: [&str; 6] =
    ["loadBalancer", "connectionPool", "tls", "tunnel", "proxyProtocol", "retryBudget"];

/// Reads a `trafficPolicy`, of a subset if there is one.
fn read_policy<'a>(
    node: &Node<'a>,
    naming: &Naming,
    subset: Option<&str>,
    fallbacks: &mut Vec<Node<'a>>,
) -> Policy {
    let Some(mut object) = node.object() else { return Policy::default() };
    leave_to_envoy(&mut object, &OF_ENVOY);
    let detection = object.field("outlierDetection");
    let mut policy = Policy {
        detection: detection.and_then(|node| read_detection(&node, subset, fallbacks)),
        ports: Vec::new(),
    };
    for node in object.list("portLevelSettings") {
        let Some(mut object) = node.object() else { continue };
        leave_to_envoy(&mut object, &OF_ENVOY[..3]);
        let port = object.required("port").and_then(|node| node.object()?.required("number"));
        let detection = object.field("outlierDetection");
        if detection.is_some() && !naming.template.has_port() {
            node.notice_to(Filter::Outlier, "never takes effect, clusterName has no {port}");
        }
        let detection = detection.and_then(|node| read_detection(&node, subset, fallbacks));
        let Some(number) = port.and_then(|node| node.port()) else { continue };
        if policy.ports.iter().any(|(known, _)| *known == number) {
            node.error(format_args!("port {number} is given twice"));
        }
        policy.ports.push((number, detection));
    }
    policy
}

fn leave_to_envoy(object: &mut Object<'_>, names: &[&'static str]) {
    for node in names.iter().filter_map(|name| object.field(name)) {
        node.notice_to(Filter::Outlier, "is not carried out by this filter, set it in Envoy");
    }
}

fn read_detection<'a>(
    node: &Node<'a>,
    subset: Option<&str>,
    fallbacks: &mut Vec<Node<'a>>,
) -> Option<Detection> {
    let (settings, fallback) = Settings::read(node)?;
    let name = fallback.as_ref().and_then(Node::string);
    if let Some(fallback) = fallback {
        match subset {
            None => fallback.error("is for subsets"),
            Some(own) if name == Some(own) => fallback.invalid("is the subset itself"),
            Some(_) => fallbacks.push(fallback),
        }
        if settings.max_ejection_percent < 100 && settings.min_health_percent == 0 {
            fallback.notice_to(
                Filter::Outlier,
                "is of use once all hosts are out, for which maxEjectionPercent has to be 100",
            );
        }
    }
    Some(Detection { settings: Rc::new(settings), fallback: name.map(str::to_owned) })
}

#[cfg(test)]
mod tests;
