//! Finds outlier detection that never ejects a host, or whose ejections have no effect.

use std::collections::HashMap;

use crate::document::filter::Filter;
use crate::document::json::Json;
use crate::document::node::Node;
use crate::document::report::{Finding, Kind, Report};
use crate::spec::outlier::OutlierSettings;
use crate::spec::outlier_detection::{Consecutive, Settings};
use crate::spec::proxy::{NoMetadata, Proxy};
use crate::spec::scope::Scope;
use crate::value::host_name::qualify;

/// Returns warnings about the outlier detection of a valid document, in addition to the notices of
/// the outlier filter.
pub(super) fn lint(document: &Json) -> Vec<Finding> {
    let report = Report::new(Filter::Outlier);
    let namespace = document.field("namespace").and_then(Json::as_str);
    let known = endpoints(document, namespace);
    for rule in document.elements("destinationRules") {
        let host = rule.field("host").and_then(Json::as_str).map(|host| qualify(host, namespace));
        let endpoints = host.and_then(|host| *known.get(&host)?);
        let subsets = rule.elements("subsets");
        for own in [rule].into_iter().chain(subsets) {
            let Some(policy) = own.field("trafficPolicy") else { continue };
            for level in [policy].into_iter().chain(policy.elements("portLevelSettings")) {
                if let Some(detection) = level.field("outlierDetection")
                    && let Some(reason) = no_effect(detection, endpoints)
                {
                    report.notice(detection, Kind::NoEffect, &reason, None);
                }
            }
        }
    }
    report.finish(document).unwrap_or_default()
}

/// Why an outlier detection has no effect on a host with so many endpoints, if that is known.
fn no_effect(detection: &Json, endpoints: Option<usize>) -> Option<String> {
    let report = Report::new(Filter::Outlier);
    let proxy = Proxy::unknown(&NoMetadata);
    let scope = Scope::of_document(None, &proxy);
    let node = Node::root(detection, &report);
    let (settings, fallback) = Settings::read(&node, OutlierSettings::default(), &scope).ok()?;
    let rates = [
        settings.success_rate.map(|rate| (rate.enforcing, rate.enforcing_local_origin)),
        settings.failure_percentage.map(|rate| (rate.enforcing, rate.enforcing_local_origin)),
    ];
    let is_enforced = |(enforcing, of_local): &(u32, u32)| {
        *enforcing > 0 || (*of_local > 0 && settings.splits_local_origin)
    };
    let in_a_row = [
        (settings.consecutive_5xx, true),
        (settings.consecutive_gateway_failure, true),
        (settings.consecutive_local_origin_failure, settings.splits_local_origin),
    ];
    let is_at_work = |(detector, is_counted): &(Consecutive, bool)| {
        *is_counted && detector.threshold > 0 && detector.enforcing > 0
    };
    if !in_a_row.iter().any(is_at_work)
        && settings.has_rates()
        && !rates.iter().flatten().any(is_enforced)
    {
        return Some("ejects nothing, its rates are enforced in 0 % of all cases".to_owned());
    }
    // A fallback receives the requests instead.
    if settings.min_health_percent == 100 && fallback.is_none() {
        return Some(
            "ejects without effect: with minHealthPercent 100, all hosts get requests once one of them is ejected"
                .to_owned(),
        );
    }
    let needed = settings.minimum_hosts();
    endpoints.filter(|known| *known < needed as usize).map(|known| {
        let percent = settings.max_ejection_percent;
        format!(
            "ejects nothing: with maxEjectionPercent {percent} that takes {needed} hosts, and the service entries have \
             {known}"
        )
    })
}

/// Returns the numbers of endpoints of hosts by their service entries; `None` if not fixed.
fn endpoints(document: &Json, namespace: Option<&str>) -> HashMap<String, Option<usize>> {
    let mut known = HashMap::new();
    for entry in document.elements("serviceEntries") {
        // A DNS name can have any number of addresses, and the number of workloads changes.
        let is_fixed = entry.field("resolution").and_then(Json::as_str) == Some("STATIC");
        let number = entry.elements("endpoints").len();
        let number = Some(number).filter(|number| is_fixed && *number > 0);
        for host in entry.elements("hosts").iter().filter_map(Json::as_str) {
            let sum = known.entry(qualify(host, namespace)).or_insert(Some(0));
            *sum = sum.zip(number).map(|(sum, number)| sum + number);
        }
    }
    known
}
