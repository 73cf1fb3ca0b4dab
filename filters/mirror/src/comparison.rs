//! A request whose copies the filter sends itself, to compare the answers.

use std::rc::Rc;

use sluice_host::http::{Call, CallAnswer, CallFailure, HttpHost};
use sluice_policy::spec::mirror::compare::{Answer, BodyHash, Compare};

use crate::stream::Shared;

/// What is kept of an original until it is over.
#[derive(Debug)]
pub struct Original {
    /// The name of the match
    route: Rc<str>,
    /// Where copies go to
    clusters: Vec<Rc<str>>,
    request: Body,
    response: Body,
    response_hash: BodyHash,
}

/// A body that passes.
#[derive(Debug, Default)]
struct Body {
    /// What of it is kept
    bytes: Vec<u8>,
    /// Its length so far
    size: usize,
}

impl Original {
    /// A request whose copies are to go to `clusters`.
    pub fn new(route: &str, clusters: Vec<Rc<str>>) -> Self {
        Self {
            route: route.into(),
            clusters,
            request: Body::default(),
            response: Body::default(),
            response_hash: BodyHash::default(),
        }
    }

    /// Keeps a piece of the request's body, unless it gets too long.
    pub fn on_request_body(&mut self, size: usize, compare: &Compare, host: &impl HttpHost) {
        self.request.size = self.request.size.saturating_add(size);
        if self.request.size > compare.max_body_bytes {
            self.request.bytes = Vec::new();
        } else if size > 0 {
            self.request.bytes.extend_from_slice(&host.request_body(size));
        }
    }

    /// Hashes a piece of the response's body, unless it gets too long.
    pub fn on_response_body(&mut self, size: usize, compare: &Compare, host: &impl HttpHost) {
        self.response.size = self.response.size.saturating_add(size);
        if size > 0 && self.response.size <= compare.max_body_bytes {
            self.response_hash.update(&host.response_body(size));
        }
    }

    /// The original is over: sends the copies. What the upstream did not answer, or not to the end, has
    /// nothing that a copy could be held against.
    pub fn on_log<H: HttpHost + 'static>(self, shared: &Rc<Shared>, compare: &Compare, host: &H) {
        let counters = &shared.counters;
        let is_large = self.request.size.max(self.response.size) > compare.max_body_bytes;
        if is_large || !is_answered(host) {
            self.clusters.iter().for_each(|_| host.increment(counters.compare_skipped));
            return;
        }
        let (headers, trailers) = (host.response_headers(), host.response_trailers());
        let answer = Rc::new(compare.answer(&headers, &trailers, &self.response_hash));
        // With everything that later filters and Envoy's router have done to the original's.
        let headers = compare.copy_headers(&host.request_headers());
        for cluster in self.clusters {
            if shared.active.get() >= compare.max_active {
                host.increment(counters.compare_overflow);
                continue;
            }
            shared.active.set(shared.active.get().saturating_add(1));
            let comparison = Comparison {
                shared: Rc::clone(shared),
                route: Rc::clone(&self.route),
                cluster: Rc::clone(&cluster),
                original: Rc::clone(&answer),
            };
            host.call(Call {
                plugin: shared.plugin,
                cluster,
                headers: headers.clone(),
                body: self.request.bytes.clone(),
                timeout: compare.timeout,
                max_answer_bytes: if compare.hashes_bodies() { compare.max_body_bytes } else { 0 },
                on_answer: Box::new(move |host: &H, result| comparison.on_answer(result, host)),
            });
        }
    }
}

/// Whether an upstream has answered, and the client got all of it.
fn is_answered(host: &impl HttpHost) -> bool {
    let details = host.property(&["response", "code_details"]);
    let flags = host.property(&["response", "flags"]).unwrap_or_default();
    details.as_deref() == Some(b"via_upstream") && flags.iter().all(|byte| *byte == 0)
}

/// A copy that is under way.
struct Comparison {
    shared: Rc<Shared>,
    route: Rc<str>,
    cluster: Rc<str>,
    original: Rc<Answer>,
}

impl Comparison {
    fn on_answer(self, result: Result<CallAnswer, CallFailure>, host: &impl HttpHost) {
        let shared = &*self.shared;
        shared.active.set(shared.active.get().saturating_sub(1));
        let Some(compare) = &shared.mirrors.settings.compare else { return };
        let counters = &shared.counters;
        let copy = match result {
            Err(CallFailure::Failed) => return host.increment(counters.compare_failed),
            Err(CallFailure::Timeout) => return host.increment(counters.compare_timeout),
            Err(CallFailure::UnknownCluster) => {
                host.increment(counters.unknown_cluster);
                if shared.unknown_clusters.borrow_mut().insert(Rc::clone(&self.cluster)) {
                    log::error!(
                        "mirror cluster={:?} error=\"Envoy has no such cluster\"",
                        self.cluster
                    );
                }
                return;
            }
            Ok(copy) if compare.hashes_bodies() && copy.body_size > compare.max_body_bytes => {
                return host.increment(counters.compare_skipped);
            }
            Ok(copy) => copy,
        };
        let mut hash = BodyHash::default();
        if compare.hashes_bodies() {
            hash.update(&copy.body);
        }
        let copy = compare.answer(&copy.headers, &copy.trailers, &hash);
        let differences = compare.differences(&self.original, &copy);
        if differences.is_empty() {
            return host.increment(counters.compare_match);
        }
        host.increment(counters.compare_mismatch);
        for counter in counters.of_differences(&differences) {
            host.increment(counter);
        }
        if let Some(suppressed) = shared.mismatch_log.admit(host.now()) {
            let differs: Vec<_> = differences.iter().map(ToString::to_string).collect();
            log::warn!(
                "mirror route={:?} cluster={:?} differs={} original={} copy={} suppressed={suppressed}",
                self.route,
                self.cluster,
                differs.join(","),
                String::from_utf8_lossy(self.original.status()),
                String::from_utf8_lossy(copy.status()),
            );
        }
    }
}
