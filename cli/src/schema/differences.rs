//! What the schema and the filters judge differently, among mutations of valid documents: only what
//! a schema cannot say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sluice_conformance::documents::{Place, documents, places};
use sluice_policy::document::filter::{Filter, Filters};
use sluice_policy::spec::document::Document;
use sluice_policy::spec::proxy::NoMetadata;

use super::schema;

/// The differences: why the schema cannot say what the filters check, and the fields whose
/// mutations show it.
const DIFFERENCES: &[(&str, &[&str])] = &[
    (
        "a duration in smaller units may be shorter than 1ms",
        &[
            "Compare.timeout",
            "CorsPolicy.maxAge",
            "Delay.exponentialDelay",
            "Delay.fixedDelay",
            "Delay.jitter",
            "Delay.maxDelay",
            "Failure.slowerThan",
            "FailureRule.slowerThan",
            "FaultBudget.window",
            "HTTPRoute.timeout",
            "HalfOpen.probeTimeout",
            "MirrorBudget.window",
            "OutlierDetection.interval",
            "OutlierDetection.maxEjectionTimeJitter",
            "Retries.backoff",
            "Retries.perTryTimeout",
            "Sni.helloTimeout",
        ],
    ),
    (
        "two durations are compared",
        &[
            "GatewayTimeouts.backendRequest",
            "OutlierDetection.baseEjectionTime",
            "OutlierDetection.maxEjectionTime",
        ],
    ),
    (
        "it depends on the filter whether the field is required",
        &[
            "HTTPRoute.route",
            "PluginDocument.outboundTrafficPolicy",
            "PluginDocument.virtualServices",
            "VirtualService.http",
        ],
    ),
    (
        "a name must not occur twice",
        &[
            "DestinationRule.subsets",
            "PluginDocument.destinationRules",
            "ServiceEntry.ports",
            "Sni.hosts",
            "TrafficPolicy.portLevelSettings",
            "VirtualService.hosts",
        ],
    ),
    (
        "a name refers to another part of the document",
        &[
            "Endpoint.ports",
            "Fallback.subset",
            "ServiceEntryPort.name",
            "Subset.name",
            "TlsMatch.sniHosts",
        ],
    ),
    (
        "another field decides whether the value is allowed or required",
        &[
            "Endpoint.address",
            "GatewayBackendFilter.requestHeaderModifier",
            "GatewayBackendFilter.responseHeaderModifier",
            "GatewayBackendRef.filters",
            "GatewayBackendRef.name",
            "GatewayBackendRef.port",
            "GatewayCORS.allowMethods",
            "GatewayCORS.allowOrigins",
            "GatewayFraction.numerator",
            "GatewayGRPCRouteFilter.requestHeaderModifier",
            "GatewayGRPCRouteFilter.requestMirror",
            "GatewayGRPCRouteFilter.responseHeaderModifier",
            "GatewayGRPCRouteRule.backendRefs",
            "GatewayGRPCRouteRule.filters",
            "GatewayHTTPRouteFilter.cors",
            "GatewayHTTPRouteFilter.requestHeaderModifier",
            "GatewayHTTPRouteFilter.requestMirror",
            "GatewayHTTPRouteFilter.requestRedirect",
            "GatewayHTTPRouteFilter.responseHeaderModifier",
            "GatewayHTTPRouteFilter.urlRewrite",
            "GatewayHTTPRouteRule.backendRefs",
            "GatewayHTTPRouteRule.filters",
            "GatewayHTTPRouteRule.matches",
            "GatewayMethodMatch.method",
            "GatewayMethodMatch.service",
            "GatewayMirrorBackend.name",
            "GatewayMirrorBackend.port",
            "GatewayParentReference.name",
            "GatewayPathMatch.value",
            "GatewayPathModifier.replaceFullPath",
            "GatewayPathModifier.replacePrefixMatch",
            "GatewayRequestMirror.backendRef",
            "GatewayRequestRedirect.path",
            "GatewayURLRewrite.path",
            "HTTPRoute.retries",
            "OutlierDetection.splitExternalLocalOriginErrors",
            "Retries.attempts",
            "ServiceEntry.endpoints",
            "ServiceEntry.hosts",
            "ServiceEntry.resolution",
            "StringMatch.prefix",
            "TrafficPolicy.outlierDetection",
            "VirtualService.gateways",
        ],
    ),
    (
        "a regular expression is compiled, and its groups are counted",
        &["GatewayValueMatch.value", "RegexRewrite.match", "StringMatch.regex"],
    ),
    (
        "an editor need not offer the only value that protobuf takes for absent",
        &["Redirect.scheme"],
    ),
    ("false is refused, but is a boolean", &["SamplingKey.sourceAddress"]),
];

