//! `DestinationRule`: the policies of the clusters of a host. The filters carry out only the
//! outlier detection; Envoy carries out the other policies.

use std::sync::Arc;

pub mod clusters;

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::json::Quoted;
use crate::document::node::{Node, Object, all};
use crate::document::report::{self, Reported};
use crate::name_set::NameSet;
use crate::sort::sort;
use crate::spec::destination::{Naming, PortSelector, read_subset};
use crate::spec::outlier::OutlierSettings;
use crate::spec::outlier_detection::Settings;
use crate::spec::proxy::{Proxy, read_labels};
use crate::spec::scope::Scope;
use crate::value::host_name::{self, qualify};

/// The rules of a document, compiled.
#[derive(Debug, Default)]
pub struct DestinationRules {
    /// Rules, the most specific host first
    rules: Vec<Rule>,
    naming: Option<Naming>,
}

/// The policy of a cluster.
#[derive(Clone, Debug)]
pub struct Target {
    /// Settings of the outlier detection
    pub settings: Arc<Settings>,
    /// Name of the cluster that receives the requests while all hosts of this one are ejected
    pub fallback: Option<String>,
}

/// Policy of a host. It combines either all rules of the host that have a workload selector, or all
/// rules that have none.
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
    /// Policies by port, sorted. They inherit nothing: `None` means no outlier detection
    ports: Vec<(u16, Option<Detection>)>,
}

#[derive(Clone, Debug)]
struct Detection {
    settings: Arc<Settings>,
    /// Subset that receives the requests while all hosts are ejected
    fallback: Option<String>,
}

impl Policy {
    fn has_detection(&self) -> bool {
        self.detection.is_some() || self.ports.iter().any(|(_, detection)| detection.is_some())
    }

    /// Returns the detection of a port, else that of the policy, else the inherited one
    /// (`MergeTrafficPolicy` of Istio).
    fn at<'a>(
        &'a self,
        port: Option<u16>,
        inherited: Option<&'a Detection>,
    ) -> Option<&'a Detection> {
        let place =
            port.and_then(|port| self.ports.binary_search_by_key(&port, |(port, _)| *port).ok());
        match place.and_then(|place| self.ports.get(place)) {
            Some((_, detection)) => detection.as_ref(),
            None => self.detection.as_ref().or(inherited),
        }
    }
}

impl DestinationRules {
    /// Reads `destinationRules[]`.
    ///
    /// As in Istio, a host may have several rules: their subsets are combined, and one of the rules
    /// may have a `trafficPolicy`. Istio silently ignores a second `trafficPolicy` and a second
    /// subset with the same name; here both are errors.
    pub fn read(
        node: &Node<'_>,
        naming: &Naming,
        proxy: &Proxy<'_>,
        outlier: OutlierSettings,
    ) -> Result<Self, Reported> {
        let left_to = report::Kind::LeftToFilter(Filter::Outlier);
        node.notice_to(Filter::Router, left_to, "is left to the outlier filter");
        let nodes = node.elements()?;
        let context = Context { naming, proxy, outlier };
        let mut merged = Merged::default();
        let read = all(nodes.iter().map(|node| read_rule(node, context, &mut merged)));
        // After an error the subsets are incomplete, so fallbacks cannot be checked.
        read?;
        for (host, node, subset) in &merged.fallbacks {
            if ![true, false].iter().any(|is_selected| merged.has(host, *is_selected, subset)) {
                node.invalid("is not a subset of this host");
            }
        }
        let mut rules = merged.rules;
        // The most specific host comes first. For one host, rules with a selector come first.
        let rank = |rule: &Rule| (!rule.host.starts_with('*'), rule.host.len(), rule.is_selected);
        sort(&mut rules, |left, right| rank(right).cmp(&rank(left)));
        Ok(Self { rules, naming: Some(naming.clone()) })
    }

    /// Returns the hosts of the rules with outlier detection; a host may be a wildcard.
    pub fn watched_hosts(&self) -> impl Iterator<Item = &str> {
        let has_detection = |rule: &&Rule| {
            let policies = rule.subsets.iter().map(|(_, policy)| policy).chain(&rule.policy);
            policies.into_iter().any(Policy::has_detection)
        };
        self.rules.iter().filter(has_detection).map(|rule| rule.host.as_str())
    }

