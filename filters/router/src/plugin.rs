//! The plugin as Envoy calls it.

// The SDK's entry macro makes a public function that has no documentation.
#![allow(missing_docs)]

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use sluice_host::attributes::EnvoyNode;
use sluice_host::envoy::{self, Envoy};
use sluice_host::random::Random;
use sluice_policy::router::Router;
use sluice_policy::spec::policy::Policy;

use crate::stream::{Counters, NOTE, Next, Shared, Stream};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin { shared: None }));
}}

/// One configured plugin on one worker.
struct Plugin {
    shared: Option<Rc<Shared>>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        let compiled = envoy::configure(|document| Router::compile(document, &EnvoyNode(&Envoy)));
        let Some(router) = compiled else { return false };
        envoy::declare_note(NOTE);
        let counters = Counters::new(envoy::counter);
        self.shared = Some(Rc::new(Shared { router, counters, random: Random::default() }));
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        // The SDK panics on None, so a stream without a configuration passes. Envoy makes none: it
        // refuses a plugin that is not configured.
        let shared = self.shared.clone();
        Some(Box::new(PluginStream(shared.map(|shared| Stream::new(Envoy, shared)))))
    }
}

/// One request.
struct PluginStream(Option<Stream<Envoy>>);

impl Context for PluginStream {}

impl HttpContext for PluginStream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.0.as_mut().map(Stream::on_request_headers) {
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
}
