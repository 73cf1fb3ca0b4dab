//! The outlier detection that applies to the workloads of EnvoyFilters. Where Envoy ejects hosts,
//! it is part of the clusters, so it must be known which DestinationRules apply.

use sluice_policy::document::filter::Filter;
use sluice_policy::document::json::{Field, Json};
use sluice_policy::spec::document::Document;
use sluice_policy::spec::proxy::NodeMetadata;

use super::destinations::{Destinations, fields, has_detection, text};
use super::istio::Target;
use super::outlier::Watched;

/// The node metadata of the workloads that `--selector` selects.
struct Workloads<'a>(&'a Target<'a>);

impl NodeMetadata for Workloads<'_> {
    fn namespace(&self) -> Option<String> {
        self.0.namespace().map(str::to_owned)
    }

    fn label(&self, name: &str) -> Option<String> {
        let Self(Target { selector, .. }) = self;
        let label = selector.iter().find(|(known, _)| known == name);
        label.map(|(_, value)| value.clone())
    }
}

/// The clusters with outlier detection in the proxies of the workloads.
///
/// # Errors
/// It is unknown which rules apply, or patches cannot express them.
pub fn watched(
    target: &Target<'_>,
    destinations: &Destinations<'_>,
) -> Result<Vec<Watched>, String> {
    let json = &target.compiled.json;
    let enforcement = json.field("outlier").and_then(|own| text(own, "enforcement"));
    if enforcement == Some("filter") {
        // The filter itself reads which rules apply.
        let hosts = destinations.watched_hosts().into_iter();
        return Ok(hosts.map(|host| Watched::by_filter(host, target.files)).collect());
    }
    if json.field("outlier").and_then(|own| text(own, "mode")) == Some("shadow") {
        // The merge ignores zeros, as that of protobuf messages does.
        let reason = "outlier.mode shadow needs outlier.enforcement filter in a mesh: a patch \
                      cannot set the enforcing_* fields of istiod's clusters to 0";
        return Err(reason.to_owned());
    }
    check_selectors(target, json)?;
    let compiled = Document::compile(json, Filter::Outlier, &Workloads(target));
    let (document, _) = compiled
        .map_err(|rejection| format!("the rules for these workloads have errors: {rejection}"))?;
    let groups: Vec<_> = document.destination_rules.clusters().collect();
    Watched::of_rules(&groups, target.files)
}

/// Checks that `--selector` decides which rules apply.
fn check_selectors(target: &Target<'_>, json: &Json) -> Result<(), String> {
    if json.field("proxy").is_some_and(|proxy| proxy.field("labels").is_some()) {
        return Ok(());
    }
    let workloads = Workloads(target);
    for rule in json.elements("destinationRules").iter().filter(|rule| has_detection(rule)) {
        let Some(selector) = rule.field("workloadSelector") else { continue };
        let labels = fields(selector, "matchLabels");
        let own = |name: &str| workloads.label(name);
        let differs =
            |(name, value): &Field<'_>| own(name).is_some_and(|own| value.as_str() != Some(&*own));
        let missing = labels.iter().find(|(name, _)| own(name).is_none());
        if let Some((name, value)) = missing.filter(|_| !labels.iter().any(differs)) {
            return Err(format!(
                "the DestinationRule of {} is for workloads with the label {name}={}, which \
                 --selector does not have; render these workloads separately, with --selector",
                text(rule, "host").unwrap_or_default(),
                value.as_str().unwrap_or_default(),
            ));
        }
    }
    Ok(())
}
