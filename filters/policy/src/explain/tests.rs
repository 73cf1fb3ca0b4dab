use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::spec::policy::Policy;
use crate::spec::proxy::NoMetadata;
use crate::testing::{FixedAttributes, FixedDraw, pairs};

/// The explanation of the router with these rules for host `a`.
fn explain_router(rules: &str, headers: &[(&str, &str)]) -> String {
    let document = format!(
        r#"{{"clusterName": "{{host}}", "virtualServices": [{{"hosts": ["a"], "http": [{rules}]}}]}}"#
    );
    let (own, _) = Router::compile(document.as_bytes(), &NoMetadata).unwrap();
    let mut all = pairs(&[(":authority", "a"), (":path", "/")]);
    all.extend(pairs(headers));
    let attributes = FixedAttributes::default();
    let request = Request::new(&all, &attributes);
    router(&own, &request, &mut FixedDraw(1_093))
}

fn read(explanation: &str) -> Value {
    serde_json::from_str(explanation).unwrap()
}

/// A rule for one user.
fn rule(user: &str) -> String {
    format!(
        r#"{{"match": [{{"uri": {{"prefix": "/"}}, "headers": {{"user": {{"exact": "{user}"}}}}}}],
            "route": [{{"destination": {{"host": "of-{user}"}}}}]}},"#
    )
}

const SPLIT: &str = r#"{"name": "all", "route": [
    {"destination": {"host": "v1"}, "weight": 90}, {"destination": {"host": "v2"}, "weight": 10}]}"#;

#[test]
fn the_router_explains_its_rule_those_before_it_and_the_draw() {
    let rules = [&rule("jason"), SPLIT].concat();
    assert_eq!(
        explain_router(&rules, &[("user", "tom")]),
        [
            r#"{"router":{"outcome":"forwarded","cluster":"v2","#,
            r#""name":"all","place":"virtualServices[0].http[1]","#,
            r#""shares":[{"cluster":"v1","weight":90},{"cluster":"v2","weight":10}],"#,
            r#""chances":[{"of":"destination","drawn":93,"total":100}],"#,
            r#""rules":[{"place":"virtualServices[0].http[0].match[0]","field":"headers.user","#,
            r#""wanted":"exact \"jason\"","found":"\"tom\""}],"rulesOmitted":0}}"#,
        ]
        .concat()
    );
    let own = read(&explain_router(&rules, &[("user", "jason")]));
    assert_eq!(own["router"]["place"], "virtualServices[0].http[0].match[0]");
    assert_eq!(own["router"]["rules"], json!([]));
}

#[test]
fn a_second_policy_is_explained_with_the_same_draw() {
    let document = format!(
        r#"{{"clusterName": "{{host}}", "router": {{"mode": "shadow"}},
            "virtualServices": [{{"hosts": ["a"], "http": [{SPLIT}]}}],
            "shadow": {{"virtualServices": [{{"hosts": ["a"], "http": [
                {{"route": [{{"destination": {{"host": "v3"}}}}]}}]}}]}}}}"#
    );
    let (own, _) = Router::compile(document.as_bytes(), &NoMetadata).unwrap();
    let headers = pairs(&[(":authority", "a"), (":path", "/")]);
    let attributes = FixedAttributes::default();
    let request = Request::new(&headers, &attributes);
    let own = read(&router(&own, &request, &mut FixedDraw(1_093)));
    assert_eq!(
        (&own["router"]["cluster"], &own["router"]["isShadow"]),
        (&json!("v2"), &json!(true))
    );
    let expected = json!({ "outcome": "forwarded", "route": "shadow.virtualServices[0].http[0]",
        "cluster": "v3", "difference": "cluster" });
    assert_eq!(own["router"]["shadow"], expected);
}

#[test]
fn answers_without_a_rule_are_explained() {
    let rules = rule("jason");
    let rules = rules.trim_end_matches(',');
    let own = read(&explain_router(rules, &[]));
    assert_eq!(
        (&own["router"]["outcome"], &own["router"]["status"]),
        (&json!("noRoute"), &json!(404))
    );
    assert_eq!(own["router"]["rules"][0]["found"], "absent");
    assert_eq!(own["router"].get("place"), None);
    let other = read(&explain_router(rules, &[(":authority", "b")]));
    assert_eq!(other["router"]["outcome"], "noVirtualHost");
    assert_eq!(other["router"]["rules"], json!([]));
}

