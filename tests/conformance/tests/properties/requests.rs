//! The router forwards or answers every request.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use sluice_conformance::{Case, Request, Seeded, cases};
use sluice_policy::router::Router;
use sluice_policy::spec::policy::Policy;
use sluice_policy::value::header::HeaderOperation;

const CLUSTER: &str = "x-sluice-cluster";

/// Arbitrary headers, as an attacker may send, and arbitrary attributes.
type Input = (Vec<(String, Vec<u8>)>, Request);

#[test]
fn every_request_is_either_forwarded_once_or_answered() {
    let cases: Vec<Case> = cases().into_iter().flat_map(|table| table.rows).collect();
    let routers: Vec<Router> = cases.iter().map(compile).collect();
    TestRunner::default()
        .run(&input(&cases), |(headers, known)| {
            for router in &routers {
                assert_total(router, &headers, &known);
            }
            Ok(())
        })
        .unwrap();
}

fn compile(case: &Case) -> Router {
    Router::compile(case.config.get().as_bytes(), &case.node).unwrap().0
}

/// Routes the request and checks the whole decision.
pub fn assert_total(router: &Router, headers: &[(String, Vec<u8>)], known: &Request) {
    let attributes = sluice_conformance::Attributes(known);
    let request = sluice_policy::request::Request::new(headers, &attributes);
    let decision = router.route(&request, &mut Seeded::default());

    // Added once, after the client's own values are removed.
    let to_cluster: Vec<_> = decision.edits().filter(|edit| edit.name == CLUSTER).collect();
    let operations: Vec<_> = to_cluster.iter().map(|edit| edit.operation).collect();
    match &decision.reply {
        None => {
            let sent = headers.iter().any(|(name, _)| name == CLUSTER);
            let removal = [HeaderOperation::Remove];
            let expected = [&removal[..usize::from(sent)], &[HeaderOperation::Add]].concat();
            assert_eq!(operations, expected, "{decision:?}");
            assert!(!to_cluster.last().unwrap().value.is_empty());
        }
        Some(reply) => {
            assert_eq!(operations, [], "{decision:?}");
            assert!((200..600).contains(&reply.status), "{decision:?}");
        }
    }
    assert!(!decision.note.is_empty());
    let edits = decision.response.iter().flat_map(|plan| plan.edits());
    for edit in edits.chain(decision.edits()) {
        let is_pseudo = matches!(edit.name, ":path" | ":authority");
        assert!(is_pseudo || is_lower_case_token(edit.name), "{edit:?}");
    }
}

fn is_lower_case_token(name: &str) -> bool {
    sluice_policy::value::header::is_token(name)
        && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Requests of the cases, with some parts replaced by arbitrary bytes.
fn input(cases: &[Case]) -> impl Strategy<Value = Input> + use<> {
    let requests: Vec<Request> = cases.iter().flat_map(|case| case.requests.clone()).collect();
    let mut pairs: Vec<_> = requests.iter().flat_map(Request::pairs).collect();
    pairs.extend([
        (CLUSTER.to_owned(), b"secret".to_vec()),
        ("cookie".to_owned(), b"=;;=\"".to_vec()),
    ]);
    let names: Vec<String> = pairs.iter().map(|(name, _)| name.clone()).collect();

    let bytes = || vec(any::<u8>(), 0..40);
    let header = prop_oneof![
        4 => select(pairs),
        2 => (select(names.clone()), bytes()),
        1 => ("[a-z0-9-]{1,20}".prop_map(|name| name), bytes()),
        1 => (select(names), "[ -~]{0,40}".prop_map(String::into_bytes)),
    ];
    (select(requests), vec(header, 0..8), any::<Option<u16>>(), any::<u8>()).prop_map(
        |(mut request, more, port, dropped)| {
            let mut headers = request.pairs();
            // Possibly without one of its headers, which may be a pseudo-header.
            if headers.len() > usize::from(dropped) {
                headers.remove(usize::from(dropped));
            }
            for (name, value) in more {
                // Envoy has one of each pseudo-header.
                if name.starts_with(':') {
                    headers.retain(|(known, _)| *known != name);
                }
                headers.push((name, value));
            }
            request.port = port.or(request.port);
            (headers, request)
        },
    )
}
