//! A connection: its cluster is chosen when it opens, and it passes after its first bytes are
//! checked.

use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::filter::{Action, NetworkStream};
use sluice_host::network::{NetworkHost, TCP_PROXY_CLUSTER, UPSTREAM_SERVER_NAME};
use sluice_policy::request::client_hello::ClientHello;
use sluice_policy::sni::{Opening, Outcome};
use sluice_policy::value::server_name::ServerName;

use crate::worker::{Names, Phase, State, Worker};

/// One connection.
#[derive(Debug)]
pub struct Connection<H> {
    id: u32,
    host: H,
    worker: Rc<Worker>,
    state: Rc<State>,
}

impl<H: NetworkHost> Connection<H> {
    /// A connection that has just opened. `id` is its context.
    pub fn new(id: u32, host: H, worker: Rc<Worker>) -> Self {
        Self { id, host, worker, state: Rc::default() }
    }

    /// Sets the cluster and the upstream's server name. Returns whether Envoy has accepted both.
    fn set_filter_states(&self, opening: &Opening<'_>) -> bool {
        let forwards = self.worker.policy.settings.forward_sni;
        let name = opening.name.as_ref().filter(|_| forwards).map(ServerName::as_str);
        [(TCP_PROXY_CLUSTER, opening.cluster.as_deref()), (UPSTREAM_SERVER_NAME, name)].iter().all(
            |(key, value)| {
                value.is_none_or(|value| self.host.set_filter_state(key, value.as_bytes()))
            },
        )
    }

    fn close(&self) -> Action {
        self.state.phase.set(Phase::Closed);
        self.host.close_downstream();
        Action::Pause
    }

    /// Starts the timeout of the ClientHello, unless it has been started.
    fn start_timeout(&self) {
        if self.state.deadline.get().is_some() {
            return;
        }
        let timeout = self.worker.policy.settings.hello_timeout;
        let now = self.host.now();
        // A deadline that the clock cannot express is never reached.
        if let Some(deadline) = now.checked_add(timeout) {
            self.state.deadline.set(Some(deadline));
            let state = Rc::clone(&self.state);
            self.worker.delays.push(self.id, deadline, now, state, &self.host);
        }
    }

    fn stop_timeout(&self) {
        if let Some(deadline) = self.state.deadline.take() {
            self.worker.delays.remove(self.id, deadline);
        }
    }
}

impl<H: NetworkHost> NetworkStream for Connection<H> {
    /// Chooses the cluster, or closes the connection. Never pauses it otherwise: `tcp_proxy` would
    /// not read its first bytes.
    fn on_new_connection(&self) -> Action {
        let worker = &*self.worker;
        let attributes = StreamAttributes(&self.host);
        let sni = attributes.server_name();
        let opening = worker.policy.open(sni.as_deref(), &attributes, &mut &worker.random);
        let mut outcome = opening.outcome;
        if !outcome.is_violation() && !self.set_filter_states(&opening) {
            // Otherwise it would go to the cluster that tcp_proxy has for all other connections.
            log::error!(
                "sni route={:?} error=\"Envoy refuses the cluster or the server name\"",
                opening.route
            );
            outcome = Outcome::NoRoute;
        }
        let names = Names { sni: opening.name.as_ref(), inner: None };
        if worker.settle(&self.host, outcome, names) {
            return self.close();
        }
        *self.state.outer.borrow_mut() = opening.name;
        if worker.policy.settings.inner_must_match_outer {
            self.start_timeout();
        }
        Action::Continue
    }

    fn on_downstream_data(&self, size: usize, is_end: bool) -> Action {
        let policy = &self.worker.policy;
        let at_least = match self.state.phase.get() {
            Phase::Closed => return Action::Pause,
            Phase::Passing => return Action::Continue,
            Phase::Reading(at_least) => at_least,
            Phase::Opened => {
                if !policy.reads_hello(StreamAttributes(&self.host).is_tls_terminated()) {
                    self.state.phase.set(Phase::Passing);
                    return Action::Continue;
                }
                0
            }
        };
        if size < at_least && !is_end {
            return Action::Pause;
        }
        let max = policy.settings.max_client_hello;
        let hello = ClientHello::parse(&self.host.downstream_data(0, size.min(max)), max);
        let outer = self.state.outer.borrow();
        let outcome = match (policy.inspect(outer.as_ref(), &hello), &hello) {
            (Some(outcome), _) => outcome,
            (None, ClientHello::NeedMore { at_least }) if !is_end => {
                self.state.phase.set(Phase::Reading(*at_least));
                self.start_timeout();
                return Action::Pause;
            }
            (None, _) => Outcome::IncompleteHello,
        };
        self.stop_timeout();
        let inner = if let ClientHello::Sni { name, .. } = &hello { Some(name) } else { None };
        if self.worker.settle(&self.host, outcome, Names { sni: outer.as_ref(), inner }) {
            return self.close();
        }
        self.state.phase.set(Phase::Passing);
        Action::Continue
    }

    /// The client may have left before its ClientHello was complete.
    fn on_end(&self) {
        let was_waiting = self.state.deadline.get().is_some();
        self.stop_timeout();
        if was_waiting {
            let outer = self.state.outer.borrow();
            let names = Names { sni: outer.as_ref(), inner: None };
            self.worker.settle(&self.host, Outcome::IncompleteHello, names);
        }
    }
}

#[cfg(test)]
mod tests;