    /// Returns the policy of the Envoy cluster `cluster`, from the rule with the most specific
    /// host. In this rule the policy of the subset has priority over that of the host.
    pub fn target(&self, cluster: &str) -> Option<Target> {
        let template = &self.naming.as_ref()?.template;
        let read = |rule: &Rule, subset| template.read_name(cluster, &rule.host, subset);
        let (rule, subset, (host, port)) = self.rules.iter().find_map(|rule| {
            if let Some(place) = read(rule, None) {
                return Some((rule, None, place));
            }
            let mut names = rule.subsets.iter().map(|(name, _)| &**name);
            names.find_map(|name| Some((rule, Some(name), read(rule, Some(name))?)))
        })?;
        let detection = rule.detection(subset, port)?;
        let fallback = detection.fallback.as_deref();
        Some(Target {
            settings: Arc::clone(&detection.settings),
            fallback: fallback.map(|subset| template.name(host, Some(subset), port)),
        })
    }
}

/// The rules that were read so far, one for each host and kind of selector.
#[derive(Default)]
struct Merged<'a> {
    rules: Vec<Rule>,
    /// Keys of the rules
    keys: NameSet,
    /// Index of the rule and name, for all subsets
    subsets: NameSet,
    /// Fallbacks, which can be checked only after all rules are read
    fallbacks: Vec<Fallback<'a>>,
}

impl Merged<'_> {
    fn key(host: &str, is_selected: bool) -> Vec<u8> {
        [host.as_bytes(), &[is_selected.into()]].concat()
    }

    fn subset_key(rule: usize, name: &str) -> Vec<u8> {
        [&rule.to_le_bytes(), name.as_bytes()].concat()
    }

    /// Returns whether a rule has a subset.
    fn has(&self, host: &str, is_selected: bool, subset: &str) -> bool {
        let rule = self.keys.find(&Self::key(host, is_selected));
        rule.is_some_and(|rule| self.subsets.contains(&Self::subset_key(rule, subset)))
    }
}

/// A fallback: host of the rule, node with the name of the subset, and this name.
type Fallback<'a> = (String, Node<'a>, &'a str);

/// `spec` of a DestinationRule.
pub struct DestinationRule;

fields!(DestinationRule, "The spec of a DestinationRule.", {
    "host" required: Kind::WILDCARD_HOST =>
        "Host that the rule applies to; *.SUFFIX for all hosts with this suffix.";
    "trafficPolicy": Kind::Object(Policy::schema) =>
        "Policy of the host, for subsets without their own policy too.";
    "subsets": Kind::List(&Kind::Object(Subset::schema)) => "Subsets (versions) of the service.";
    "workloadSelector": Kind::Object(WorkloadSelector::schema) =>
        "Workloads whose proxies apply the rule; all if absent.";
    "exportTo": Kind::TEXTS =>
        "Has no effect: a filter applies only the documents that are attached to it.";
});

/// `WorkloadSelector`
struct WorkloadSelector;

fields!(WorkloadSelector, "Selects workloads by their labels.", {
    "matchLabels" required: Kind::LABELS => "Labels that a workload must have.";
});

/// `Subset`
struct Subset;

fields!(Subset, "A subset (version) of the service.", {
    "name" required: Kind::LABEL => "Name of the subset.";
    "labels": Kind::LABELS =>
        "Labels of the endpoints; the filters do not use them, the Envoy cluster selects \
         endpoints.";
    "trafficPolicy": Kind::Object(Policy::schema) =>
        "Policy of the subset; that of the host if absent.";
});

