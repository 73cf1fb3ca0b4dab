//! A stream: a request before Envoy's router, or one of its attempts in a cluster.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sluice_host::attributes::StreamAttributes;
use sluice_host::filter::{Action, HttpStream};
use sluice_host::host::{ROUTE_NOTE, ROUTE_STATE};
use sluice_host::http::{HttpHost, LocalReply};
use sluice_host::shared_data::SharedData;
use sluice_policy::outlier::Choice;
use sluice_policy::outlier::classify::{
    Outcome, Response, cause, classify, classify_trailers, is_failure,
};
use sluice_policy::request::Request;
use sluice_policy::spec::outlier_detection::{Failures, Settings};
use sluice_policy::value::header::{CLUSTER, FAILURE, HeaderEdit};

use crate::metrics::Event;
use crate::monitor::{self, Monitor};
use crate::warnings;
use crate::worker::{Detection, Worker};

/// The header that the cluster's load balancer reads: addresses of hosts, in the order in which
/// they are tried. It is a source of the policy `envoy.load_balancing_policies.override_host`.
pub const HOSTS: &str = "x-sluice-host";

/// Bits of `response.flags` (Envoy `StreamInfo::ResponseFlag`) of requests that ended before their
/// response through no fault of a host: the client left (DC, DR) or broke the protocol (DPE), a
/// timeout of the listener expired (SI, DT), or Envoy ran out of memory (OM). In a cluster no other
/// flags can be seen, as those of failed attempts are set later.
const ENDED_BY_CLIENT: u64 = 0x4000 | 0x1000_0000 | 0x4_0000 | 0x1_0000 | 0x40_0000 | 0x200_0000;

/// One stream.
#[derive(Debug)]
pub struct Stream<H> {
    host: H,
    worker: Rc<Worker>,
    /// Set in a cluster with outlier detection
    attempt: OnceCell<Attempt>,
}

/// An attempt of a request, with one host.
#[derive(Debug)]
enum Attempt {
    /// Envoy counts it, and the filter marks it if it fails.
    Marked { settings: Arc<Settings>, rule: Option<usize>, began: Duration },
    /// The filter counts it.
    Counted(CountedAttempt),
}

/// An attempt that the filter counts.
#[derive(Debug)]
struct CountedAttempt {
    monitor: Rc<Monitor>,
    address: Vec<u8>,
    /// The rule of `failure.rules` that the request satisfies
    rule: Option<usize>,
    began: Duration,
    /// Whether Envoy itself chose the host; otherwise it was in the list of the request
    is_chosen: bool,
    reported: Cell<Reported>,
    /// Whether the status is 2xx
    is_2xx: Cell<bool>,
}

impl CountedAttempt {
    /// The responses that are failures of this request.
    fn failures(&self) -> &Failures {
        self.monitor.settings.failures.of_rule(self.rule)
    }
}

/// What has been reported of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    /// Nothing, as there is no response yet.
    Nothing,
    /// Nothing yet, as the trailers decide.
    AwaitsTrailers,
    /// A success, and the client gets the response.
    Success,
    /// Something else. Envoy may break off the response itself, for a retry or a redirect.
    Other,
}

impl<H: HttpHost + SharedData> Stream<H> {
    /// A stream that has just begun.
    pub fn new(host: H, worker: Rc<Worker>) -> Self {
        Self { host, worker, attempt: OnceCell::new() }
    }

    /// Returns the outlier detection of a cluster.
    fn detection(&self, cluster: &[u8]) -> Option<Detection> {
        self.worker.detection(cluster, &self.host).inspect(|own| self.arm_for(own))
    }

    fn arm_for(&self, detection: &Detection) {
        if let Detection::Counts(monitor) = detection {
            self.worker.arm_for(monitor, &self.host);
        }
    }

    /// Returns the monitor of a cluster in which the filter ejects hosts.
    fn monitor(&self, cluster: &[u8]) -> Option<Rc<Monitor>> {
        self.detection(cluster)?.monitor()
    }

