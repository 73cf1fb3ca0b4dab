//! A request. The order is that of the filters in a chain: egress, fault, mirror, router. On the
//! way back it is the other one.

use std::rc::Rc;

use sluice_fault::stream::Stream as FaultStream;
use sluice_host::filter::{Action, HttpStream};
use sluice_host::http::HttpHost;

use crate::worker::{Kept, Phase, Worker};

/// One request.
pub struct Stream<H> {
    host: H,
    worker: Rc<Worker>,
    state: State<H>,
}

/// The state of a request, small if no request can have a fault.
enum State<H> {
    /// Without faults
    Plain(Kept),
    /// With faults
    Faulty(Box<FaultStream<H, Kept>>),
}

impl<H: HttpHost + Clone> Stream<H> {
    /// A stream that has just begun. `id` is its context.
    pub fn new(id: u32, host: H, worker: Rc<Worker>) -> Self {
        let state = match &worker.fault {
            Some(fault) => {
                State::Faulty(Box::new(FaultStream::new(id, host.clone(), Rc::clone(fault))))
            }
            None => State::Plain(Kept::default()),
        };
        Self { host, worker, state }
    }

    #[inline]
    fn kept(&self) -> &Kept {
        match &self.state {
            State::Plain(kept) => kept,
            State::Faulty(fault) => fault.kept(),
        }
    }

    #[inline]
    fn fault(&self) -> Option<&FaultStream<H, Kept>> {
        match &self.state {
            State::Plain(_) => None,
            State::Faulty(fault) => Some(fault),
        }
    }
}

impl<H: HttpHost + Clone + 'static> HttpStream for Stream<H> {
    fn on_request_headers(&self) -> Action {
        self.worker.run(Phase::Start(self.fault()), self.kept(), &self.host)
    }

    fn on_request_body(&self, size: usize) -> Action {
        self.kept().copies.on_request_body(size, &self.host);
        Action::Continue
    }

    fn on_response_headers(&self, _: bool) -> Action {
        self.kept().routed.on_response_headers(&self.host);
        if let Some(fault) = self.fault() {
            fault.mark_response();
        }
        let note = self.fault().and_then(FaultStream::note);
        self.kept().explained.on_response_headers(note, &self.host);
        Action::Continue
    }

    fn on_response_body(&self, size: usize) -> Action {
        self.kept().copies.on_response_body(size, &self.host);
        self.fault().map_or(Action::Continue, |fault| fault.limit_body(size))
    }

    fn on_response_trailers(&self) -> Action {
        self.fault().map_or(Action::Continue, FaultStream::limit_trailers)
    }

    fn on_log(&self) {
        self.kept().copies.on_log(&self.host);
    }

    fn on_end(&self) {
        if let Some(fault) = self.fault() {
            fault.end();
        }
    }
}

#[cfg(test)]
mod tests;
