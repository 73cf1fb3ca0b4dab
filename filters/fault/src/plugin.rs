//! The plugin as Envoy calls it.

// The SDK's entry macro makes a public function that has no documentation.
#![allow(missing_docs)]

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use sluice_host::attributes::EnvoyNode;
use sluice_host::delay::Timer;
use sluice_host::envoy::{self, Envoy};
use sluice_host::host::Host;
use sluice_policy::fault::Faults;
use sluice_policy::spec::policy::Policy;

use crate::stream::{Body, Counters, NOTE, Next, Shared, Stream};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(Plugin { id, shared: None }));
}}

/// How many streams go on in one tick; the others in the next, a clock's step later.
///
/// Envoy carries the resumptions out once the tick returns, and if one of them calls the module again,
/// as a local reply does, it carries out the next inside of that call. Thousands of them would
/// overflow the stack of the VM, which is a trap. It also leaves other requests their turn.
const STREAMS_PER_TICK: usize = 32;

/// One configured plugin on one worker.
struct Plugin {
    id: u32,
    shared: Option<Rc<Shared>>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        let compiled = envoy::configure(|document| Faults::compile(document, &EnvoyNode(&Envoy)));
        let Some(faults) = compiled else { return false };
        envoy::declare_note(NOTE);
        let counters = Counters::new(envoy::counter, envoy::gauge);
        self.shared = Some(Rc::new(Shared::new(faults, counters)));
        true
    }

    fn on_tick(&mut self) {
        let Some(shared) = &self.shared else { return };
        let now = Envoy.now();
        let next = || shared.queue.borrow_mut().pop_due(now);
        for (id, waiting) in std::iter::from_fn(next).take(STREAMS_PER_TICK) {
            if envoy::enter(id) {
                waiting.on_time_over(shared, &Envoy);
            }
        }
        envoy::enter(self.id);
        let timer = shared.queue.borrow_mut().arm(Envoy.now());
        set_timer(timer);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        // The SDK panics on None, so a stream without a configuration passes. Envoy makes none: it
        // refuses a plugin that is not configured.
        let shared = self.shared.clone();
        Some(Box::new(PluginStream(shared.map(|shared| Stream::new(id, Envoy, shared)))))
    }
}

fn set_timer(timer: Timer) {
    match timer {
        Timer::Keep => {}
        Timer::Arm(wait) => envoy::set_timer(Some(wait)),
        Timer::Off => envoy::set_timer(None),
    }
}

/// One request.
struct PluginStream(Option<Stream<Envoy>>);

impl Context for PluginStream {}

impl HttpContext for PluginStream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.0.as_mut().map(Stream::on_request_headers) {
            Some(Next::Wait(timer)) => {
                set_timer(timer);
                Action::Pause
            }
            Some(Next::Replied) => Action::Pause,
            Some(Next::Continue) | None => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(stream) = &mut self.0 {
            stream.on_response_headers();
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _: bool) -> Action {
        match self.0.as_mut().map(|stream| stream.on_response_body(size)) {
            Some(Body::Hold(timer)) => {
                set_timer(timer);
                Action::Pause
            }
            Some(Body::Reset) => Action::Pause,
            Some(Body::Pass) | None => Action::Continue,
        }
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        // They come after the body that is still held.
        let is_held = self.0.as_ref().is_some_and(Stream::holds_response);
        if is_held { Action::Pause } else { Action::Continue }
    }
}
