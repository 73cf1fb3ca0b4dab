//! One connection: it gets its cluster when it opens, and is let through once its first bytes are
//! what they have to be.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use sluice_host::attributes::StreamAttributes;
use sluice_host::delay::Timer;
use sluice_host::network::{NetworkHost, TCP_PROXY_CLUSTER, UPSTREAM_SERVER_NAME};
use sluice_policy::request::client_hello::ClientHello;
use sluice_policy::sni::{Opening, Outcome};
use sluice_policy::value::server_name::ServerName;

use crate::shared::{Names, Shared};

/// What happens to a connection, or to the bytes that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is closed, and nothing of it goes on.
    Close,
    /// It goes on; the timer is to be set so.
    Continue(Timer),
    /// Its bytes stay until more have come; the timer is to be set so.
    Hold(Timer),
}

/// One connection.
#[derive(Debug)]
pub struct Connection<H: NetworkHost> {
    id: u32,
    host: H,
    shared: Rc<Shared>,
    state: Rc<State>,
}

/// What a connection and the queue both know.
#[derive(Debug, Default)]
struct State {
    phase: Cell<Phase>,
    /// Until when its ClientHello has to be there
    deadline: Cell<Option<Instant>>,
    /// Its own server name
    outer: RefCell<Option<ServerName>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet.
    #[default]
    Opened,
    /// The ClientHello is not complete before there are so many bytes.
    Reading(usize),
    /// It is decided, and everything goes through.
    Passing,
    /// It is refused.
    Closed,
}

/// What the queue keeps of a connection.
#[derive(Debug)]
pub struct Waiting(Rc<State>);

impl<H: NetworkHost> Connection<H> {
    /// A connection that has just opened; `id` is its context's.
    pub fn new(id: u32, host: H, shared: Rc<Shared>) -> Self {
        Self { id, host, shared, state: Rc::default() }
    }

    /// Chooses the cluster, or closes the connection. Never holds it: `tcp_proxy` would never read its
    /// first bytes.
    pub fn on_new_connection(&self) -> Next {
        let shared = &*self.shared;
        let attributes = StreamAttributes(&self.host);
        let sni = attributes.server_name();
        let opening = shared.policy.open(sni.as_deref(), &attributes, &mut &shared.random);
        let mut outcome = opening.outcome;
        if !outcome.is_violation() && !self.set_filter_states(&opening) {
            // Not to go wherever tcp_proxy sends what has no cluster.
            log::error!("Envoy takes neither the cluster nor the name of {}", opening.route);
            outcome = Outcome::NoRoute;
        }
        let names = Names { sni: opening.name.as_ref(), asked: None };
        if shared.settle(&self.host, outcome, names) {
            return self.close();
        }
        *self.state.outer.borrow_mut() = opening.name;
        if shared.policy.settings.inner_must_match_outer {
            return Next::Continue(self.wait());
        }
        Next::Continue(Timer::Keep)
    }

    /// Tells Envoy where the connection goes and by what name; whether Envoy has taken both.
    fn set_filter_states(&self, opening: &Opening<'_>) -> bool {
        let forwards = self.shared.policy.settings.forward_sni;
        let name = opening.name.as_ref().filter(|_| forwards).map(ServerName::as_str);
        [(TCP_PROXY_CLUSTER, opening.cluster), (UPSTREAM_SERVER_NAME, name)].iter().all(
            |(key, value)| {
                value.is_none_or(|value| self.host.set_filter_state(key, value.as_bytes()))
            },
        )
    }

    /// Looks at the bytes from the client, of which `size` wait. `is_end` says that no more come.
    pub fn on_downstream_data(&self, size: usize, is_end: bool) -> Next {
        let policy = &self.shared.policy;
        let at_least = match self.state.phase.get() {
            Phase::Closed => return Next::Close,
            Phase::Passing => return Next::Continue(Timer::Keep),
            Phase::Reading(at_least) => at_least,
            Phase::Opened => {
                if !policy.reads_hello(StreamAttributes(&self.host).is_tls_terminated()) {
                    self.state.phase.set(Phase::Passing);
                    return Next::Continue(Timer::Keep);
                }
                0
            }
        };
        if size < at_least && !is_end {
            return Next::Hold(Timer::Keep);
        }
        let max = policy.settings.max_client_hello;
        let hello = ClientHello::parse(&self.host.downstream_data(0, size.min(max)), max);
        let outer = self.state.outer.borrow();
        let outcome = match (policy.inspect(outer.as_ref(), &hello), &hello) {
            (Some(outcome), _) => outcome,
            (None, ClientHello::NeedMore { at_least }) if !is_end => {
                self.state.phase.set(Phase::Reading(*at_least));
                return Next::Hold(self.wait());
            }
            (None, _) => Outcome::IncompleteHello,
        };
        self.stop_waiting();
        let asked = if let ClientHello::Sni { name, .. } = &hello { Some(name) } else { None };
        if self.shared.settle(&self.host, outcome, Names { sni: outer.as_ref(), asked }) {
            return self.close();
        }
        self.state.phase.set(Phase::Passing);
        Next::Continue(Timer::Keep)
    }

    fn close(&self) -> Next {
        self.state.phase.set(Phase::Closed);
        self.host.close_downstream();
        Next::Close
    }

    /// Has the time for the ClientHello run, unless it does.
    fn wait(&self) -> Timer {
        if self.state.deadline.get().is_some() {
            return Timer::Keep;
        }
        let now = self.host.now();
        let timeout = self.shared.policy.settings.hello_timeout;
        // Beyond the end of the clock there is no timeout to keep.
        let Some(deadline) = now.checked_add(timeout) else { return Timer::Keep };
        self.state.deadline.set(Some(deadline));
        let waiting = Waiting(Rc::clone(&self.state));
        self.shared.queue.borrow_mut().push(self.id, deadline, now, waiting)
    }

    fn stop_waiting(&self) {
        if let Some(deadline) = self.state.deadline.take() {
            self.shared.queue.borrow_mut().remove(self.id, deadline);
        }
    }

    /// The host, for tests.
    pub fn host(&self) -> &H {
        &self.host
    }
}

impl<H: NetworkHost> Drop for Connection<H> {
    /// The end of the connection, also while its ClientHello is awaited.
    fn drop(&mut self) {
        let was_waiting = self.state.deadline.get().is_some();
        self.stop_waiting();
        if was_waiting {
            let outer = self.state.outer.borrow();
            let names = Names { sni: outer.as_ref(), asked: None };
            self.shared.settle(&self.host, Outcome::IncompleteHello, names);
        }
    }
}

impl Waiting {
    /// The time is over: closes the connection, or lets it through where violations only count. Calls
    /// of `host` have to be about the connection that waited.
    pub fn on_time_over(self, shared: &Shared, host: &impl NetworkHost) {
        let state = self.0;
        state.deadline.set(None);
        let outer = state.outer.borrow();
        let names = Names { sni: outer.as_ref(), asked: None };
        if shared.settle(host, Outcome::HelloTimeout, names) {
            state.phase.set(Phase::Closed);
            host.close_downstream();
        } else {
            state.phase.set(Phase::Passing);
            host.resume_downstream();
        }
    }
}

#[cfg(test)]
mod tests;
