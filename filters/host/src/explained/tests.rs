use sluice_policy::router::Router;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use super::*;
use crate::attributes::StreamAttributes;
use crate::fake::FakeHost;

const SECRET: &str = "open-sesame-12345";

fn explaining(settings: &str) -> Option<Rc<Explaining>> {
    let document = format!(
        r#"{{"virtualServices": [{{"hosts": ["a"], "http": [{{"route":
            [{{"destination": {{"host": "a", "port": {{"number": 80}}}}}}]}}]}}], "explain": {settings}}}"#
    );
    let (router, _) = Router::compile(document.as_bytes(), &NoMetadata).unwrap();
    Explaining::new(router.explain.as_ref())
}

/// A request with these values of the header, after two explanations and the response's headers.
fn respond(settings: &str, place: Place, sent: &[&str]) -> FakeHost {
    respond_with(settings, place, sent, None)
}

fn respond_with(
    settings: &str,
    place: Place,
    sent: &[&str],
    fault: Option<&'static str>,
) -> FakeHost {
    let mut host = FakeHost::default();
    for value in sent {
        host = host.with_request_header("x-sluice-explain", *value);
    }
    let headers = host.encoded_request_headers();
    let attributes = StreamAttributes(&host);
    let explained = Explained::default();
    let request = Request::of_encoded(&headers, &attributes);
    if let Some(explaining) = explaining(settings) {
        explained.begin(&explaining, place, &request, &host, |own| {
            own.egress = Some("egress".to_owned());
            own.routed = vec!["router".to_owned()];
        });
    }
    drop(request);
    host.edit_response_header(&HeaderEdit::set("x-sluice-explain", b"of the upstream"));
    explained.on_response_headers(fault, &host);
    explained.on_response_headers(fault, &host);
    host
}

fn answers(host: &FakeHost) -> Vec<String> {
    let headers = host.response_headers().into_iter();
    headers.map(|(_, value)| String::from_utf8(value).unwrap()).collect()
}

fn asks() -> String {
    format!(r#"{{"secret": "{SECRET}"}}"#)
}

#[test]
fn a_request_with_the_secret_gets_each_explanation_once() {
    let host = respond(&asks(), Place::Last, &[SECRET]);
    assert_eq!(answers(&host), ["egress", "router"], "not that of the upstream");
    assert_eq!(host.request_headers(), [], "the upstream does not see the secret");

    let host = respond(&asks(), Place::BeforeOthers, &[SECRET]);
    assert_eq!(answers(&host), ["of the upstream", "egress", "router"]);
    assert_eq!(host.request_headers().len(), 1, "the next filter sees the secret");
}

#[test]
fn an_aborted_request_has_no_route_to_explain() {
    let host = respond_with(&asks(), Place::Last, &[SECRET], Some("abort"));
    assert_eq!(answers(&host), ["egress"]);
}

#[test]
fn other_requests_get_nothing_and_their_header_does_not_reach_the_upstream() {
    let twice = [SECRET, SECRET];
    for sent in [&[][..], &["Open-sesame-12345"], &[""], &twice, &["x"; 300]] {
        let host = respond(&asks(), Place::Last, sent);
        assert_eq!(answers(&host), ["of the upstream"], "{sent:?}");
        assert_eq!(host.request_headers(), [], "{sent:?}");
    }
}

#[test]
fn without_settings_the_header_is_not_ours() {
    let host = respond("null", Place::Last, &[SECRET]);
    assert_eq!(answers(&host), ["of the upstream"]);
    assert_eq!(host.request_headers().len(), 1);
}

#[test]
fn a_secret_is_no_reason_to_log_and_a_logged_request_gets_no_answer() {
    let all = r#"{"logPercentage": {"value": 100}}"#;
    assert!(explaining(all).is_some_and(|own| own.is_logged()));
    assert_eq!(answers(&respond(all, Place::Last, &[SECRET])), ["of the upstream"]);
    assert!(explaining(&asks()).is_some_and(|own| !own.is_logged()));
}
