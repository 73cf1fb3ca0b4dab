//! A stream: a request before Envoy's router, or one of its attempts in a cluster.
//!
//! Which of the two it is tells `upstream.address`: in a cluster Envoy has chosen the host before the first
//! callback, before its router never.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sluice_host::http::{HttpHost, LocalReply};
use sluice_host::shared_data::SharedData;
use sluice_policy::header::{CLUSTER, HeaderEdit};
use sluice_policy::outlier::Choice;
use sluice_policy::outlier::classify::{Outcome, Response};

use crate::monitor::{Attempt, Monitor};
use crate::worker::Worker;

/// The header that the cluster's load balancer reads: addresses of hosts, in the order in which they are to
/// be tried. The policy `envoy.load_balancing_policies.override_host` has it as a source.
pub const HOSTS: &str = "x-sluice-host";

/// For how long a missing response may be explained by its request.
const UNEXPLAINED: Duration = Duration::from_secs(1);

thread_local! {
    /// When an attempt last ended without a response and without a reason: its client left, or the time
    /// that the request has for all attempts is over. Only the request knows, and is asked only then.
    static LAST_UNEXPLAINED: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Bits of `response.flags` (Envoy `StreamInfo::ResponseFlag`).
mod flags {
    pub const TIMEOUT: u64 = 0x4;
    pub const LOCAL_RESET: u64 = 0x8;
    pub const REMOTE_RESET: u64 = 0x10;
    pub const NO_CONNECTION: u64 = 0x20;
    pub const CONNECTION_TERMINATION: u64 = 0x40;
    pub const PROTOCOL_ERROR: u64 = 0x80_0000;

    /// The response, or the rest of it, will not come. That there were too many requests
    /// (`UO`, 0x80) is none of these: it says nothing of the host.
    pub const BROKEN: u64 =
        LOCAL_RESET | REMOTE_RESET | NO_CONNECTION | CONNECTION_TERMINATION | PROTOCOL_ERROR;
}

/// One stream.
#[derive(Debug)]
pub struct Stream<H: HttpHost + SharedData> {
    host: H,
    worker: Rc<Worker>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Nothing is known of it yet, or there is nothing to do for it.
    Idle,
    /// A request before the router.
    Request,
    /// An attempt in a cluster.
    Attempt(Try),
}

#[derive(Debug)]
struct Try {
    monitor: Rc<Monitor>,
    address: Vec<u8>,
    began: Duration,
    told: Told,
}

/// What has been told of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing: there is no response yet.
    Nothing,
    /// Nothing: the trailers will say it.
    UpToTrailers,
    /// The response.
    Response,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on.
    Continue,
    /// It was answered.
    Replied,
}

impl<H: HttpHost + SharedData> Stream<H> {
    /// A stream that has just begun.
    pub fn new(host: H, worker: Rc<Worker>) -> Self {
        Self { host, worker, place: Place::Idle }
    }

    /// The host, for tests.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// A request or an attempt begins.
    pub fn on_request_headers(&mut self) -> Next {
        // For the load balancer alone, which has read it when an attempt begins. From clients, none.
        if self.host.request_header(HOSTS).is_some() {
            self.host.edit_request_header(&HeaderEdit::remove(HOSTS));
        }
        match self.host.property(&["upstream", "address"]) {
            Some(address) => {
                self.begin_attempt(address);
                Next::Continue
            }
            None => {
                self.place = Place::Request;
                self.choose_hosts()
            }
        }
    }

    fn monitor(&self, cluster: &[u8]) -> Option<Rc<Monitor>> {
        let monitor = self.worker.monitor(cluster, &self.host)?;
        self.worker.arm_for(&monitor, &self.host);
        Some(monitor)
    }

    fn begin_attempt(&mut self, address: Vec<u8>) {
        let cluster = self.host.property(&["xds", "cluster_name"]);
        if let Some(monitor) = cluster.and_then(|cluster| self.monitor(&cluster)) {
            let (began, told) = (self.host.uptime(), Told::Nothing);
            self.place = Place::Attempt(Try { monitor, address, began, told });
        }
    }

    /// Has the request go where hosts are not ejected.
    fn choose_hosts(&self) -> Next {
        // By the router filter, if there is one. The route that Envoy has chosen is from before that.
        let header = self.host.request_header(CLUSTER);
        let cluster = header.or_else(|| self.host.property(&["xds", "cluster_name"]));
        let Some(monitor) = cluster.and_then(|cluster| self.monitor(&cluster)) else {
            return Next::Continue;
        };
        let mut choice = self.choose(&monitor);
        if let (Choice::None, Some(fallback)) = (&choice, &monitor.fallback) {
            self.host.increment(self.worker.metrics.fallbacks);
            self.host.edit_request_header(&HeaderEdit::set(CLUSTER, fallback.as_bytes()));
            let fallback = self.monitor(fallback.as_bytes());
            choice = fallback.map_or(Choice::Any, |fallback| self.choose(&fallback));
        }
        match choice {
            Choice::Any => Next::Continue,
            Choice::Hosts(hosts) => {
                self.host.edit_request_header(&HeaderEdit::set(HOSTS, hosts));
                Next::Continue
            }
            Choice::None => {
                self.host.increment(self.worker.metrics.no_healthy_upstream);
                self.host.reply(&LocalReply {
                    status: 503,
                    grpc_status: None,
                    headers: Vec::new(),
                    body: b"no healthy upstream",
                    details: "no_healthy_upstream",
                });
                Next::Replied
            }
        }
    }

