//! One request through the router: ask the policy, apply the answer.

use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::http::{Counter, HttpHost, LocalReply};
use sluice_host::random::Random;
use sluice_policy::request::Request;
use sluice_policy::router::Router;
use sluice_policy::router::decision::{Outcome, ResponsePlan};

/// The note with the name of the match that decided, `%FILTER_STATE(wasm.sluice.route:PLAIN)%`.
pub const NOTE: &str = "sluice.route";

/// What all streams of a worker share.
#[derive(Debug)]
pub struct Shared {
    /// The compiled policy
    pub router: Router,
    /// What is counted
    pub counters: Counters,
    /// Draws for weighted choices
    pub random: Random,
}

/// The router's counters, `wasmcustom.sluice.router.*` in Envoy's statistics.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    forwarded: Counter,
    no_route: Counter,
    no_virtual_host: Counter,
    passed: Counter,
    preflight: Counter,
    redirected: Counter,
    responded: Counter,
}

impl Counters {
    /// Defines them.
    pub fn new(define: impl Fn(&'static str) -> Counter) -> Self {
        Self {
            forwarded: define("sluice.router.forwarded"),
            no_route: define("sluice.router.no_route"),
            no_virtual_host: define("sluice.router.no_virtual_host"),
            passed: define("sluice.router.passed"),
            preflight: define("sluice.router.preflight"),
            redirected: define("sluice.router.redirected"),
            responded: define("sluice.router.responded"),
        }
    }

    /// The counter of an outcome, and how the reply to it is explained in access logs.
    fn of(&self, outcome: Outcome) -> (Counter, &'static str) {
        match outcome {
            Outcome::Forwarded => (self.forwarded, ""),
            Outcome::NoRoute => (self.no_route, "sluice_no_route"),
            Outcome::NoVirtualHost => (self.no_virtual_host, "sluice_no_virtual_host"),
            Outcome::Passed => (self.passed, ""),
            Outcome::Preflight => (self.preflight, "sluice_cors_preflight"),
            Outcome::Redirected => (self.redirected, "sluice_redirect"),
            Outcome::Responded => (self.responded, "sluice_direct_response"),
        }
    }
}

/// What happens to a request after its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on through the filters.
    Continue,
    /// It was answered.
    Replied,
}

/// One request.
#[derive(Debug)]
pub struct Stream<H> {
    host: H,
    shared: Rc<Shared>,
    response: Option<ResponsePlan>,
}

impl<H: HttpHost> Stream<H> {
    /// A stream that has just begun.
    pub fn new(host: H, shared: Rc<Shared>) -> Self {
        Self { host, shared, response: None }
    }

    /// Routes the request, or answers it.
    pub fn on_request_headers(&mut self) -> Next {
        let shared = Rc::clone(&self.shared);
        let headers = self.host.encoded_request_headers();
        let attributes = StreamAttributes(&self.host);
        let request = Request::of_encoded(&headers, &attributes);
        let mut decision = shared.router.route(&request, &mut &shared.random);
        let (counter, details) = shared.counters.of(decision.outcome);
        self.host.increment(counter);
        self.host.note(NOTE, decision.note);
        self.response = decision.response.take();
        if let Some(reply) = &decision.reply {
            let headers = reply.headers.iter().map(|(name, value)| (*name, value.as_ref()));
            self.host.reply(&LocalReply {
                status: reply.status,
                grpc_status: None,
                headers: headers.collect(),
                body: reply.body,
                details,
            });
            return Next::Replied;
        }
        for edit in decision.edits() {
            self.host.edit_request_header(&edit);
        }
        Next::Continue
    }

    /// Edits the response, be it the upstream's or this filter's own.
    pub fn on_response_headers(&mut self) {
        let Some(plan) = self.response.take() else { return };
        for edit in plan.edits() {
            self.host.edit_response_header(&edit);
        }
    }

    /// The host, for tests.
    pub fn host(&self) -> &H {
        &self.host
    }
}

#[cfg(test)]
mod tests {
    use sluice_policy::spec::policy::Policy;
    use std::cell::Cell;

    use sluice_host::fake::FakeHost;
    use sluice_policy::spec::proxy::NoMetadata;

