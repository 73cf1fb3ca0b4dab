//! A connection. Its first bytes are `PLACE WAIT`: the callback that panics, and the number of
//! milliseconds for which the connection waits.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_host::delay::Delays;
use sluice_host::filter::{Action, NetworkStream};
use sluice_host::network::NetworkHost;

use crate::rules::Rules;

/// What the queue keeps of a connection that waits.
#[derive(Debug)]
pub struct Paused {
    first: Rc<OnceCell<String>>,
    /// The end of the wait, which the connection knows too
    deadline: Rc<Cell<Option<Instant>>>,
    /// The address of the client
    source: Option<Vec<u8>>,
}

impl Paused {
    /// Continues the connection at the end of its wait. Calls of `host` apply to it.
    pub fn resume(&self, host: &impl NetworkHost) {
        assert_eq!(source(host), self.source, "the entry of another stream");
        self.deadline.set(None);
        reach(&self.first, "tick");
        host.resume_downstream();
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection<H> {
    id: u32,
    host: H,
    rules: Arc<Rules>,
    /// The connections of the worker that wait
    delays: Rc<Delays<Paused>>,
    first: Rc<OnceCell<String>>,
    deadline: Rc<Cell<Option<Instant>>>,
}

impl<H: NetworkHost> Connection<H> {
    /// A connection that has just opened. `id` is its context.
    pub fn new(id: u32, host: H, rules: Arc<Rules>, delays: Rc<Delays<Paused>>) -> Self {
        Self { id, host, rules, delays, first: Rc::default(), deadline: Rc::default() }
    }
}

fn source(host: &impl NetworkHost) -> Option<Vec<u8>> {
    host.property(&["source", "address"])
}

/// Panics if this is the first word.
fn reach(first: &OnceCell<String>, place: &str) {
    let is_place = first.get().is_some_and(|first| first.split(' ').next() == Some(place));
    assert!(!is_place, "the connection says so: {place}");
}

impl<H: NetworkHost> NetworkStream for Connection<H> {
    fn on_new_connection(&self) -> Action {
        self.rules.reach("new-connection");
        Action::Continue
    }

    fn on_downstream_data(&self, size: usize, _: bool) -> Action {
        if self.deadline.get().is_some() {
            return Action::Pause;
        }
        if self.first.get().is_some() {
            return Action::Continue;
        }
        let first = self.host.downstream_data(0, size);
        let first = self.first.get_or_init(|| String::from_utf8_lossy(&first).into_owned());
        reach(&self.first, "data");
        let Some(wait) = first.split(' ').nth(1).and_then(|wait| wait.parse().ok()) else {
            return Action::Continue;
        };
        let (now, deadline) = (self.host.now(), self.host.now() + Duration::from_millis(wait));
        self.deadline.set(Some(deadline));
        let (first, of_queue) = (Rc::clone(&self.first), Rc::clone(&self.deadline));
        let paused = Paused { first, deadline: of_queue, source: source(&self.host) };
        self.delays.push(self.id, deadline, now, paused, &self.host);
        Action::Pause
    }

    fn on_end(&self) {
        // Before the entry of a connection that waits is removed.
        reach(&self.first, "end");
        if let Some(deadline) = self.deadline.take() {
            self.delays.remove(self.id, deadline);
        }
    }
}