fields!(Policy as "TrafficPolicy", "Policy of the clusters of a host or subset.", {
    "outlierDetection": Kind::Object(Settings::schema) => "Ejects hosts that fail; off if absent.";
    "portLevelSettings": Kind::List(&Kind::Object(PortPolicy::schema)) =>
        "Policies of single ports; each replaces the whole policy for its port.";
    "loadBalancer": Kind::Any => "Not carried out by the filters; set it in the Envoy cluster.";
    "connectionPool": Kind::Any => "Not carried out by the filters; set it in the Envoy cluster.";
    "tls": Kind::Any => "Not carried out by the filters; set it in the Envoy cluster.";
    "tunnel": Kind::Any => "Not carried out by the filters; set it in the Envoy cluster.";
    "proxyProtocol": Kind::Any => "Not carried out by the filters; set it in the Envoy cluster.";
    "retryBudget": Kind::Any => "Not carried out by the filters; set it in the Envoy cluster.";
});

/// `PortTrafficPolicy`
struct PortPolicy;

fields!(PortPolicy, "Policy of one port.", {
    "port" required: Kind::Object(PortSelector::schema) => "Port that the policy applies to.";
    "outlierDetection": Kind::Object(Settings::schema) => "Ejects hosts that fail; off if absent.";
    "loadBalancer": Kind::Any => "Not carried out by the filters; set it in the Envoy cluster.";
    "connectionPool": Kind::Any => "Not carried out by the filters; set it in the Envoy cluster.";
    "tls": Kind::Any => "Not carried out by the filters; set it in the Envoy cluster.";
});

/// What a rule is read with.
#[derive(Clone, Copy)]
struct Context<'c> {
    naming: &'c Naming,
    proxy: &'c Proxy<'c>,
    /// `outlier` of the document
    outlier: OutlierSettings,
}

/// Reads a rule and merges it into the rule of its host.
fn read_rule<'a>(
    node: &Node<'a>,
    context: Context<'_>,
    merged: &mut Merged<'a>,
) -> Result<(), Reported> {
    let Context { naming, proxy, .. } = context;
    let object = node.object::<DestinationRule>()?;
    let host = object.required("host").and_then(|node| {
        let host = node.string()?;
        host_name::check(host).map_err(|reason| node.invalid(reason))?;
        Ok(qualify(host, naming.namespace.as_deref()))
    });
    let selector = object.optional("workloadSelector", |node| {
        read_labels(&node.object::<WorkloadSelector>()?.required("matchLabels")?)
    });
    let exports = object.optional("exportTo", |node| {
        node.notice(report::Kind::NotApplicable, NOT_EXPORTED);
        node.strings()
    });
    let mut named = Vec::new();
    let policy = object.optional("trafficPolicy", |node| {
        Ok((*node, read_policy(node, context, None, &mut named)?))
    });
    let subsets = object
        .list_with("subsets", |node| Ok((*node, read_subset_policy(node, context, &mut named)?)));
    let (host, selector, policy, subsets) = (host?, selector?, policy?, subsets?);
    exports?;
    // A rule for other workloads has no effect on this proxy, so it cannot conflict.
    if selector.as_ref().is_some_and(|labels| !proxy.has_labels(labels)) {
        return Ok(());
    }
    merged.fallbacks.extend(named.into_iter().map(|(node, subset)| (host.clone(), node, subset)));
    let is_selected = selector.is_some();
    let index = merged.keys.add(&Merged::key(&host, is_selected));
    if index == merged.rules.len() {
        merged.rules.push(Rule { host, is_selected, policy: None, subsets: Vec::new() });
    }
    let Some(rule) = merged.rules.get_mut(index) else { return Ok(()) };
    if let Some((node, policy)) = policy
        && rule.policy.replace(policy).is_some()
    {
        node.error("occurs twice for this host");
    }
    for (node, (name, policy)) in subsets {
        if !merged.subsets.insert(&Merged::subset_key(index, &name)) {
            node.error(format_args!("{} occurs twice for this host", Quoted(&name)));
        }
        rule.subsets.push((name, policy));
    }
    Ok(())
}

/// Reason why `exportTo` has no effect.
pub(crate) const NOT_EXPORTED: &str = "has no effect in a filter, only attached documents apply";