#[test]
fn explanations_are_short_whatever_the_rules_and_the_request_are() {
    let rules: String = (0..1_000).map(|user| rule(&format!("user-{user}"))).collect();
    let many =
        (0..999).map(|host| format!(r#"{{"destination": {{"host": "h-{host}"}}, "weight": 1}},"#));
    let many: String = many.collect();
    let split = format!(
        r#"{{"name": "{}", "route": [{many}
        {{"destination": {{"host": "last"}}, "weight": 1}}]}}"#,
        "n".repeat(9_000)
    );
    let headers = [("user", &*"\u{1f300}\n".repeat(9_000))];
    let text = explain_router(&[&rules, &*split].concat(), &headers);
    assert!(text.len() <= MAX_BYTES, "{} bytes", text.len());
    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    let own = read(&text);
    let shown = own["router"]["rules"].as_array().unwrap().len();
    assert!(shown > 2);
    assert_eq!(own["router"]["rulesOmitted"], 1_000 - shown);
    assert_eq!(own["router"]["cluster"], "h-93");
}

#[test]
fn faults_mirrors_and_egress_are_explained() {
    let document = r#"{"clusterName": "{host}", "virtualServices": [{"hosts": ["a"], "http": [
        {"name": "slow", "mirror": {"host": "copy"}, "mirrorPercentage": {"value": 50},
         "fault": {"delay": {"fixedDelay": "2s", "percentage": {"value": 10}}},
         "route": [{"destination": {"host": "b"}}]}]}]}"#;
    let all = pairs(&[(":authority", "a"), (":path", "/")]);
    let attributes = FixedAttributes::default();
    let request = Request::new(&all, &attributes);
    let (faults, _) = Faults::compile(document.as_bytes(), &NoMetadata).unwrap();
    let own = |draw| fault(&faults, &request, || SystemTime::UNIX_EPOCH, &mut FixedDraw(draw));
    let expected = concat!(
        r#"{"fault":{"outcome":"delay","rule":"slow","delayMilliseconds":2000,"#,
        r#""chances":[{"of":"delay","drawn":99999,"below":100000,"total":1000000}]}}"#
    );
    assert_eq!(own(99_999).text(Some("delay")), expected);
    assert!(own(99_999).text(None).contains(r#"{"outcome":"limited","#));
    let expected = concat!(
        r#"{"fault":{"outcome":"none","rule":"slow","#,
        r#""chances":[{"of":"delay","drawn":100000,"below":100000,"total":1000000}]}}"#
    );
    assert_eq!(own(100_000).text(None), expected);

    let ended = document.replacen('{', r#"{"faults": {"notAfter": "1970-01-01T00:00:00Z"},"#, 1);
    let (faults, _) = Faults::compile(ended.as_bytes(), &NoMetadata).unwrap();
    let at = |seconds| {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fault(&faults, &request, || now, &mut FixedDraw(99_999))
    };
    assert_eq!(at(0).text(Some("delay")), own(99_999).text(Some("delay")));
    let expected = r#"{"fault":{"outcome":"none","rule":"slow","isOver":true,"chances":[]}}"#;
    assert_eq!(at(1).text(None), expected);

    let (mirrors, _) = Mirrors::compile(document.as_bytes(), &NoMetadata).unwrap();
    let expected = concat!(
        r#"{"mirror":{"copies":[],"notSampled":1,"notEligible":0,"#,
        r#""chances":[{"of":"mirror","drawn":500000,"below":500000,"total":1000000}]}}"#
    );
    assert_eq!(mirror(&mirrors, &request, &mut FixedDraw(500_000)), expected);

    let refused = egress::Decision::Refused(egress::Reason::UnknownName);
    let expected = r#"{"egress":{"reason":"unknown_name","isRefused":true}}"#;
    assert_eq!(egress(refused, true), expected);
    let known = egress::Decision::Known { entry: Some(3) };
    let expected = r#"{"egress":{"serviceEntry":"serviceEntries[3]","isRefused":false}}"#;
    assert_eq!(egress(known, false), expected);
}
