//! The plugin as Envoy calls it.

// The SDK's entry macro makes a public function that has no documentation.
#![allow(missing_docs)]

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use sluice_host::attributes::EnvoyNode;
use sluice_host::envoy::{self, Envoy};
use sluice_policy::outlier::Outliers;
use sluice_policy::spec::policy::Policy;

use crate::metrics::Metrics;
use crate::stream::{Next, Stream};
use crate::worker::Worker;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin { worker: None }));
}}

/// One configured plugin on one worker.
struct Plugin {
    worker: Option<Rc<Worker>>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        let compiled = envoy::configure(|document| Outliers::compile(document, &EnvoyNode(&Envoy)));
        let Some(outliers) = compiled else { return false };
        let metrics = Metrics::new(envoy::counter, envoy::gauge);
        self.worker = Some(Rc::new(Worker::new(outliers, metrics, &Envoy)));
        true
    }

    fn on_tick(&mut self) {
        if let Some(worker) = &self.worker {
            worker.on_tick(&Envoy);
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        // The SDK panics on None, so a stream without a configuration passes. Envoy makes none: it
        // refuses a plugin that is not configured.
        let worker = self.worker.clone();
        Some(Box::new(PluginStream(worker.map(|worker| Stream::new(Envoy, worker)))))
    }
}

/// One request or attempt.
struct PluginStream(Option<Stream<Envoy>>);

impl Context for PluginStream {}

impl HttpContext for PluginStream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.0.as_mut().map(Stream::on_request_headers) {
            Some(Next::Replied) => Action::Pause,
            Some(Next::Continue) | None => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _: usize, is_end: bool) -> Action {
        if let Some(stream) = &mut self.0 {
            stream.on_response_headers(is_end);
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if let Some(stream) = &mut self.0 {
            stream.on_response_trailers();
        }
        Action::Continue
    }
}

// Envoy's last call for a stream, in which it can still be asked about it. That attempts fail without a
// response is seen nowhere else: in a cluster there is no log.
impl Drop for PluginStream {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.0 {
            stream.on_end();
        }
    }
}