    /// `list` is the list of hosts that the request had.
    fn begin_attempt(&self, list: Option<&[u8]>) -> Action {
        let began = self.host.uptime();
        let Some(detection) = self.worker.detection_of_attempt(began, &self.host) else {
            return Action::Continue;
        };
        self.arm_for(&detection);
        let attempt = match detection {
            Detection::Marks(settings) => {
                let rule = self.rule(&settings.failures);
                Attempt::Marked { settings, rule, began }
            }
            Detection::Counts(monitor) => {
                // Envoy 1.36 also begins attempts that it has given up because there are too many.
                let Some(address) = self.host.property(&["upstream", "address"]) else {
                    return Action::Continue;
                };
                let is_listed =
                    |list: &[u8]| list.split(|byte| *byte == b',').any(|host| host == address);
                let is_chosen = !list.is_some_and(is_listed);
                if list.is_some() && monitor.is_list_ignored(&address, is_chosen) {
                    warnings::ignores_lists(monitor.cluster(), &self.host);
                }
                let context = self.worker.update_context();
                let endpoints = || self.endpoints();
                if monitor.refuses(&address, is_chosen, began, endpoints, context, &self.host) {
                    return self.refuse();
                }
                Attempt::Counted(CountedAttempt {
                    rule: self.rule(&monitor.settings.failures),
                    monitor,
                    address,
                    is_chosen,
                    began,
                    reported: Cell::new(Reported::Nothing),
                    is_2xx: Cell::default(),
                })
            }
        };
        self.attempt.get_or_init(|| attempt);
        Action::Continue
    }

    /// Returns the index of the rule for the request, if there are rules.
    fn rule(&self, failures: &Failures) -> Option<usize> {
        if !failures.has_rules() {
            return None;
        }
        let headers = self.host.encoded_request_headers();
        failures.rule_for(&Request::of_encoded(&headers, &StreamAttributes(&self.host)))
    }

    /// Ends an attempt because all hosts are ejected. The host does not get the request, and Envoy
    /// makes no retry.
    fn refuse(&self) -> Action {
        self.worker.metrics.counters.increment(Event::NoHealthyUpstream, &self.host);
        self.host.reply(&LocalReply {
            status: 503,
            grpc_status: None,
            headers: Vec::new(),
            body: b"no healthy upstream",
            details: "no_healthy_upstream",
        });
        Action::Pause
    }