    use super::*;

    const DOCUMENT: &str = r#"{"clusterName": "{host}", "virtualServices": [
        {"hosts": ["a.com"], "http": [
            {"name": "gone", "match": [{"uri": {"exact": "/gone"}}],
             "directResponse": {"status": 410, "body": {"string": "gone"}},
             "headers": {"response": {"add": {"x-out": "1"}}}},
            {"name": "all", "headers": {"request": {"remove": ["x-in"]},
             "response": {"remove": ["server"], "set": {"x-out": "2"}}},
             "route": [{"destination": {"host": "b"}}]}]}]}"#;

    fn stream(path: &str, host: FakeHost) -> Stream<FakeHost> {
        let next_id = Cell::new(0);
        let counters = Counters::new(|_| {
            next_id.set(next_id.get() + 1);
            Counter(next_id.get())
        });
        let (router, notices) = Router::compile(DOCUMENT.as_bytes(), &NoMetadata).unwrap();
        assert_eq!(notices, []);
        let shared = Rc::new(Shared { router, counters, random: Random::default() });
        let host = host
            .with_request_header(":authority", "a.com")
            .with_request_header(":path", path)
            .with_response_header("server", "x");
        Stream::new(host, shared)
    }

    #[test]
    fn a_forwarded_request_is_edited_noted_and_counted() {
        let client = FakeHost::default()
            .with_request_header("x-in", b"\xff")
            .with_request_header("x-sluice-cluster", "evil");
        let mut stream = stream("/", client);
        assert_eq!(stream.on_request_headers(), Next::Continue);
        let headers = stream.host().request_headers();
        let cluster: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("x-")).collect();
        assert_eq!(cluster, [&("x-sluice-cluster".to_owned(), b"b".to_vec())]);
        assert_eq!(stream.host().notes(), [(NOTE.to_owned(), "all".to_owned())]);
        assert_eq!(stream.host().count(stream.shared.counters.forwarded), 1);
        assert_eq!(stream.host().count(stream.shared.counters.responded), 0);
        assert_eq!(stream.host().replies(), []);
        stream.on_response_headers();
        let response = [("x-out".to_owned(), b"2".to_vec())];
        assert_eq!(stream.host().response_headers(), response);
        // Applied means done, whatever else Envoy calls.
        stream.on_response_headers();
        assert_eq!(stream.host().response_headers(), response);
    }

    #[test]
    fn a_request_for_another_host_is_left_to_the_routes_of_envoy() {
        let document = DOCUMENT.replacen('{', r#"{"unmatchedHosts": "pass", "#, 1);
        let (router, _) = Router::compile(document.as_bytes(), &NoMetadata).unwrap();
        let counters = Counters::new(|name| Counter(u32::from(name.ends_with(".passed"))));
        let shared = Rc::new(Shared { router, counters, random: Random::default() });
        let client = FakeHost::default()
            .with_request_header(":authority", "other.com")
            .with_request_header("x-in", "1")
            .with_request_header("x-sluice-cluster", "evil");
        let mut stream = Stream::new(client, shared);
        assert_eq!(stream.on_request_headers(), Next::Continue);
        let names: Vec<_> =
            stream.host().request_headers().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [":authority", "x-in"]);
        assert_eq!(stream.host().replies(), []);
        assert_eq!(stream.host().count(Counter(1)), 1);
        assert_eq!(stream.host().notes(), [(NOTE.to_owned(), "no virtual host".to_owned())]);
    }

    #[test]
    fn a_reply_is_given_once_and_edited_like_a_response() {
        let mut stream = stream("/gone", FakeHost::default());
        assert_eq!(stream.on_request_headers(), Next::Replied);
        let replies = stream.host().replies();
        assert_eq!(replies.len(), 1);
        assert_eq!((replies[0].status, replies[0].body.as_slice()), (410, &b"gone"[..]));
        assert_eq!(replies[0].details, "sluice_direct_response");
        assert_eq!(stream.host().count(stream.shared.counters.responded), 1);
        stream.on_response_headers();
        let added = ("x-out".to_owned(), b"1".to_vec());
        assert!(stream.host().response_headers().contains(&added));
    }
}
