//! A request whose copies the filter sends itself, so that it gets their answers to compare.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::followed::Followed;
use sluice_host::http::{Call, HttpHost};
use sluice_policy::spec::mirror::compare::{BodyHash, Compare};

use crate::comparison::Comparison;
use crate::event::Event;
use crate::worker::Worker;

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
        if is_large || !host.is_answered() {
            counters.add(Event::Skipped, self.clusters.len(), host);
            return;
        }
        let (headers, trailers) = (host.response_headers(), host.response_trailers());
        let answer = Arc::new(compare.answer(&headers, &trailers, &self.response_hash));
        // With all changes that later filters and Envoy's router have made to the original's.
        let headers = compare.copy_headers(&host.request_headers());
        for cluster in self.clusters {
            let comparisons = &worker.comparisons;
            let (route, original) = (Arc::clone(&self.route), Arc::clone(&answer));
            let begun = Comparison::begin(comparisons, route, Arc::clone(&cluster), original);
            let Some(comparison) = begun else {
                counters.increment(Event::Overflowed, host);
                continue;
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
