//! A stream: a request before Envoy's router, or one of its attempts in a cluster.

use std::rc::Rc;
use std::time::Duration;

use sluice_host::http::{HttpHost, LocalReply};
use sluice_host::shared_data::SharedData;
use sluice_policy::outlier::Choice;
use sluice_policy::outlier::classify::{
    Outcome, Response, classify, classify_trailers, is_failure,
};
use sluice_policy::value::header::{CLUSTER, HeaderEdit};

use crate::monitor::{Attempt, Monitor};
use crate::worker::Worker;

/// The header that the cluster's load balancer reads: addresses of hosts, in the order in which they are to
/// be tried. The policy `envoy.load_balancing_policies.override_host` has it as a source.
pub const HOSTS: &str = "x-sluice-host";

/// Bits of `response.flags` (Envoy `StreamInfo::ResponseFlag`) of requests that ended before their response,
/// through no fault of a host: the client left (DC, DR) or broke the protocol (DPE), the time that the
/// listener gives was over (SI, DT), or Envoy has no memory left (OM). In a cluster they are the only ones that
/// can be seen, those of failed attempts are set later.
const ENDED_BY_CLIENT: u64 = 0x4000 | 0x1000_0000 | 0x4_0000 | 0x1_0000 | 0x40_0000 | 0x200_0000;

/// One stream.
#[derive(Debug)]
pub struct Stream<H: HttpHost + SharedData> {
    host: H,
    worker: Rc<Worker>,
    /// In a cluster, if there is something to detect
    attempt: Option<Try>,
}

#[derive(Debug)]
struct Try {
    monitor: Rc<Monitor>,
    address: Vec<u8>,
    began: Duration,
    told: Told,
    /// Whether the status is 2xx
    is_good: bool,
}

/// What has been told of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing: there is no response yet.
    Nothing,
    /// Nothing: the trailers will say it.
    UpToTrailers,
    /// That the host does well, and the client gets the response.
    Success,
    /// Something else. Envoy may break off the response itself, for a retry or a redirect.
    Other,
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
        Self { host, worker, attempt: None }
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
        if self.worker.is_in_cluster(&self.host) {
            self.begin_attempt();
            return Next::Continue;
        }
        self.choose_hosts()
    }

    fn monitor(&self, cluster: &[u8]) -> Option<Rc<Monitor>> {
        let monitor = self.worker.monitor(cluster, &self.host)?;
        self.worker.arm_for(&monitor, &self.host);
        Some(monitor)
    }

    fn begin_attempt(&mut self) {
        // Envoy 1.36 also begins attempts that it has given up already, as there are too many.
        let Some(address) = self.host.property(&["upstream", "address"]) else { return };
        let cluster = self.host.property(&["xds", "cluster_name"]);
        if let Some(monitor) = cluster.and_then(|cluster| self.monitor(&cluster)) {
            let (began, told, is_good) = (self.host.uptime(), Told::Nothing, false);
            self.attempt = Some(Try { monitor, address, began, told, is_good });
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
        let Some(attempt) = &self.attempt else { return };
        let failures = &attempt.monitor.settings.failures;
        let status = self.host.response_header(":status").unwrap_or_default();
        let status =
            std::str::from_utf8(&status).ok().and_then(|status| status.parse::<u16>().ok());
        let latency = match failures.needs_latency() {
            true => self.host.uptime().saturating_sub(attempt.began),
            false => Duration::ZERO,
        };
        let header = |name: &str| self.host.response_header(name);
        let response = Response { status: status.unwrap_or_default(), latency, header: &header };
        let verdict = classify(failures, &response);
        let verdict = verdict.or_else(|| is_end.then(|| classify_trailers(failures, None)));
        if let Some(attempt) = &mut self.attempt {
            attempt.is_good = matches!(status, Some(200..=299));
        }
        match verdict {
            Some(verdict) => self.tell(Some(Outcome::Response(verdict))),
            None => self.leave_to_trailers(),
        }
    }

    /// The response's trailers have come.
    pub fn on_response_trailers(&mut self) {
        let Some(attempt) = &self.attempt else { return };
        if attempt.told != Told::UpToTrailers {
            return;
        }
        let trailers = self.host.response_trailers();
        let status = trailers.iter().find(|(name, _)| name == "grpc-status");
        let status = status.map(|(_, value)| value.as_slice());
        let verdict = classify_trailers(&attempt.monitor.settings.failures, status);
        self.tell(Some(Outcome::Response(verdict)));
    }

    fn leave_to_trailers(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.told = Told::UpToTrailers;
        }
    }

    /// The stream is over, and nothing more comes of it.
    pub fn on_end(&mut self) {
        let Some(attempt) = &self.attempt else { return };
        if attempt.told == Told::Success && !attempt.monitor.minds_broken_responses() {
            return;
        }
        let property = |name: [&str; 2]| self.host.property(&name);
        let has_come = attempt.told != Told::Nothing;
        let is_whole = has_come && property(["response", "backend_latency"]).is_some();
        let outcome = match attempt.told {
            Told::Other => return,
            Told::Success if is_whole => return,
            Told::UpToTrailers if is_whole => {
                let failures = &attempt.monitor.settings.failures;
                Some(Outcome::Response(classify_trailers(failures, None)))
            }
            _ if self.is_ended_by_client() => None,
            Told::Success => Some(Outcome::Broken),
            _ if property(["upstream", "transport_failure_reason"]).is_some() => {
                Some(Outcome::NoConnection)
            }
            // Of a stream that Envoy itself began, such as a copy, nobody says that it was given up.
            _ if property(["connection", "id"]).is_none() => None,
            _ if property(["upstream", "cx_pool_ready_duration"]).is_some() => {
                Some(Outcome::NoResponse)
            }
            _ => Some(Outcome::NoConnection),
        };
        self.tell(outcome);
    }

    fn is_ended_by_client(&self) -> bool {
        let flags = self.host.property(&["response", "flags"]);
        let flags = flags.and_then(|flags| flags.try_into().ok()).map_or(0, u64::from_le_bytes);
        flags & ENDED_BY_CLIENT != 0
    }

    /// Tells what came of the attempt, if anything.
    fn tell(&mut self, outcome: Option<Outcome>) {
        let Some(attempt) = &mut self.attempt else { return };
        let is_failure = outcome.is_some_and(is_failure);
        attempt.told = if attempt.is_good && !is_failure { Told::Success } else { Told::Other };
        let Some(attempt) = &self.attempt else { return };
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

#[cfg(test)]
mod tests;