    fn choose(&self, monitor: &Monitor) -> Choice {
        let worker = &*self.worker;
        if monitor.view(&self.host).is_whole() {
            return Choice::Any;
        }
        let probe = monitor.take_probe(worker.means(), &self.host);
        let view = monitor.view(&self.host);
        if let Some(probe) = probe {
            self.host.increment(worker.metrics.probes);
            return Choice::Hosts(view.probe_header(&probe, worker.rotate()));
        }
        view.choose(monitor.endpoints(), worker.rotate(), &mut &worker.random)
    }

    /// The response's headers have come. `is_end` if they are all of it.
    pub fn on_response_headers(&mut self, is_end: bool) {
        let Place::Attempt(attempt) = &self.place else { return };
        let failures = &attempt.monitor.settings.failures;
        let status = self.host.response_header(":status").unwrap_or_default();
        let status = std::str::from_utf8(&status).ok().and_then(|status| status.parse().ok());
        let latency = match failures.needs_latency() {
            true => self.host.uptime().saturating_sub(attempt.began),
            false => Duration::ZERO,
        };
        let header = |name: &str| self.host.response_header(name);
        let response = Response { status: status.unwrap_or_default(), latency, header: &header };
        let verdict = failures.classify(&response);
        let verdict = verdict.or_else(|| is_end.then(|| failures.classify_trailers(None)));
        match verdict {
            Some(verdict) => self.tell(Told::Response, Some(Outcome::Response(verdict))),
            None => self.tell(Told::UpToTrailers, None),
        }
    }

    /// The response's trailers have come.
    pub fn on_response_trailers(&mut self) {
        let Place::Attempt(attempt) = &self.place else { return };
        if attempt.told != Told::UpToTrailers {
            return;
        }
        let trailers = self.host.response_trailers();
        let status = trailers.iter().find(|(name, _)| name == "grpc-status");
        let status = status.map(|(_, value)| value.as_slice());
        let verdict = attempt.monitor.settings.failures.classify_trailers(status);
        self.tell(Told::Response, Some(Outcome::Response(verdict)));
    }

    /// The request is over.
    pub fn on_log(&mut self) {
        let Place::Request = self.place else { return };
        let Some(at) = LAST_UNEXPLAINED.get() else { return };
        if self.host.uptime().saturating_sub(at) > UNEXPLAINED {
            LAST_UNEXPLAINED.set(None);
            return;
        }
        // The time for all attempts was over before there was a response. When one attempt takes too long
        // Envoy says so in the attempt's flags.
        let details = self.host.property(&["response", "code_details"]);
        if details.as_deref() != Some(b"response_timeout") {
            return;
        }
        let cluster = self.host.property(&["xds", "cluster_name"]);
        let address = self.host.property(&["upstream", "address"]);
        if let (Some(cluster), Some(address)) = (cluster, address)
            && let Some(monitor) = self.monitor(&cluster)
        {
            let (began, outcome) = (self.host.uptime(), Some(Outcome::NoResponse));
            let attempt = Attempt { host: &address, began, outcome };
            self.note_endpoints(&monitor);
            monitor.record(attempt, self.worker.means(), &self.host);
        }
    }

    /// The stream is over, and nothing more comes of it.
    pub fn on_end(&mut self) {
        let Place::Attempt(attempt) = &self.place else { return };
        let told = attempt.told;
        let flags = self.host.property(&["response", "flags"]);
        let flags = flags.and_then(|flags| flags.try_into().ok()).map_or(0, u64::from_le_bytes);
        let has = |bits: u64| flags & bits != 0;
        let outcome = match told {
            Told::Response if has(flags::BROKEN) => Outcome::Broken,
            Told::Response => return,
            _ if has(flags::NO_CONNECTION) => Outcome::NoConnection,
            _ if has(flags::BROKEN | flags::TIMEOUT) => Outcome::NoResponse,
            _ => {
                if told == Told::Nothing {
                    LAST_UNEXPLAINED.set(Some(self.host.uptime()));
                }
                return self.tell(told, None);
            }
        };
        self.tell(Told::Response, Some(outcome));
    }

    /// Tells what came of the attempt.
    fn tell(&mut self, told: Told, outcome: Option<Outcome>) {
        let Place::Attempt(attempt) = &mut self.place else { return };
        attempt.told = told;
        if told == Told::UpToTrailers && outcome.is_none() {
            return;
        }
        let Place::Attempt(attempt) = &self.place else { return };
        let is_failure = outcome.is_some_and(sluice_policy::outlier::count::is_failure);
        if is_failure || attempt.monitor.needs_endpoints() {
            self.note_endpoints(&attempt.monitor);
        }
        let record = Attempt { host: &attempt.address, began: attempt.began, outcome };
        attempt.monitor.record(record, self.worker.means(), &self.host);
        self.worker.arm_for(&attempt.monitor, &self.host);
    }

    fn note_endpoints(&self, monitor: &Monitor) {
        let endpoints = self.host.property(&["upstream", "num_endpoints"]);
        let endpoints = endpoints.and_then(|bytes| bytes.try_into().ok());
        monitor.note_endpoints(endpoints.map_or(0, u64::from_le_bytes), &self.host);
    }
}