/// Values in place of others.
fn replacements(own: &Value) -> Vec<Value> {
    let values = json!([
        null,
        false,
        0,
        -1,
        1.5,
        65536,
        1e30,
        "",
        "x",
        "-5s",
        "1ns",
        "101",
        "1h30m",
        "a b",
        "*",
        "*.x",
        "(",
        [],
        {},
        ["x"],
    ]);
    let mut values = values.as_array().cloned().unwrap();
    match own {
        Value::Array(elements) => {
            let more = elements.iter().chain(elements.first()).cloned().collect();
            values.push(more);
        }
        Value::Number(number) => values.push(json!(number.to_string())),
        Value::String(text) => values.extend([json!(format!("{text}!")), json!([text])]),
        _ => {}
    }
    values
}

/// Documents that differ from a valid one in one place.
fn mutations(document: &Value, place: &Place) -> Vec<Value> {
    let own = document.pointer(&place.pointer).unwrap();
    let replaced = replacements(own).into_iter().map(|value| place.replaced(document, value));
    let mut mutations: Vec<_> = replaced.collect();
    if place.is_field {
        mutations.push(place.removed(document));
    }
    if let Some(fields) = own.as_object() {
        mutations.push(place.with_unknown_field(document));
        let alone = fields.iter().map(|(name, value)| json!({name: value}));
        mutations.extend(alone.map(|alone| place.replaced(document, alone)));
    }
    mutations
}

/// The first error of the filters.
fn first_error(document: &Value) -> Option<String> {
    let all = [
        Filter::Egress,
        Filter::Fault,
        Filter::Mirror,
        Filter::Outlier,
        Filter::Router,
        Filter::Sni,
    ];
    let text = document.to_string();
    let filters: Filters = all.into_iter().collect();
    let rejection = Document::parse(text.as_bytes(), filters, &NoMetadata).err()?;
    Some(rejection.errors.first().unwrap().to_string())
}

/// The number of mutations of a document, and those that are judged differently, by field.
fn measure(document: &Value) -> (usize, BTreeMap<String, Vec<String>>) {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    assert_eq!(first_error(document), None);
    let (mut count, mut differences) = (0, BTreeMap::<_, Vec<_>>::new());
    let mut seen = BTreeMap::<_, usize>::new();
    for place in places(document) {
        // Two of each field of a document are enough, of the elements of a list one.
        let number = seen.entry((place.object.name, place.field.name, place.is_field)).or_default();
        *number += 1;
        if *number > 1 + usize::from(place.is_field) {
            continue;
        }
        for mutation in mutations(document, &place) {
            count += 1;
            let error = first_error(&mutation);
            if validator.is_valid(&mutation) == error.is_some() {
                let field = format!("{}.{}", place.object.name, place.field.name);
                let value = mutation.pointer(&place.pointer);
                let shown = format!("{value:?}: {}", error.unwrap_or_default());
                differences.entry(field).or_default().push(shown);
            }
        }
    }
    (count, differences)
}

#[test]
fn the_schema_differs_from_the_filters_only_in_what_it_cannot_say() {
    let measured = std::thread::scope(|scope| {
        let documents: Vec<_> = documents().collect();
        let threads: Vec<_> = documents
            .into_iter()
            .map(|(_, document)| scope.spawn(move || measure(&document)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let count: usize = measured.iter().map(|(count, _)| count).sum();
    assert!(count > 4_000, "{count}");
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for (field, shown) in measured.into_iter().flat_map(|(_, differences)| differences) {
        found.entry(field).or_default().extend(shown);
    }
    let known: BTreeSet<_> =
        DIFFERENCES.iter().flat_map(|(_, fields)| fields.iter().copied()).collect();
    let new: Vec<_> = found.iter().filter(|(field, _)| !known.contains(field.as_str())).collect();
    let total: usize = found.values().map(Vec::len).sum();
    assert!(new.is_empty(), "{total} of {count}: {new:#?}");
    let stale: Vec<_> = known.iter().filter(|field| !found.contains_key(**field)).collect();
    assert!(stale.is_empty(), "no longer different: {stale:?}");
}