    /// Calls `judge` with the response whose headers have arrived.
    fn judge<T>(
        &self,
        failures: &Failures,
        began: Duration,
        judge: impl FnOnce(&Response<'_>) -> T,
    ) -> T {
        let status = self.host.response_header(":status").unwrap_or_default();
        let status = std::str::from_utf8(&status).ok().and_then(|status| status.parse().ok());
        let latency = match failures.needs_latency() {
            true => self.host.uptime().saturating_sub(began),
            false => Duration::ZERO,
        };
        let header = |name: &str| self.host.response_header(name);
        judge(&Response { status: status.unwrap_or_default(), latency, header: &header })
    }

    /// Marks a failed attempt for Envoy, which reads the mark before it decides about a retry.
    fn mark(&self, failures: &Failures, began: Duration) {
        if let Some(cause) = self.judge(failures, began, |response| cause(failures, response)) {
            let edit = HeaderEdit::set(FAILURE, cause.as_str().as_bytes());
            self.host.edit_response_header(&edit);
        }
    }

    /// Classifies the response of an attempt that the filter counts.
    fn count(&self, attempt: &CountedAttempt, is_end: bool) {
        let failures = attempt.failures();
        let verdict = self.judge(failures, attempt.began, |response| {
            attempt.is_2xx.set(matches!(response.status, 200..=299));
            classify(failures, response)
        });
        let verdict = verdict.or_else(|| is_end.then(|| classify_trailers(failures, None)));
        match verdict {
            Some(verdict) => self.report(attempt, Some(Outcome::Response(verdict))),
            None => attempt.reported.set(Reported::AwaitsTrailers),
        }
    }

    /// Returns the attempt if the filter counts it.
    fn counted(&self) -> Option<&CountedAttempt> {
        match self.attempt.get()? {
            Attempt::Counted(attempt) => Some(attempt),
            Attempt::Marked { .. } => None,
        }
    }

    /// Sends the request to hosts of the cluster that are not ejected. `is_routed` is as in
    /// [`cluster`](Self::cluster).
    fn choose_hosts(&self, cluster: Option<Vec<u8>>, is_routed: bool) {
        let monitor = match cluster.and_then(|cluster| self.detection(&cluster)) {
            None => return,
            Some(Detection::Marks(_)) => {
                if !self.worker.is_needless.replace(true) {
                    warnings::needs_no_listener(&self.host);
                }
                return;
            }
            Some(Detection::Counts(monitor)) => monitor,
        };
        let mut choice = self.choose(&monitor);
        if let (Choice::Fallback, Some(fallback)) = (&choice, &monitor.fallback) {
            if !is_routed {
                return warnings::cannot_fall_back(monitor.cluster(), &self.host);
            }
            self.worker.metrics.counters.increment(Event::Fallback, &self.host);
            self.host.edit_request_header(&HeaderEdit::set(CLUSTER, fallback.as_bytes()));
            let fallback = self.monitor(fallback.as_bytes());
            choice = fallback.map_or(Choice::Any, |fallback| self.choose(&fallback));
        }
        if let Choice::Hosts(hosts) = choice {
            self.host.edit_request_header(&HeaderEdit::set(HOSTS, hosts));
        }
    }

    /// Returns the cluster of the request, and whether the router filter has chosen it, after Envoy
    /// chose its route. Removes the router filter's header if a client has set it.
    fn cluster(&self) -> (Option<Vec<u8>>, bool) {
        let header = self.host.request_header(CLUSTER);
        if header.is_some() && self.has_route_note() {
            return (header, true);
        }
        let cluster = self.host.property(&["xds", "cluster_name"]);
        if header.is_some() {
            self.host.edit_request_header(&HeaderEdit::remove(CLUSTER));
        }
        (cluster, false)
    }

    /// Whether the router filter has chosen the cluster, in a wasm module or in a dynamic one.
    fn has_route_note(&self) -> bool {
        let has = |path: &[&str]| self.host.property(path).is_some();
        has(&[ROUTE_NOTE]) || has(&["filter_state", ROUTE_STATE])
    }

    fn choose(&self, monitor: &Monitor) -> Choice {
        let worker = &*self.worker;
        if monitor.view(&self.host).is_whole() {
            return Choice::Any;
        }
        let probe = monitor.take_probe(worker.update_context(), &self.host);
        if let Some(probe) = probe {
            worker.metrics.counters.increment(Event::Probe, &self.host);
            return Choice::Hosts(monitor.view(&self.host).probe_header(&probe, worker.rotate()));
        }
        let is_try = monitor.is_try();
        monitor.view(&self.host).choose(monitor.endpoints(), worker.rotate(), is_try)
    }

    /// The number of hosts in the cluster of the attempt; 0 if it is unknown.
    fn endpoints(&self) -> u64 {
        let endpoints = self.host.property(&["upstream", "num_endpoints"]);
        let endpoints = endpoints.and_then(|bytes| bytes.try_into().ok());
        endpoints.map_or(0, u64::from_le_bytes)
    }

    fn is_ended_by_client(&self) -> bool {
        let flags = self.host.property(&["response", "flags"]);
        let flags = flags.and_then(|flags| flags.try_into().ok()).map_or(0, u64::from_le_bytes);
        flags & ENDED_BY_CLIENT != 0
    }

    /// Reports the outcome of the attempt, if there is one.
    fn report(&self, attempt: &CountedAttempt, outcome: Option<Outcome>) {
        let is_failure = outcome.is_some_and(is_failure);
        let is_success = attempt.is_2xx.get() && !is_failure;
        attempt.reported.set(if is_success { Reported::Success } else { Reported::Other });
        let monitor = &attempt.monitor;
        if is_failure || monitor.needs_endpoints(&attempt.address) {
            monitor.update_endpoints(self.endpoints(), &self.host);
        }
        let record = monitor::Attempt {
            host: &attempt.address,
            began: attempt.began,
            outcome,
            is_chosen: attempt.is_chosen,
        };
        monitor.record(record, self.worker.update_context(), &self.host);
        self.worker.arm_for(monitor, &self.host);
    }
}

impl<H: HttpHost + SharedData> HttpStream for Stream<H> {
    fn on_request_headers(&self) -> Action {
        let list = self.host.request_header(HOSTS);
        // Only this filter may set the header. When an attempt begins, the load balancer has read
        // it.
        let remove = || {
            if list.is_some() {
                self.host.edit_request_header(&HeaderEdit::remove(HOSTS));
            }
        };
        if self.worker.is_in_cluster(&self.host) {
            remove();
            return self.begin_attempt(list.as_deref());
        }
        // An edit clears the route, and its cluster is no longer known.
        let (cluster, is_routed) = self.cluster();
        remove();
        self.choose_hosts(cluster, is_routed);
        Action::Continue
    }

