//! The plugin as Envoy calls it.

// The SDK's entry macro makes a public function that has no documentation.
#![allow(missing_docs)]

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use sluice_host::attributes::EnvoyNode;
use sluice_host::delay::Timer;
use sluice_host::envoy::{self, Envoy};
use sluice_host::host::Host;
use sluice_host::network::NetworkHost;
use sluice_policy::sni::SniPolicy;
use sluice_policy::spec::policy::Policy;

use crate::connection::{self, Connection};
use crate::request::{self, Request};
use crate::shared::{Counters, NOTE, Shared};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(Plugin { id, shared: None }));
}}

/// How many connections are closed in one tick; the others in the next, a clock's step later. Envoy
/// closes them once the tick returns, and each close may call the module again.
const CONNECTIONS_PER_TICK: usize = 32;

/// One configured plugin on one worker.
struct Plugin {
    id: u32,
    shared: Option<Rc<Shared>>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        let compiled =
            envoy::configure(|document| SniPolicy::compile(document, &EnvoyNode(&Envoy)));
        let Some(policy) = compiled else { return false };
        envoy::declare_note(NOTE);
        self.shared = Some(Rc::new(Shared::new(policy, Counters::new(envoy::counter))));
        true
    }

    fn on_tick(&mut self) {
        let Some(shared) = &self.shared else { return };
        let now = Envoy.now();
        let next = || shared.queue.borrow_mut().pop_due(now);
        for (id, waiting) in std::iter::from_fn(next).take(CONNECTIONS_PER_TICK) {
            if envoy::enter(id) {
                waiting.on_time_over(shared, &Envoy);
            }
        }
        envoy::enter(self.id);
        let timer = shared.queue.borrow_mut().arm(Envoy.now());
        set_timer(timer);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(envoy::context_type())
    }

    // The SDK panics on None, so there is always a context. Envoy makes none without a configuration:
    // it refuses a plugin that is not configured. If it did, nothing would pass.

    fn create_stream_context(&self, id: u32) -> Option<Box<dyn StreamContext>> {
        let shared = self.shared.clone();
        let connection = shared.map(|shared| Connection::new(id, Envoy, shared));
        Some(Box::new(PluginConnection(connection)))
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let shared = self.shared.clone();
        Some(Box::new(PluginRequest(shared.map(|shared| Request::new(Envoy, shared)))))
    }
}

fn set_timer(timer: Timer) {
    match timer {
        Timer::Keep => {}
        Timer::Arm(wait) => envoy::set_timer(Some(wait)),
        Timer::Off => envoy::set_timer(None),
    }
}

/// One connection.
struct PluginConnection(Option<Connection<Envoy>>);

impl Context for PluginConnection {}

impl StreamContext for PluginConnection {
    fn on_new_connection(&mut self) -> Action {
        act(self.0.as_ref().map(Connection::on_new_connection))
    }

    fn on_downstream_data(&mut self, size: usize, is_end: bool) -> Action {
        act(self.0.as_ref().map(|connection| connection.on_downstream_data(size, is_end)))
    }
}

fn act(next: Option<connection::Next>) -> Action {
    match next {
        Some(connection::Next::Continue(timer)) => {
            set_timer(timer);
            Action::Continue
        }
        Some(connection::Next::Hold(timer)) => {
            set_timer(timer);
            Action::Pause
        }
        Some(connection::Next::Close) => Action::Pause,
        None => {
            Envoy.close_downstream();
            Action::Pause
        }
    }
}

/// One request.
struct PluginRequest(Option<Request<Envoy>>);

impl Context for PluginRequest {}

impl HttpContext for PluginRequest {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.0.as_ref().map(Request::on_request_headers) {
            Some(request::Next::Continue) => Action::Continue,
            Some(request::Next::Replied) | None => Action::Pause,
        }
    }
}