fn read_subset_policy<'a>(
    node: &Node<'a>,
    context: Context<'_>,
    fallbacks: &mut Vec<(Node<'a>, &'a str)>,
) -> Result<(String, Policy), Reported> {
    let object = node.object::<Subset>()?;
    let name = object
        .required("name")
        .and_then(|node| read_subset(&node)?.ok_or_else(|| node.error("must not be empty")));
    // The labels are only checked: the Envoy cluster selects the endpoints.
    let labels = object.optional("labels", read_labels);
    let own = name.as_deref().unwrap_or_default();
    let policy = object.optional("trafficPolicy", |node| {
        let policy = read_policy(node, context, Some(own), fallbacks)?;
        let is_named = context.naming.template.has_subset() || context.naming.template.is_unknown();
        if policy.has_detection() && !is_named {
            let reason = "has no effect, clusterName has no {subset}";
            node.notice_to(Filter::Outlier, report::Kind::NoEffect, reason);
        }
        Ok(policy)
    });
    labels?;
    Ok((name?, policy?.unwrap_or_default()))
}

/// Fields of a policy that only Envoy carries out. A policy of a port has only the first three.
const LEFT_TO_ENVOY: [&str; 6] =
    ["loadBalancer", "connectionPool", "tls", "tunnel", "proxyProtocol", "retryBudget"];

/// Reads a `trafficPolicy` of a host, or of `subset` if it is given.
fn read_policy<'a>(
    node: &Node<'a>,
    context: Context<'_>,
    subset: Option<&str>,
    fallbacks: &mut Vec<(Node<'a>, &'a str)>,
) -> Result<Policy, Reported> {
    let object = node.object::<Policy>()?;
    leave_to_envoy(&object, &LEFT_TO_ENVOY);
    let detection = object
        .optional("outlierDetection", |node| read_detection(node, context, subset, fallbacks));
    let mut numbers = NameSet::default();
    let ports = object.list_with("portLevelSettings", |node| {
        let object = node.object::<PortPolicy>()?;
        leave_to_envoy(&object, &LEFT_TO_ENVOY[..3]);
        let number = object.required("port").and_then(|node| PortSelector::read(&node));
        let detection = object.optional("outlierDetection", |detection| {
            let template = &context.naming.template;
            if !template.has_port() && !template.is_unknown() {
                let reason = "has no effect, clusterName has no {port}";
                node.notice_to(Filter::Outlier, report::Kind::NoEffect, reason);
            }
            read_detection(detection, context, subset, fallbacks)
        });
        let (number, detection) = (number?, detection?);
        if !numbers.insert(&number.to_le_bytes()) {
            return Err(node.error(format_args!("port {number} occurs twice")));
        }
        Ok((number, detection))
    });
    let mut ports = ports?;
    sort(&mut ports, |(left, _), (right, _)| left.cmp(right));
    Ok(Policy { detection: detection?, ports })
}

fn leave_to_envoy(object: &Object<'_>, names: &[&'static str]) {
    for node in names.iter().filter_map(|name| object.field(name)) {
        let reason = "is left to Envoy, set it in the cluster";
        node.notice_to(Filter::Outlier, report::Kind::LeftToEnvoy, reason);
    }
}

fn read_detection<'a>(
    node: &Node<'a>,
    context: Context<'_>,
    subset: Option<&str>,
    fallbacks: &mut Vec<(Node<'a>, &'a str)>,
) -> Result<Detection, Reported> {
    // The clusters belong to no gateway.
    let (namespace, proxy) = (context.naming.namespace.as_deref(), context.proxy);
    let scope = Scope::of_document(namespace, proxy);
    let (settings, fallback) = Settings::read(node, context.outlier, &scope)?;
    let name = fallback.as_ref().map(Node::string).transpose()?;
    if let (Some(fallback), Some(name)) = (fallback, name) {
        match subset {
            None => return Err(fallback.error("can only be used in a subset")),
            Some(own) if name == own => return Err(fallback.invalid("is the subset itself")),
            Some(_) => fallbacks.push((fallback, name)),
        }
        if settings.max_ejection_percent < 100 && settings.min_health_percent == 0 {
            fallback.notice_to(
                Filter::Outlier,
                report::Kind::NoEffect,
                "is used only when all hosts are out, which requires maxEjectionPercent: 100",
            );
        }
    }
    Ok(Detection { settings: Arc::new(settings), fallback: name.map(str::to_owned) })
}

#[cfg(test)]
mod tests;
