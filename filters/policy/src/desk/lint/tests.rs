use super::*;
use crate::document::filter::{Filter, Filters};
use crate::document::parse::parse;
use crate::spec::proxy::NoMetadata;

fn lint_text(document: &[u8]) -> Vec<Finding> {
    let json = parse(document).unwrap();
    let (document, _) = Document::compile(&json, Filters::NONE, &NoMetadata).unwrap();
    lint(&document, &json)
}

/// The reason of a rule that an earlier one covers.
const COVERED: &str = "is never reached, because an earlier rule matches all of its requests";

fn findings(more: &str, http: &str) -> String {
    let document = format!(
        r#"{{"clusterName": "{{host}}", {more} "virtualServices": [{{"hosts": ["a.com"], "http": {http}}}]}}"#
    );
    let findings = lint_text(document.as_bytes());
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn routes(matches: &[&str]) -> String {
    let route = |conditions: &&str| {
        format!(
            r#"{{"name": "n", "match": {conditions}, "route": [{{"destination": {{"host": "b"}}}}]}}"#
        )
    };
    format!("[{}]", matches.iter().map(route).collect::<Vec<_>>().join(","))
}

/// Whether the second match is covered by the first.
fn covers(first: &str, second: &str) -> bool {
    findings("", &routes(&[&format!("[{first}]"), &format!("[{second}]")]))
        .contains("http[1]: is never reached")
}

#[test]
fn wider_matches_cover_narrower_ones() {
    for (wide, narrow) in [
        (r#"{"uri": {"prefix": "/a"}}"#, r#"{"uri": {"exact": "/ab"}}"#),
        (
            r#"{"uri": {"prefix": "/a"}}"#,
            r#"{"uri": {"prefix": "/ab"}, "method": {"exact": "GET"}}"#,
        ),
        (r#"{"uri": {"prefix": "/A"}, "ignoreUriCase": true}"#, r#"{"uri": {"prefix": "/ab"}}"#),
        (r#"{"uri": {"prefix": "/"}}"#, r#"{"uri": {"exact": "/A"}, "ignoreUriCase": true}"#),
        (r#"{"uri": {"regex": "/a.*"}}"#, r#"{"uri": {"exact": "/ab"}}"#),
        (r#"{"uri": {"regex": "/a.*"}}"#, r#"{"uri": {"regex": "/a.*"}, "port": 80}"#),
        (r#"{"headers": {"x": {}}}"#, r#"{"headers": {"X": {"exact": "1"}, "y": {}}}"#),
        (
            r#"{"headers": {"x": {"prefix": "a"}}}"#,
            r#"{"headers": {"y": {}, "x": {"exact": "ab"}}}"#,
        ),
        (
            r#"{"withoutHeaders": {"x": {}}}"#,
            r#"{"withoutHeaders": {"x": {}}, "uri": {"prefix": "/b"}}"#,
        ),
        (
            r#"{"queryParams": {"q": {"exact": "1"}}}"#,
            r#"{"queryParams": {"q": {"exact": "1"}, "r": {}}}"#,
        ),
        (r#"{"method": {"regex": "GET|PUT"}}"#, r#"{"method": {"exact": "PUT"}}"#),
        (r#"{"port": 80}"#, r#"{"port": 80, "scheme": {"exact": "http"}}"#),
    ] {
        assert!(covers(wide, narrow), "{wide} covers {narrow}");
        if wide != narrow {
            assert!(!covers(narrow, wide), "{narrow} does not cover {wide}");
        }
    }
}

#[test]
fn only_plain_coverage_is_reported() {
    for (first, second) in [
        (r#"{"uri": {"prefix": "/a"}}"#, r#"{"uri": {"prefix": "/A"}, "ignoreUriCase": true}"#),
        (r#"{"uri": {"prefix": "/a"}}"#, r#"{"uri": {"regex": "/a.*"}}"#),
        (r#"{"uri": {"exact": "/a"}}"#, r#"{"uri": {"prefix": "/a"}}"#),
        (r#"{"uri": {"prefix": "/a"}}"#, "{}"),
        (r#"{"withoutHeaders": {"x": {}}}"#, r#"{"withoutHeaders": {"x": {"exact": "1"}}}"#),
        (r#"{"withoutHeaders": {"x": {"exact": "1"}}}"#, r#"{"withoutHeaders": {"x": {}}}"#),
        (r#"{"headers": {"x": {"exact": "1"}}}"#, r#"{"withoutHeaders": {"x": {"exact": "1"}}}"#),
        (r#"{"port": 80}"#, r#"{"port": 81}"#),
    ] {
        assert!(!covers(first, second), "{first} does not cover {second}");
    }
}

/// Lint finds the same among very many rules as among few, whether their paths and headers are
/// equal or not, and its time does not grow with the square of their number. The last rule repeats
/// the first.
#[test]
fn repetitions_are_found_among_many_rules() {
    for start in [
        r#""uri": {"exact": "/"#,
        r#""uri": {"prefix": "/"#,
        r#""uri": {"regex": "/[a-z]+/"#,
        r#""headers": {"x": {"exact": "/"#,
        r#""headers": {"x": {"prefix": "/"#,
        r#""headers": {"x": {"regex": "/[a-z]+/"#,
        r#""queryParams": {"x": {"exact": "/"#,
    ] {
        let end = if start.matches('{').count() > 1 { "x\"}}" } else { "x\"}" };
        let routes: Vec<_> =
            (0..3000).chain([0]).map(|number| format!("[{{{start}{number}{end}}}]")).collect();
        let routes: Vec<_> = routes.iter().map(String::as_str).collect();
        assert_eq!(
            findings("", &self::routes(&routes)),
            format!(
                "virtualServices[0].http[3000]: {COVERED}: virtualServices[0].http[0].match[0]"
            ),
            "{start}"
        );
    }
}

#[test]
fn single_matches_are_reported_when_others_of_the_route_are_reached() {
    let http = routes(&[
        r#"[{"uri": {"prefix": "/a"}}]"#,
        r#"[{"uri": {"exact": "/ab"}}, {"uri": {"exact": "/b"}}, {"uri": {"exact": "/b"}, "port": 1}]"#,
    ]);
    assert_eq!(
        findings("", &http),
        format!(
            "virtualServices[0].http[1].match[0]: {COVERED}: virtualServices[0].http[0].match[0]\n\
             virtualServices[0].http[1].match[2]: {COVERED}: virtualServices[0].http[1].match[1]"
        )
    );
}

#[test]
fn a_route_that_another_host_needs_is_not_reported() {
    let document = br#"{"clusterName": "{host}", "virtualServices": [
        {"hosts": ["a.com"], "http": [{"route": [{"destination": {"host": "x"}}]}]},
        {"hosts": ["a.com", "b.com"], "http": [{"route": [{"destination": {"host": "y"}}]}]},
        {"hosts": ["a.com"], "http": [{"route": [{"destination": {"host": "z"}}]}]}]}"#;
    let findings: Vec<_> = lint_text(document).iter().map(ToString::to_string).collect();
    let expected = format!("virtualServices[2].http[0]: {COVERED}: virtualServices[0].http[0]");
    assert_eq!(findings, [expected]);
}

#[test]
fn matches_that_no_request_fits() {
    let http = routes(&[
        r#"[{"uri": {"exact": "/a?b"}}, {"uri": {"prefix": "b"}}, {"method": {"exact": "get"}},
            {"scheme": {"exact": "HTTP"}}, {"headers": {"x": {"exact": " 1"}}},
            {"headers": {"x": {"exact": "1"}}, "withoutHeaders": {"x": {}}},
            {"uri": {"exact": "*"}}, {"headers": {"x": {}}, "withoutHeaders": {"x": {"exact": "1"}}}]"#,
    ]);
    let found = findings("", &http);
    let lines: Vec<_> = found.lines().collect();
    let start = "virtualServices[0].http[0].match";
    assert_eq!(
        lines,
        [
            format!("{start}[0].uri: never matches: paths are compared without their query"),
            format!("{start}[1].uri: never matches: paths start with /"),
            format!(
                "{start}[2].method: never matches: methods are case-sensitive and in upper case"
            ),
            format!("{start}[3].scheme: never matches: schemes are http and https"),
            format!(
                "{start}[4].headers: never matches: header values do not start or end with a space"
            ),
            format!(
                "{start}[5].withoutHeaders: never matches: headers requires what is refused here"
            ),
        ]
    );
}

#[test]
fn shares_of_nothing() {
    let http = r#"[{"fault": {"delay": {"fixedDelay": "1s"}, "abort": {"httpStatus": 500,
        "percentage": {"value": 1}}}, "mirror": {"host": "c"}, "mirrorPercentage": {"value": 0},
        "route": [{"destination": {"host": "b"}}]}]"#;
    assert_eq!(
        findings("", http),
        "virtualServices[0].http[0].fault.delay: never happens: its percentage is absent or 0\n\
         virtualServices[0].http[0]: copies nothing to c: the percentage is 0"
    );
}

#[test]
fn ejections_of_nothing() {
    let found = |detection: &str, entries: &str| {
        let more = format!(
            r#""namespace": "ns", "serviceEntries": [{entries}],
            "destinationRules": [{{"host": "b", "trafficPolicy": {{"outlierDetection": {{{detection}}}}}}}],"#
        );
        let http = r#"[{"route": [{"destination": {"host": "b"}}]}]"#;
        let found = findings(&more, http);
        let path = "destinationRules[0].trafficPolicy.outlierDetection: ";
        found.strip_prefix(path).map(str::to_owned).ok_or(found)
    };
    let nothing = Err(String::new());
    let rates = r#""consecutive5xxErrors": 0, "successRate": {"enforcing": 0}"#;
    let of_rates = "ejects nothing, its rates are enforced in 0 % of all cases".to_owned();
    assert_eq!(found(rates, ""), Ok(of_rates));
    for more in [
        r#", "failurePercentage": {}"#,
        r#", "consecutiveGatewayErrors": 1"#,
        r#", "splitExternalLocalOriginErrors": true"#,
    ] {
        assert_eq!(found(&format!("{rates}{more}"), ""), nothing, "{more}");
    }
    assert_eq!(found("", ""), nothing);
    let health = "ejects without effect: with minHealthPercent 100, all hosts get requests once one \
                  of them is ejected";
    assert_eq!(found(r#""minHealthPercent": 100"#, ""), Ok(health.to_owned()));
    assert_eq!(found(r#""minHealthPercent": 99"#, ""), nothing);

    let entry = |host: &str, resolution: &str, number: usize| {
        let endpoints: Vec<_> =
            (1..=number).map(|n| format!(r#"{{"address": "10.0.0.{n}"}}"#)).collect();
        format!(
            r#"{{"hosts": ["{host}"], "ports": [{{"number": 80, "name": "http"}}],
                "resolution": "{resolution}", "endpoints": [{}]}}"#,
            endpoints.join(",")
        )
    };
    let static_entry = |number| entry("b.ns.svc.cluster.local", "STATIC", number);
    let few = "ejects nothing: with maxEjectionPercent 10 that takes 10 hosts, and the service \
               entries have 9";
    assert_eq!(found("", &static_entry(9)), Ok(few.to_owned()));
    for (detection, entries) in [
        ("", static_entry(10)),
        (r#""alwaysEjectOneHost": true"#, static_entry(1)),
        (r#""maxEjectionPercent": 50"#, static_entry(2)),
        ("", entry("c", "STATIC", 1)),
        ("", format!("{}, {}", static_entry(9), static_entry(1))),
        ("", format!("{}, {}", static_entry(9), entry("b", "DNS", 1))),
    ] {
        assert_eq!(found(detection, &entries), nothing, "{detection} {entries}");
    }
    let names = r#"{"hosts": ["b"], "ports": [{"number": 80, "name": "http"}], "resolution": "DNS",
        "endpoints": [{"address": "a.com"}]}"#;
    assert_eq!(found("", names), nothing);
    let of_port = r#""namespace": "ns", "destination_rules": [{"host": "b", "subsets": [{"name": "v1",
        "traffic_policy": {"port_level_settings": [{"port": {"number": 80},
        "outlier_detection": {"min_health_percent": 100}}]}}]}],"#;
    let path =
        "destination_rules[0].subsets[0].traffic_policy.port_level_settings[0].outlier_detection";
    let http = r#"[{"route": [{"destination": {"host": "b"}}]}]"#;
    assert_eq!(findings(of_port, http), format!("{path}: {health}"));
}

/// The findings about the destinations in a document without `clusterName`.
fn ports(more: &str) -> Vec<String> {
    let document = format!(
        r#"{{"namespace": "ns", {more} "virtualServices": [
            {{"hosts": ["a.com"], "http": [
                {{"route": [{{"destination": {{"host": "reviews"}}}}],
                  "mirror": {{"host": "written", "port": {{"number": 80}}}}}},
                {{"redirect": {{"uri": "/"}}, "match": [{{"port": 81}}]}}]}},
            {{"hosts": ["b.com"],
              "http": [{{"route": [{{"destination": {{"host": "two"}}}}],
                         "mirrors": [{{"destination": {{"host": "reviews"}}}}]}}],
              "tls": [{{"match": [{{"sniHosts": ["b.com"]}}],
                        "route": [{{"destination": {{"host": "b.com"}}}}]}}]}}],
            "services": [{{"host": "reviews", "ports": [9080]}}, {{"host": "two", "ports": [1, 2]}}],
            "serviceEntries": [{{"hosts": ["b.com"], "ports": [{{"number": 443, "name": "tls"}}]}}]}}"#
    );
    let findings = lint_text(document.as_bytes()).into_iter();
    let inferred = findings.filter(|finding| finding.kind == Kind::Inferred);
    inferred.map(|finding| finding.to_string()).collect()
}

#[test]
fn absent_ports_are_told_where_cluster_names_have_them() {
    let [route, mirror, tls] = [
        "virtualServices[0].http[0].route[0].destination: no port: 9080, the only one of Service \
         reviews",
        "virtualServices[1].http[0].mirrors[0].destination: no port: 9080, the only one of Service \
         reviews",
        "virtualServices[1].tls[0].route[0].destination: no port: 443, the only one of \
         ServiceEntry b.com",
    ];
    let two = "virtualServices[1].http[0].route[0].destination: no port:";
    let called = format!("{two} the one that the client called");
    assert_eq!(ports(""), [route, &called, mirror, tls]);
    let fixed = format!("{two} 80, the one in proxy.port");
    assert_eq!(ports(r#""proxy": {"port": 80},"#), [route, &fixed, mirror, tls]);
    // In [...], the port is left out instead.
    assert_eq!(ports(r#""clusterName": "{host}[:{port}]","#), [route, mirror, tls]);
    assert_eq!(ports(r#""clusterName": "{host}","#), [""; 0]);
}

#[test]
fn a_second_policy_is_linted_too() {
    let document = br#"{"services": [{"host": "b", "ports": [9080]}],
        "virtualServices": [{"hosts": ["a.com"],
            "http": [{"route": [{"destination": {"host": "b", "port": {"number": 80}}}]}]}],
        "httpRoutes": [{"hostnames": ["a.com"], "rules": [
            {"backendRefs": [{"name": "b", "port": 80}]}]}],
        "shadow": {"virtualServices": [{"hosts": ["a.com"], "http": [
            {"match": [{"uri": {"prefix": "/a"}}, {"method": {"exact": "get"}}],
             "fault": {"abort": {"httpStatus": 500}},
             "route": [{"destination": {"host": "b"}}]},
            {"match": [{"uri": {"prefix": "/ab"}}], "redirect": {"uri": "/"}},
            {"redirect": {"uri": "/b"}}]}]}}"#;
    let json = parse(document).unwrap();
    let (document, _) = Document::compile(&json, Filter::Router, &NoMetadata).unwrap();
    let mut found: Vec<_> = lint(&document, &json).iter().map(ToString::to_string).collect();
    found.retain(|finding| finding.starts_with("shadow"));
    assert_eq!(
        found,
        [
            "shadow.virtualServices[0].http[0].fault.abort: never happens: its percentage is \
             absent or 0",
            "shadow.virtualServices[0].http[0].match[1].method: never matches: methods are \
             case-sensitive and in upper case",
            &format!(
                "shadow.virtualServices[0].http[1]: {COVERED}: \
                 shadow.virtualServices[0].http[0].match[0]"
            ),
            "shadow.virtualServices[0].http[0].route[0].destination: no port: 9080, the only one \
             of Service b",
        ]
    );
    // Both policies have the routes of the Gateway API, which are linted once.
    let of_routes = lint(&document, &json).into_iter().filter(|own| own.path.starts_with("http"));
    let others: Vec<_> = of_routes.map(|own| (own.path, own.other.unwrap())).collect();
    assert_eq!(others, [("httpRoutes[0].rules[0]".into(), "virtualServices[0].http[0]".into())]);
}
