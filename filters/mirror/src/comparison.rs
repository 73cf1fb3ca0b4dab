//! Comparison of answers: the filter sends the copies of a request itself, so that it gets their
//! answers.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::followed::Followed;
use sluice_host::http::{Call, CallAnswer, CallFailure, HttpHost};
use sluice_policy::spec::mirror::compare::{Answer, BodyHash, Compare, Difference};

use crate::worker::{Event, Worker};

/// A request whose copies are compared, until it has ended.
#[derive(Debug)]
pub struct Original {
    /// The name of the match
    route: Arc<str>,
    /// The clusters of the copies
    clusters: Vec<Arc<str>>,
    request: KeptBody,
    /// The length of the request's body so far
    request_size: usize,
    /// The length of the response's body so far
    response_size: usize,
    response_hash: BodyHash,
    /// For the bodies and the end
    _followed: Followed,
}

/// Maximum memory of all bodies that a worker keeps, in bytes. All plugins of a worker with the
/// same module have 1 GiB in Envoy, and a module that needs more traps.
pub const MAX_KEPT_BYTES: usize = 32 << 20;

/// A body that is kept, within [`MAX_KEPT_BYTES`] for all bodies of the worker.
#[derive(Debug)]
struct KeptBody {
    worker: Rc<Worker>,
    bytes: Vec<u8>,
    /// Whether there was no room for the body
    is_left_out: bool,
}

impl KeptBody {
    fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker), bytes: Vec::new(), is_left_out: false }
    }

    fn push(&mut self, piece: &[u8]) {
        let kept = &self.worker.kept_bytes;
        let before = self.bytes.capacity();
        // The vector doubles its memory when it is full.
        let needed = self.bytes.len().saturating_add(piece.len()).max(before.saturating_mul(2));
        let is_full = self.bytes.len().saturating_add(piece.len()) > before;
        if is_full && kept.get().saturating_add(needed).saturating_sub(before) > MAX_KEPT_BYTES {
            self.clear();
            self.is_left_out = true;
            return;
        }
        self.bytes.extend_from_slice(piece);
        kept.set(kept.get().saturating_add(self.bytes.capacity()).saturating_sub(before));
    }

    fn clear(&mut self) {
        let kept = &self.worker.kept_bytes;
        kept.set(kept.get().saturating_sub(self.bytes.capacity()));
        self.bytes = Vec::new();
    }
}

impl Drop for KeptBody {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Original {
    /// A request whose copies go to `clusters`.
    pub fn new(route: &str, clusters: Vec<Arc<str>>, worker: &Rc<Worker>) -> Self {
        Self {
            route: route.into(),
            clusters,
            request: KeptBody::new(worker),
            request_size: 0,
            response_size: 0,
            response_hash: BodyHash::default(),
            _followed: Followed::begin(),
        }
    }

    /// The worker of the request.
    pub fn worker(&self) -> &Rc<Worker> {
        &self.request.worker
    }

    /// Keeps a piece of the request's body, unless the body or all bodies get too long.
    pub fn on_request_body(&mut self, size: usize, compare: &Compare, host: &impl HttpHost) {
        self.request_size = self.request_size.saturating_add(size);
        if self.request_size > compare.max_body_bytes {
            self.request.clear();
        } else if size > 0 && !self.request.is_left_out {
            self.request.push(&host.request_body(size));
        }
    }

    /// Hashes a piece of the response's body, unless the body gets too long.
    pub fn on_response_body(&mut self, size: usize, compare: &Compare, host: &impl HttpHost) {
        self.response_size = self.response_size.saturating_add(size);
        if size > 0 && self.response_size <= compare.max_body_bytes {
            self.response_hash.update(&host.response_body(size));
        }
    }

