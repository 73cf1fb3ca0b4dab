//! The plugin as Envoy calls it.

// The SDK's entry macro makes a public function that has no documentation.
#![allow(missing_docs)]

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use sluice_host::attributes::EnvoyNode;
use sluice_host::envoy::{self, Envoy};
use sluice_policy::egress::Egress;
use sluice_policy::spec::policy::Policy;

use crate::stream::{self, Counters, NOTE, Next, Shared};

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
        let compiled = envoy::configure(|document| Egress::compile(document, &EnvoyNode(&Envoy)));
        let Some(egress) = compiled else { return false };
        envoy::declare_note(NOTE);
        let counters = Counters::new(envoy::counter);
        self.shared = Some(Rc::new(Shared { egress, counters }));
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(envoy::context_type())
    }

    // The SDK panics on None, so there is always a context. Envoy makes none without a configuration:
    // it refuses a plugin that is not configured. If it did, nothing would pass.

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(PluginStream(self.shared.clone())))
    }

    fn create_stream_context(&self, _: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(PluginStream(self.shared.clone())))
    }
}

/// One request or connection.
struct PluginStream(Option<Rc<Shared>>);

impl Context for PluginStream {}

impl HttpContext for PluginStream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.0.as_deref().map(|shared| stream::on_request_headers(shared, &Envoy)) {
            Some(Next::Continue) => Action::Continue,
            Some(Next::Refused) | None => Action::Pause,
        }
    }
}

impl StreamContext for PluginStream {
    fn on_new_connection(&mut self) -> Action {
        match self.0.as_deref().map(|shared| stream::on_new_connection(shared, &Envoy)) {
            Some(Next::Continue) => Action::Continue,
            Some(Next::Refused) | None => Action::Pause,
        }
    }
}
