//! A request. Its header `x-panic` names the callback that panics, `x-wait` is the number of
//! milliseconds for which it waits, and `x-number` tells it from others.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sluice_host::delay::Delays;
use sluice_host::filter::{Action, HttpStream};
use sluice_host::followed::Followed;
use sluice_host::http::{HttpHost, LocalReply};

/// How long a response waits.
const RESPONSE_WAIT: Duration = Duration::from_millis(200);

/// What the queue keeps of a stream that waits.
#[derive(Debug)]
pub struct Waiting {
    /// The number of the request
    pub number: Option<Vec<u8>>,
    /// The end of the wait, which the stream knows too
    pub deadline: Rc<Cell<Option<Instant>>>,
    /// Whether the response waits, and not the request
    pub is_response: bool,
    /// Whether the filter panics at the end of the wait
    pub panics: bool,
}

/// One request.
#[derive(Debug)]
pub struct Request<H> {
    id: u32,
    host: H,
    /// The streams of the worker that wait
    delays: Rc<Delays<Waiting>>,
    place: OnceCell<String>,
    deadline: Rc<Cell<Option<Instant>>>,
    /// For the bodies, the trailers and the log
    _followed: Followed,
}

impl<H: HttpHost> Request<H> {
    /// A request that has just begun. `id` is its context.
    pub fn new(id: u32, host: H, delays: Rc<Delays<Waiting>>) -> Self {
        let (place, deadline) = (OnceCell::new(), Rc::default());
        Self { id, host, delays, place, deadline, _followed: Followed::begin() }
    }

    fn is(&self, place: &str) -> bool {
        self.place.get().is_some_and(|own| own == place)
    }

    fn reach(&self, place: &str) {
        assert!(!self.is(place), "the request says so: {place}");
    }

    fn header(&self, name: &str) -> Option<String> {
        let value = self.host.request_header(name)?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    fn wait(&self, wait: Duration, is_response: bool, panics: bool) -> Action {
        let (now, deadline) = (self.host.now(), self.host.now() + wait);
        self.deadline.set(Some(deadline));
        let number = self.host.request_header("x-number");
        let waiting = Waiting { number, deadline: Rc::clone(&self.deadline), is_response, panics };
        self.delays.push(self.id, deadline, now, waiting, &self.host);
        Action::Pause
    }

    fn reply(&self) -> Action {
        self.host.reply(&LocalReply {
            status: 418,
            grpc_status: None,
            headers: Vec::new(),
            body: b"the reply of a callback that panics",
            details: "reply",
        });
        Action::Pause
    }
}

impl<H: HttpHost> HttpStream for Request<H> {
    fn on_request_headers(&self) -> Action {
        let place = self.header("x-panic").unwrap_or_default();
        let place = self.place.get_or_init(|| place);
        self.reach("request-headers");
        if place == "reply" {
            self.reply();
            self.reach("reply");
        }
        if place == "own-response" {
            return self.reply();
        }
        match self.header("x-wait").and_then(|wait| wait.parse().ok()) {
            Some(wait) => self.wait(Duration::from_millis(wait), false, place == "tick"),
            None => Action::Continue,
        }
    }

    fn on_request_body(&self, _: usize) -> Action {
        self.reach("request-body");
        Action::Continue
    }

    fn on_response_headers(&self, _: bool) -> Action {
        self.reach("own-response");
        self.reach("response-headers");
        Action::Continue
    }

    fn on_response_body(&self, _: usize) -> Action {
        self.reach("response-body");
        match self.deadline.get() {
            // The second piece.
            Some(_) => {
                self.reach("waiting-response");
                Action::Pause
            }
            None if self.is("waiting-response") => self.wait(RESPONSE_WAIT, true, false),
            None if self.is("response-tick") => self.wait(RESPONSE_WAIT, true, true),
            None => Action::Continue,
        }
    }

    fn on_response_trailers(&self) -> Action {
        self.reach("response-trailers");
        Action::Continue
    }

    fn on_log(&self) {
        self.reach("log");
    }

    fn on_end(&self) {
        // Before the entry of a request that waits is removed.
        self.reach("end");
        if let Some(deadline) = self.deadline.take() {
            self.delays.remove(self.id, deadline);
        }
    }
}
