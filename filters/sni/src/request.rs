//! One request: its authority has to agree with the server name of its connection.

use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::http::{HttpHost, LocalReply};
use sluice_policy::value::host_name::without_port;
use sluice_policy::value::server_name::ServerName;

use crate::shared::{Names, Shared};

/// Misdirected Request (RFC 9110 section 15.5.20): a client may ask again on another connection.
const MISDIRECTED_REQUEST: u16 = 421;

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
pub struct Request<H> {
    host: H,
    shared: Rc<Shared>,
}

impl<H: HttpHost> Request<H> {
    /// A request that has just begun.
    pub fn new(host: H, shared: Rc<Shared>) -> Self {
        Self { host, shared }
    }

    /// Compares the names, and answers where they do not agree.
    pub fn on_request_headers(&self) -> Next {
        let sni = StreamAttributes(&self.host).server_name();
        // All headers would cost more, and of this one there is one at most.
        let authority = self.host.property(&["request", "host"]).unwrap_or_default();
        let outcome = self.shared.policy.request(sni.as_deref(), &authority);
        let is_refused = if outcome.is_violation() {
            let sni = sni.and_then(|sni| ServerName::new(&sni));
            let asked = ServerName::new(without_port(&authority));
            let names = Names { sni: sni.as_ref(), asked: asked.as_ref() };
            self.shared.settle(&self.host, outcome, names)
        } else {
            self.shared.settle(&self.host, outcome, Names::default())
        };
        if !is_refused {
            return Next::Continue;
        }
        self.host.reply(&LocalReply {
            status: MISDIRECTED_REQUEST,
            grpc_status: None,
            headers: Vec::new(),
            body: &[],
            details: outcome.counter(),
        });
        Next::Replied
    }

    /// The host, for tests.
    pub fn host(&self) -> &H {
        &self.host
    }
}

#[cfg(test)]
mod tests {
    use sluice_host::fake::FakeHost;
    use sluice_host::host::Counter;
    use sluice_policy::sni::{Outcome, SniPolicy};
    use sluice_policy::spec::policy::Policy;
    use sluice_policy::spec::proxy::NoMetadata;

    use super::*;
    use crate::shared::{Counters, NOTE};

    const REFUSED: &str = "sluice.sni.refused";
    const REPORTED: &str = "sluice.sni.reported";

    /// Every counter is its place in the list of outcomes, and then come these two.
    fn counter(name: &str) -> Counter {
        let known = Outcome::ALL.map(Outcome::counter);
        let mut all = known.iter().chain(&[REFUSED, REPORTED]);
        Counter(u32::try_from(all.position(|other| *other == name).unwrap()).unwrap())
    }

    fn request(settings: &str, sni: &str, authority: &str) -> (Request<FakeHost>, Next) {
        let document = format!(
            r#"{{"sni": {settings}, "virtualServices": [{{"hosts": ["a.com", "b.com"], "tcp": [{{}}]}}]}}"#
        );
        let (policy, _) = SniPolicy::compile(document.as_bytes(), &NoMetadata).unwrap();
        let shared = Rc::new(Shared::new(policy, Counters::new(counter)));
        let host = FakeHost::default()
            .with_property(&["connection", "requested_server_name"], sni)
            .with_property(&["request", "host"], authority);
        let request = Request::new(host, shared);
        let next = request.on_request_headers();
        (request, next)
    }

    #[test]
    fn names_that_agree_pass() {
        let (request, next) = request("{}", "a.com", "A.com:443");
        assert_eq!(next, Next::Continue);
        let host = request.host();
        assert_eq!(host.count(counter(Outcome::Agreed.counter())), 1);
        assert_eq!(host.count(counter(REFUSED)), 0);
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
            let (request, next) = request("{}", sni, authority);
            assert_eq!(next, Next::Replied, "{sni} {authority}");
            let host = request.host();
            assert_eq!(host.count(counter(outcome.counter())), 1, "{sni} {authority}");
            assert_eq!(host.count(counter(REFUSED)), 1);
            let replies = host.replies();
            assert_eq!(replies.len(), 1);
            assert_eq!((replies[0].status, replies[0].details.as_str()), (421, outcome.counter()));
        }
    }

    #[test]
    fn report_only_counts_and_lets_pass() {
        let (request, next) = request(r#"{"mode": "reportOnly"}"#, "a.com", "b.com");
        assert_eq!(next, Next::Continue);
        let host = request.host();
        assert_eq!(host.count(counter(Outcome::Misdirected.counter())), 1);
        assert_eq!((host.count(counter(REFUSED)), host.count(counter(REPORTED))), (0, 1));
        assert_eq!(host.replies(), []);
    }
}
