//! Explanations agree with decisions: the last match of a trace is the match by which the router
//! decides, on every row of the conformance tables and on requests of other rows.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;
use sluice_conformance::{
    Attributes, Case, FaultExpectation, Listed, MirrorExpectation, NoAttributes, Node, Seeded,
    cases,
};
use sluice_policy::desk::explain::{Explainer, Trace, Tried};
use sluice_policy::document::filter::Filter;
use sluice_policy::request::{Draws, Request};
use sluice_policy::router::Router;
use sluice_policy::router::decision::Outcome;
use sluice_policy::spec::document::Document;
use sluice_policy::spec::mirror::HEADER_PREFIX;
use sluice_policy::spec::policy::Policy;
use sluice_policy::value::header::CLUSTER;

/// The configuration without the names of routes and matches, so that the router reports paths.
fn without_names(config: &str) -> String {
    fn strip(value: &mut Value, key: &str) {
        let list = value.get_mut(key).and_then(Value::as_array_mut);
        for element in list.into_iter().flatten() {
            element.as_object_mut().unwrap().remove("name");
            strip(element, "match");
        }
    }
    let mut config: Value = serde_json::from_str(config).unwrap();
    for (list, rules) in [
        ("virtualServices", "http"),
        ("virtual_services", "http"),
        ("httpRoutes", "rules"),
        ("grpcRoutes", "rules"),
    ] {
        let services = config.get_mut(list).and_then(Value::as_array_mut);
        for service in services.into_iter().flatten() {
            if rules == "rules" {
                service.as_object_mut().unwrap().remove("name");
            }
            strip(service, rules);
        }
    }
    config.to_string()
}

/// Asserts that the explanation of a request agrees with the decision.
fn check(explainer: &Explainer, unnamed: &Router, request: &Request<'_>) -> Trace {
    let trace = explainer.trace(request);
    let left_out = explainer.left_out(request, None);
    let is_left_out = |tried: &Tried| left_out.contains(&tried.place);
    assert!(!trace.tried.iter().any(is_left_out));
    let decision = unnamed.route(request, &mut Seeded::default());
    match decision.outcome {
        Outcome::NoVirtualHost => assert!(!trace.has_virtual_host),
        Outcome::NoRoute => assert_eq!((trace.has_virtual_host, trace.taken()), (true, None)),
        _ => assert_eq!(trace.taken().unwrap().to_string(), decision.note),
    }
    if decision.outcome == Outcome::Forwarded {
        let cluster = decision.edits().filter(|edit| edit.name == CLUSTER).last().unwrap();
        let cluster = String::from_utf8(cluster.value.to_vec()).unwrap();
        assert!(trace.shares.iter().any(|(_, share)| *share == cluster), "{cluster}");
    }
    let explained = explainer.route(request, &mut Seeded::default());
    assert_eq!(explained.outcome, decision.outcome);
    assert!(explained.edits().eq(decision.edits()));
    // A match fits if all of its conditions hold.
    for tried in &trace.tried {
        let all = tried.conditions.iter().all(|condition| condition.holds);
        assert_eq!(all, tried.fits, "{tried:?}");
    }
    trace
}

fn explainer(config: &str, node: &Node, filter: Filter) -> Explainer {
    let document = Document::parse(config.as_bytes(), filter, node).unwrap().0;
    Explainer::new(&document)
}

fn compile(case: &Case) -> (Explainer, Router) {
    let config = case.config.get();
    let unnamed = without_names(config);
    let compile = |node: &Node| {
        let explainer = explainer(config, node, Filter::Router);
        (explainer, Router::compile(unnamed.as_bytes(), node).unwrap().0)
    };
    compile(&case.node)
}

#[test]
fn explanations_agree_with_decisions_of_all_rows() {
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

/// The rules of each row with requests of other rows. Most of these match no rule, or another rule
/// than the requests of the row itself.
#[test]
fn explanations_agree_with_decisions_of_requests_of_other_rows() {
    let tables = cases();
    let rows: Vec<&Case> = tables.iter().flat_map(|table| &table.rows).collect();
    let requests: Vec<_> = rows.iter().flat_map(|case| &case.requests).collect();
    for (index, case) in rows.iter().enumerate() {
        let (explainer, unnamed) = compile(case);
        let host = case.requests.first().map(|row| row.host.clone());
        // Every seventh request, from another start for each row, with the host of the row so that
        // its rules are tried.
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

/// Topics and rows of the tables in a folder.
fn rows(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance").join(folder);
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let topic = path.file_stem().unwrap().to_str().unwrap();
        let table: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let of_table = table.as_array().unwrap().iter();
        rows.extend(of_table.map(|row| (topic.to_owned(), row["id"].as_str().unwrap().to_owned())));
    }
    rows
}

#[test]
fn explanations_agree_with_faults_of_all_rows() {
    let mut requests = 0;
    for (topic, id) in rows("faults") {
        let case = sluice_conformance::fault(&topic, &id);
        let explainer = explainer(case.config.get(), &Node::default(), Filter::Fault);
        for row in &case.requests {
            let (pairs, time) = (row.pairs(), SystemTime::UNIX_EPOCH + row.time());
            let mut listed = row.draws.as_deref().map(Listed);
            let mut seeded = Seeded::default();
            let draws: &mut dyn Draws = match &mut listed {
                Some(listed) => listed,
                None => &mut seeded,
            };
            let plan = explainer.fault(&Request::new(&pairs, &NoAttributes), time, draws);
            let abort = plan.draw_abort(draws);
            let found = FaultExpectation::new(plan.delay, abort, plan.malformed_headers);
            assert_eq!(found, row.expect, "{topic} {id}: {}", row.title());
            requests += 1;
        }
    }
    assert!(requests > 50, "{requests}");
}

#[test]
fn explanations_agree_with_copies_of_all_rows() {
    let mut requests = 0;
    for (topic, id) in rows("mirrors") {
        let case = sluice_conformance::mirror(&topic, &id);
        let explainer = explainer(case.config.get(), &Node::default(), Filter::Mirror);
        for row in &case.requests {
            let pairs = row.pairs();
            let mut listed = row.draws.as_deref().map(Listed);
            let mut seeded = Seeded::default();
            let draws: &mut dyn Draws = match &mut listed {
                Some(listed) => listed,
                None => &mut seeded,
            };
            let plan = explainer.mirror(&Request::new(&pairs, row), draws);
            let copies = plan.copies.iter().map(|copy| {
                let place = copy.request_edit().name.strip_prefix(HEADER_PREFIX).unwrap();
                (place.to_owned(), copy.cluster().to_string())
            });
            let found = MirrorExpectation {
                copies: copies.collect(),
                not_sampled: plan.not_sampled,
                not_eligible: plan.not_eligible,
            };
            assert_eq!(found, row.expect, "{topic} {id}: {}", row.title());
            requests += 1;
        }
    }
    assert!(requests > 30, "{requests}");
}
