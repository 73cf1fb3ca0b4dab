//! A request: its authority has to agree with the SNI of its connection.

use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::filter::{Action, HttpStream};
use sluice_host::http::{HttpHost, LocalReply};
use sluice_policy::sni::Outcome;
use sluice_policy::value::host_name;
use sluice_policy::value::server_name::ServerName;

use crate::worker::{Names, Worker};

/// Misdirected Request (RFC 9110 section 15.5.20): the client may retry on another connection.
const MISDIRECTED_REQUEST: u16 = 421;

/// One request.
#[derive(Debug)]
pub struct Request<H> {
    host: H,
    worker: Rc<Worker>,
}

impl<H> Request<H> {
    /// A request that has just begun.
    pub fn new(host: H, worker: Rc<Worker>) -> Self {
        Self { host, worker }
    }
}

impl<H: HttpHost> HttpStream for Request<H> {
    /// Compares the names, and answers the request if they do not agree.
    fn on_request_headers(&self) -> Action {
        let sni = StreamAttributes(&self.host).server_name();
        // This is cheaper than all headers, and a request has at most one `:authority`.
        let authority = self.host.property(&["request", "host"]).unwrap_or_default();
        let outcome = self.worker.policy.request(sni.as_deref(), &authority);
        let is_refused = if outcome.is_violation() {
            let sni = sni.and_then(|sni| ServerName::new(&sni));
            let inner = ServerName::new(host_name::of_authority(&authority));
            let names = Names { sni: sni.as_ref(), inner: inner.as_ref() };
            self.worker.settle(&self.host, outcome, names)
        } else {
            self.worker.settle(&self.host, outcome, Names::default())
        };
        if !is_refused {
            return Action::Continue;
        }
        self.host.reply(&LocalReply {
            status: MISDIRECTED_REQUEST,
            grpc_status: None,
            headers: Vec::new(),
            body: &[],
            details: &details(outcome),
        });
        Action::Pause
    }
}

/// `%RESPONSE_CODE_DETAILS%` of a refused request: the name of the counter, with `_` for dots.
fn details(outcome: Outcome) -> String {
    outcome.counter().replace('.', "_")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluice_host::fake::FakeHost;
    use sluice_policy::sni::SniPolicy;
    use sluice_policy::spec::policy::Policy;
    use sluice_policy::spec::proxy::NoMetadata;

    use super::*;
    use crate::worker::NOTE;

    const REFUSED: &str = "sluice.sni.refused";
    const REPORTED: &str = "sluice.sni.reported";

    fn request(settings: &str, sni: &str, authority: &str) -> (FakeHost, Action) {
        let document = format!(
            r#"{{"sni": {settings},
                "virtualServices": [{{"hosts": ["a.com", "b.com"], "tcp": [{{}}]}}]}}"#
        );
        let (policy, _) = SniPolicy::compile(document.as_bytes(), &NoMetadata).unwrap();
        let host = FakeHost::default()
            .with_property(&["connection", "requested_server_name"], sni)
            .with_property(&["request", "host"], authority);
        let worker = Rc::new(Worker::with_policy(Arc::new(policy), &host));
        let action = Request::new(host.clone(), worker).on_request_headers();
        (host, action)
    }

    #[test]
    fn names_that_agree_pass() {
        let (host, action) = request("{}", "a.com", "A.com:443");
        assert_eq!(action, Action::Continue);
        assert_eq!(host.count(Outcome::Agreed.counter()), 1);
        assert_eq!(host.count(REFUSED), 0);
        assert_eq!(host.replies(), []);
        assert_eq!(host.notes(), [(NOTE.to_owned(), "agreed".to_owned())]);
    }

    #[test]
    fn others_are_misdirected() {
        for (sni, authority, outcome) in [
            ("a.com", "b.com", Outcome::Misdirected),
            ("a.com", "c.com", Outcome::HostNotAllowed),
            ("c.com", "a.com", Outcome::HostNotAllowed),
            ("", "a.com", Outcome::NoSni),
            ("a.com\u{7f}", "a.com", Outcome::InvalidSni),
            ("a.com", "", Outcome::HostNotAllowed),
        ] {
            let (host, action) = request("{}", sni, authority);
            assert_eq!(action, Action::Pause, "{sni} {authority}");
            assert_eq!(host.count(outcome.counter()), 1, "{sni} {authority}");
            assert_eq!(host.count(REFUSED), 1);
            let replies = host.replies();
            assert_eq!(replies.len(), 1);
            let details = format!("sluice_sni_{}", outcome.name());
            assert_eq!((replies[0].status, &replies[0].details), (421, &details));
        }
    }

    #[test]
    fn shadow_mode_counts_and_lets_pass() {
        let (host, action) = request(r#"{"mode": "shadow"}"#, "a.com", "b.com");
        assert_eq!(action, Action::Continue);
        assert_eq!(host.count(Outcome::Misdirected.counter()), 1);
        assert_eq!((host.count(REFUSED), host.count(REPORTED)), (0, 1));
        assert_eq!(host.replies(), []);
    }
}
