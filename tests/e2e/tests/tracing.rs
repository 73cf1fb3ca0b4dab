//! Spans of OpenTelemetry have the decisions of the filters, by the configuration in
//! `docs/operations.md`.

use std::collections::BTreeMap;
use std::fs;

use prost::Message;
use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, any_host, until, workspace};

/// The parts that are read here of `opentelemetry/proto/collector/trace/v1/trace_service.proto` and
/// the files that it imports. Decoders skip all other fields.
#[derive(Message)]
struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Message)]
struct Span {
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

#[derive(Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    string_value: Option<String>,
}

/// The part `tracing` in `docs/operations.md`.
fn tracing() -> Value {
    let page = fs::read_to_string(workspace().join("docs/operations.md")).unwrap();
    let start = page.find("```yaml\ntracing:").expect("the example");
    let block = page[start..].trim_start_matches("```yaml\n").split("```").next().unwrap();
    let block: Value = serde_yaml_ng::from_str(block).unwrap();
    block["tracing"].clone()
}

/// The attributes of all spans that a collector has got, by name.
fn spans(collector: &Upstream) -> Vec<BTreeMap<String, String>> {
    let received = collector.received("/v1/traces");
    let requests = received.iter().map(|received| {
        ExportTraceServiceRequest::decode(received.body.clone()).expect("a message of OTLP")
    });
    let spans = requests
        .flat_map(|request| request.resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans);
    let attribute = |own: KeyValue| Some((own.key, own.value?.string_value?));
    spans.map(|span| span.attributes.into_iter().filter_map(attribute).collect()).collect()
}

#[tokio::test]
async fn spans_have_the_decisions_of_the_filters() {
    let all = json!({ "value": 100 });
    let mut document = any_host(json!([
        {
            "name": "late",
            "match": [{ "uri": { "prefix": "/late" } }],
            "fault": { "delay": { "fixedDelay": "10ms", "percentage": all } },
            "route": [{ "destination": { "host": "service" } }],
        },
        {
            "name": "broken",
            "match": [{ "uri": { "prefix": "/broken" } }],
            "fault": { "abort": { "httpStatus": 503, "percentage": all } },
            "route": [{ "destination": { "host": "service" } }],
        },
        { "name": "gone", "match": [{ "uri": { "prefix": "/gone" } }],
          "directResponse": { "status": 410 } },
    ]));
    document["outboundTrafficPolicy"] = json!({ "mode": "ALLOW_ANY" });
    let (service, collector) = (Upstream::echo("service"), Upstream::echo("collector"));
    let listener = Listener::new("edge").bundle(&document).tracing(tracing());
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(listener)
            .cluster("service", &[service.address()])
            .cluster("collector", &[collector.address()]),
    )
    .await;
    let edge = envoy.listener("edge");
    for (path, status) in [("/late", 200), ("/broken", 503), ("/gone", 410), ("/none", 404)] {
        assert_eq!(edge.get(path).send().await.status, status, "{path}");
    }
    let found = until("the collector has all spans", async || {
        let spans = spans(&collector);
        (spans.len() >= 4).then_some(spans)
    })
    .await;
    let tags = |path: &str| {
        let url = |span: &&BTreeMap<String, String>| {
            span.get("http.url").is_some_and(|url| url.ends_with(path))
        };
        let span = found.iter().find(url).unwrap_or_else(|| panic!("no {path} in {found:#?}"));
        ["sluice.route", "sluice.fault", "sluice.egress"]
            .map(|tag| span.get(tag).cloned().unwrap_or_default())
    };
    // A tag without a value is left out: the fault filter comes before the router.
    assert_eq!(tags("/late"), ["late", "delay", "passthrough"]);
    assert_eq!(tags("/broken"), ["", "abort", "passthrough"]);
    assert_eq!(tags("/gone"), ["gone", "", "passthrough"]);
    assert_eq!(tags("/none"), ["no route", "", "passthrough"]);
}