    /// Sends the copies, as the original has ended. Sends none if the upstream did not answer the
    /// original to the end, as there is nothing to compare them with.
    pub fn on_log<H: HttpHost + 'static>(self, worker: &Rc<Worker>, compare: &Compare, host: &H) {
        let counters = &worker.counters;
        if self.request.is_left_out {
            counters.add(Event::BufferFull, self.clusters.len(), host);
            return;
        }
        let is_large = self.request_size.max(self.response_size) > compare.max_body_bytes;
        if is_large || !is_answered(host) {
            counters.add(Event::Skipped, self.clusters.len(), host);
            return;
        }
        let (headers, trailers) = (host.response_headers(), host.response_trailers());
        let answer = Rc::new(compare.answer(&headers, &trailers, &self.response_hash));
        // With all changes that later filters and Envoy's router have made to the original's.
        let headers = compare.copy_headers(&host.request_headers());
        for cluster in self.clusters {
            if worker.active.get() >= compare.max_active {
                counters.increment(Event::Overflowed, host);
                continue;
            }
            worker.active.set(worker.active.get().saturating_add(1));
            let comparison = Comparison {
                worker: Rc::clone(worker),
                route: Arc::clone(&self.route),
                cluster: Arc::clone(&cluster),
                original: Rc::clone(&answer),
            };
            host.call(Call {
                plugin: worker.plugin,
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

/// Whether an upstream has answered, and the client has received all of the answer.
fn is_answered(host: &impl HttpHost) -> bool {
    let details = host.property(&["response", "code_details"]);
    let flags = host.property(&["response", "flags"]).unwrap_or_default();
    details.as_deref() == Some(b"via_upstream") && flags.iter().all(|byte| *byte == 0)
}

/// A copy that was sent.
struct Comparison {
    worker: Rc<Worker>,
    route: Arc<str>,
    cluster: Arc<str>,
    original: Rc<Answer>,
}

impl Comparison {
    fn on_answer(self, result: Result<CallAnswer, CallFailure>, host: &impl HttpHost) {
        let worker = &*self.worker;
        worker.active.set(worker.active.get().saturating_sub(1));
        let Some(compare) = &worker.mirrors.settings.compare else { return };
        let counters = &worker.counters;
        let copy = match result {
            Err(CallFailure::Failed) => return counters.increment(Event::Failed, host),
            Err(CallFailure::Timeout) => return counters.increment(Event::Timeout, host),
            Err(CallFailure::UnknownCluster) => {
                counters.increment(Event::UnknownCluster, host);
                if worker.unknown_clusters.borrow_mut().insert(Arc::clone(&self.cluster)) {
                    log::error!(
                        "mirror cluster={:?} error=\"Envoy has no such cluster\"",
                        self.cluster
                    );
                }
                return;
            }
            Ok(copy) if compare.hashes_bodies() && copy.body_size > compare.max_body_bytes => {
                return counters.increment(Event::Skipped, host);
            }
            Ok(copy) => copy,
        };
        let mut hash = BodyHash::default();
        if compare.hashes_bodies() {
            hash.update(&copy.body);
        }
        let copy = compare.answer(&copy.headers, &copy.trailers, &hash);
        if let Some(difference) = self.original.difference_of_time(&copy) {
            let histogram = if difference < 0 { worker.faster } else { worker.slower };
            host.record(histogram, difference.unsigned_abs());
        }
        let differences = compare.differences(&self.original, &copy);
        if differences.is_empty() {
            return counters.increment(Event::Match, host);
        }
        counters.increment(Event::Mismatch, host);
        let mut kinds: Vec<_> = differences.iter().map(Event::from).collect();
        kinds.dedup();
        kinds.into_iter().for_each(|kind| counters.increment(kind, host));
        if let Some(suppressed) = worker.mismatch_log.admit(host.now()) {
            let differs: Vec<_> = differences.iter().map(ToString::to_string).collect();
            log::warn!(
                "mirror route={:?} cluster={:?} differs={} original={} copy={} \
                 suppressed={suppressed}",
                self.route,
                self.cluster,
                differs.join(","),
                String::from_utf8_lossy(self.original.status()),
                String::from_utf8_lossy(copy.status()),
            );
        }
    }
}

impl From<&Difference<'_>> for Event {
    fn from(difference: &Difference<'_>) -> Self {
        match difference {
            Difference::Body => Self::BodyMismatch,
            Difference::Header(_) => Self::HeaderMismatch,
            Difference::Status => Self::StatusMismatch,
        }
    }
}