    fn on_response_headers(&self, is_end: bool) -> Action {
        if let Some(attempt) = self.counted() {
            // Envoy does not read the header in this cluster.
            self.count(attempt, is_end);
            return Action::Continue;
        }
        // Only this filter may set the header in a cluster, and no client may see it.
        if self.host.response_header(FAILURE).is_some() {
            self.host.edit_response_header(&HeaderEdit::remove(FAILURE));
        }
        if let Some(Attempt::Marked { settings, rule, began }) = self.attempt.get() {
            self.mark(settings.failures.of_rule(*rule), *began);
        }
        Action::Continue
    }

    fn on_response_trailers(&self) -> Action {
        if let Some(attempt) = self.counted()
            && attempt.reported.get() == Reported::AwaitsTrailers
        {
            let trailers = self.host.response_trailers();
            let status = trailers.iter().find(|(name, _)| name == "grpc-status");
            let status = status.map(|(_, value)| value.as_slice());
            let verdict = classify_trailers(attempt.failures(), status);
            self.report(attempt, Some(Outcome::Response(verdict)));
        }
        Action::Continue
    }

    /// Reports an attempt without a complete response. No other callback sees it, as attempts in a
    /// cluster have no `on_log`.
    fn on_end(&self) {
        let Some(attempt) = self.counted() else { return };
        let reported = attempt.reported.get();
        if reported == Reported::Success && !attempt.monitor.counts_broken_responses {
            return;
        }
        let has = |name: [&str; 2]| self.host.property(&name).is_some();
        let has_response = reported != Reported::Nothing;
        let is_complete = has_response && has(["response", "backend_latency"]);
        let outcome = match reported {
            Reported::Other => return,
            Reported::Success if is_complete => return,
            Reported::AwaitsTrailers if is_complete => {
                Some(Outcome::Response(classify_trailers(attempt.failures(), None)))
            }
            _ if self.is_ended_by_client() => None,
            Reported::Success => Some(Outcome::Broken),
            _ if has(["upstream", "transport_failure_reason"]) => Some(Outcome::NoConnection),
            // Envoy does not say if it gave up a stream that it began itself, such as a copy.
            _ if !has(["connection", "id"]) => None,
            _ if has(["upstream", "cx_pool_ready_duration"]) => Some(Outcome::NoResponse),
            _ => Some(Outcome::NoConnection),
        };
        self.report(attempt, outcome);
    }
}

#[cfg(test)]
mod tests;
