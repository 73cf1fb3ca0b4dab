//! An explanation and a decision are the same: the match that the trace ends with is the one by which the
//! router decides, on every row of the conformance tables and on random requests.

#![allow(clippy::unwrap_used, reason = "a test")]

use serde_json::Value;
use sluice_conformance::{Attributes, Case, Node, Seeded, cases};
use sluice_policy::decision::Outcome;
use sluice_policy::explain::{Explainer, Trace};
use sluice_policy::header::CLUSTER;
use sluice_policy::request::Request;
use sluice_policy::router::Router;

/// The configuration without the names of routes and matches, so that notes are paths.
fn without_names(config: &str) -> String {
    fn strip(value: &mut Value, key: &str) {
        let list = value.get_mut(key).and_then(Value::as_array_mut);
        for element in list.into_iter().flatten() {
            element.as_object_mut().unwrap().remove("name");
            strip(element, "match");
        }
    }
    let mut config: Value = serde_json::from_str(config).unwrap();
    let services =
        ["virtualServices", "virtual_services"].iter().find(|key| config.get(key).is_some());
    let services = config.get_mut(services.unwrap()).and_then(Value::as_array_mut);
    services.unwrap().iter_mut().for_each(|service| strip(service, "http"));
    config.to_string()
}

/// Holds the explanation of a request against the decision.
fn check(explainer: &Explainer, unnamed: &Router, request: &Request<'_>) -> Trace {
    let trace = explainer.trace(request);
    let decision = unnamed.route(request, &mut Seeded::default());
    match decision.outcome {
        Outcome::NoVirtualHost => assert!(!trace.has_virtual_host),
        Outcome::NoRoute => assert_eq!((trace.has_virtual_host, trace.taken()), (true, None)),
        _ => assert_eq!(trace.taken(), Some(decision.note)),
    }
    if decision.outcome == Outcome::Forwarded {
        let cluster = decision.edits().filter(|edit| edit.name == CLUSTER).last().unwrap();
        let cluster = String::from_utf8(cluster.value.to_vec()).unwrap();
        assert!(trace.shares.iter().any(|(_, share)| *share == cluster), "{cluster}");
    }
    let explained = explainer.route(request, &mut Seeded::default());
    assert_eq!(explained.outcome, decision.outcome);
    assert!(explained.edits().eq(decision.edits()));
    // The conditions one by one are the match as a whole.
    for tried in &trace.tried {
        let all = tried.conditions.iter().all(|condition| condition.holds);
        assert_eq!(all, tried.fits, "{tried:?}");
    }
    trace
}

fn compile(case: &Case) -> (Explainer, Router) {
    let config = case.config.get();
    let unnamed = without_names(config);
    let compile = |node: &Node| {
        let explainer = Explainer::from_json(config.as_bytes(), node).unwrap();
        (explainer, Router::from_json(unnamed.as_bytes(), node).unwrap().0)
    };
    compile(&case.node)
}

#[test]
fn explanations_are_the_decisions_of_all_rows() {
    let (mut requests, mut taken) = (0, 0);
    for case in cases().iter().flat_map(|table| &table.rows) {
        let (explainer, unnamed) = compile(case);
        for row in &case.requests {
            let (pairs, attributes) = (row.pairs(), Attributes(row));
            let trace = check(&explainer, &unnamed, &Request::new(&pairs, &attributes));
            requests += 1;
            taken += u32::from(trace.taken().is_some());
        }
    }
    assert!(requests > 500 && taken > 250, "{requests} requests, {taken} with a route");
}

/// Each row's rules with the requests of all rows: most of them have nothing to do with each other, which is what
/// the rows by themselves do not have.
#[test]
fn explanations_are_the_decisions_of_requests_of_other_rows() {
    let tables = cases();
    let rows: Vec<&Case> = tables.iter().flat_map(|table| &table.rows).collect();
    let requests: Vec<_> = rows.iter().flat_map(|case| &case.requests).collect();
    for (index, case) in rows.iter().enumerate() {
        let (explainer, unnamed) = compile(case);
        let host = case.requests.first().map(|row| row.host.clone());
        // Every seventh, starting elsewhere for each row, with this row's host so that rules are tried.
        for row in requests.iter().skip(index % 7).step_by(7) {
            let (mut pairs, attributes) = (row.pairs(), Attributes(row));
            if let (Some(host), Some(own)) =
                (&host, pairs.iter_mut().find(|(name, _)| name == ":authority"))
            {
                own.1 = host.as_bytes().to_vec();
            }
            check(&explainer, &unnamed, &Request::new(&pairs, &attributes));
        }
    }
}
