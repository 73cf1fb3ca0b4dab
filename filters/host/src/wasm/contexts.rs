//! The adapter from filters to the SDK's contexts.

use std::cell::Cell;

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::{Action as SdkAction, BufferType, ContextType};

use crate::filter::{Action, Filter, HttpStream, NetworkStream};
use crate::followed;
use crate::network::NetworkHost;
use crate::plugin::Plugin;
use crate::wasm::envoy::Envoy;
use crate::wasm::{abi, kind, logger};

/// Starts the VM of a module which runs the filter `F`.
pub fn start<F: Filter<Envoy>>() {
    logger::install();
    proxy_wasm::set_root_context(|id| {
        Box::new(Root::<F>(Plugin::new(id, Envoy), Uniform::default()))
    });
}

/// Gives all contexts the same alignment, and interior mutability. For each context the compiler
/// has a copy of the default methods of the SDK's traits, and it merges copies only if the two
/// agree. This takes 4 kB off four of the six modules.
#[derive(Default)]
#[repr(align(8))]
struct Uniform(Cell<()>);

/// One plugin on one worker.
struct Root<F: Filter<Envoy>>(Plugin<F, Envoy>, Uniform);

impl<F: Filter<Envoy>> Context for Root<F> {}

impl<F: Filter<Envoy>> RootContext for Root<F> {
    fn on_vm_start(&mut self, _: usize) -> bool {
        self.0.on_vm_start();
        true
    }

    fn on_configure(&mut self, _: usize) -> bool {
        self.0.on_configure(&abi::buffer(BufferType::PluginConfiguration, 0, usize::MAX))
    }

    fn on_tick(&mut self) {
        self.0.on_tick();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(match F::Connection::IS_SUPPORTED && !kind::is_request() {
            true => ContextType::StreamContext,
            false => ContextType::HttpContext,
        })
    }

    // The SDK panics if there is no context, so a plugin without a configuration makes them too.

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        if F::Connection::IS_SUPPORTED {
            kind::created(id, self.0.id(), true);
        }
        Some(Box::new(Request::<F>(self.0.request(id), Uniform::default())))
    }

    fn create_stream_context(&self, id: u32) -> Option<Box<dyn StreamContext>> {
        kind::created(id, self.0.id(), false);
        match F::Connection::IS_SUPPORTED {
            true => Some(Box::new(Connection::<F>(self.0.connection(id), Uniform::default()))),
            false => None,
        }
    }
}

impl<F: Filter<Envoy>> Drop for Root<F> {
    fn drop(&mut self) {
        self.0.on_end();
    }
}

/// One request. `None` if the plugin has no configuration.
struct Request<F: Filter<Envoy>>(Option<F::Request>, Uniform);

impl<F: Filter<Envoy>> Request<F> {
    fn call(&self, callback: impl FnOnce(&F::Request) -> Action) -> SdkAction {
        sdk_action(self.0.as_ref().map_or(F::UNCONFIGURED, callback))
    }
}

impl<F: Filter<Envoy>> Context for Request<F> {}

impl<F: Filter<Envoy>> HttpContext for Request<F> {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> SdkAction {
        self.call(HttpStream::on_request_headers)
    }

    fn on_http_request_body(&mut self, size: usize, _: bool) -> SdkAction {
        self.call(|request| request.on_request_body(size))
    }

    fn on_http_response_headers(&mut self, _: usize, is_end: bool) -> SdkAction {
        self.call(|request| request.on_response_headers(is_end))
    }

    fn on_http_response_body(&mut self, size: usize, _: bool) -> SdkAction {
        self.call(|request| request.on_response_body(size))
    }

    fn on_http_response_trailers(&mut self, _: usize) -> SdkAction {
        self.call(HttpStream::on_response_trailers)
    }

    fn on_log(&mut self) {
        if let Some(request) = &self.0 {
            request.on_log();
        }
    }
}

// The SDK drops a context in Envoy's last callback for it.
impl<F: Filter<Envoy>> Drop for Request<F> {
    fn drop(&mut self) {
        if let Some(request) = &self.0 {
            request.on_end();
        }
    }
}

// In place of the SDK's callbacks, which look up the stream first: most streams need none of these.

abi::callback! {
    /// A piece of a request's body.
    fn sluice_on_request_body(context: u32, size: usize, is_end: bool) -> u32 {
        if !followed::is_any() {
            return 0;
        }
        abi::proxy_on_request_body(context, size, is_end) as u32
    }
}

abi::callback! {
    /// The trailers of a response.
    fn sluice_on_response_trailers(context: u32, count: usize) -> u32 {
        if !followed::is_any() {
            return 0;
        }
        abi::proxy_on_response_trailers(context, count) as u32
    }
}

abi::callback! {
    /// The end of a stream.
    fn sluice_on_log(context: u32) {
        if followed::is_any() {
            abi::proxy_on_log(context);
        }
    }
}

abi::callback! {
    /// A piece of a response's body, with an answer that the SDK does not have: a pause in which
    /// Envoy stops reading from the upstream when its buffer is full (`StopIterationAndWatermark`).
    /// In the SDK's pause Envoy buffers the body up to its limit and then fails the response.
    fn sluice_on_response_body(context: u32, size: usize, is_end: bool) -> u32 {
        if !followed::is_any() {
            return 0;
        }
        match abi::proxy_on_response_body(context, size, is_end) {
            SdkAction::Pause => 2,
            _ => 0,
        }
    }
}

/// One connection. `None` if the plugin has no configuration.
struct Connection<F: Filter<Envoy>>(Option<F::Connection>, Uniform);

impl<F: Filter<Envoy>> Connection<F> {
    fn call(&self, callback: impl FnOnce(&F::Connection) -> Action) -> SdkAction {
        match &self.0 {
            Some(connection) => sdk_action(callback(connection)),
            None => {
                Envoy.close_downstream();
                SdkAction::Pause
            }
        }
    }
}

impl<F: Filter<Envoy>> Context for Connection<F> {}

impl<F: Filter<Envoy>> StreamContext for Connection<F> {
    fn on_new_connection(&mut self) -> SdkAction {
        self.call(NetworkStream::on_new_connection)
    }

    fn on_downstream_data(&mut self, size: usize, is_end: bool) -> SdkAction {
        self.call(|connection| connection.on_downstream_data(size, is_end))
    }
}

impl<F: Filter<Envoy>> Drop for Connection<F> {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.on_end();
        }
    }
}

fn sdk_action(action: Action) -> SdkAction {
    match action {
        Action::Continue => SdkAction::Continue,
        Action::Pause => SdkAction::Pause,
    }
}
