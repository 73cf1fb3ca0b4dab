//! A filter as the plugin shell sees it: how it is made from a document, and its callbacks.
//!
//! A filter implements these traits for any host. The shell ([`crate::plugin`]) does what all
//! filters have in common, and an adapter for each kind of host calls both.

use std::rc::Rc;
use std::sync::Arc;

use sluice_policy::spec::policy::Policy;

use crate::host::PluginHost;

/// What happens next to the part of the stream that a callback is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It continues through the filters.
    Continue,
    /// It stays until the filter resumes it. After a local reply, a reset or a close nothing is
    /// left to resume.
    Pause,
}

/// A configured filter on one worker: what its streams share.
pub trait Filter<H: PluginHost>: Sized + 'static {
    /// The name of the module.
    const NAME: &'static str;

    /// The notes that the streams leave for access logs.
    const NOTES: &'static [&'static str] = &[];

    /// The counters that the filter changes when a call of its own is answered.
    const ANSWER_COUNTERS: &'static [&'static str] = &[];

    /// The histograms that the filter changes when a call of its own is answered.
    const ANSWER_HISTOGRAMS: &'static [&'static str] = &[];

    /// Whether the filter measures time. Without a clock its plugin is refused.
    const NEEDS_TIME: bool = false;

    /// Whether the server name of the connection decides about requests.
    const READS_SERVER_NAME_OF_REQUESTS: bool = false;

    /// What a request does if the plugin has no configuration. Envoy refuses such a plugin, so it
    /// should never get a request. Connections are closed.
    const UNCONFIGURED: Action = Action::Continue;

    /// The policy that a document is compiled to.
    type Policy: Policy;

    /// One request.
    type Request: HttpStream + 'static;

    /// One connection; [`NoConnections`] if the filter is no network filter.
    type Connection: NetworkStream + 'static;

    /// Makes the filter of a worker. `plugin` is the plugin's context. Other plugins of the worker
    /// with the same document share the policy.
    fn new(policy: Arc<Self::Policy>, plugin: u32, host: &H) -> Self;

    /// Makes a stream for a request that has just begun. `id` is the stream's context.
    fn request(self: &Rc<Self>, id: u32, host: H) -> Self::Request;

    /// Makes a stream for a connection that has just opened. `id` is the stream's context.
    fn connection(self: &Rc<Self>, _id: u32, _host: H) -> Option<Self::Connection> {
        None
    }

    /// The timer has expired.
    fn on_tick(&self, _plugin: u32, _host: &H) {}

    /// The plugin ends.
    fn on_end(&self, _plugin: u32, _host: &H) {}
}

/// The callbacks of an HTTP stream: a request, or an attempt of an upstream filter.
///
/// A stream gets those for bodies, the response's trailers and the log only if it is
/// [followed](crate::followed).
///
/// They take `&self`: a host may call one of them inside of another one, when that one replies or
/// resets, for example.
pub trait HttpStream {
    /// The request's headers have arrived.
    fn on_request_headers(&self) -> Action {
        Action::Continue
    }

    /// A piece of the request's body has arrived, with a length of `size` bytes.
    fn on_request_body(&self, _size: usize) -> Action {
        Action::Continue
    }

    /// The response's headers have arrived. `is_end` says that the response has nothing else.
    fn on_response_headers(&self, _is_end: bool) -> Action {
        Action::Continue
    }

    /// A piece of the response's body has arrived, with a length of `size` bytes. While it is
    /// paused, Envoy stops reading from the upstream when its buffer is full.
    fn on_response_body(&self, _size: usize) -> Action {
        Action::Continue
    }

    /// The response's trailers have arrived.
    fn on_response_trailers(&self) -> Action {
        Action::Continue
    }

    /// The stream has ended, and access logs are written.
    fn on_log(&self) {}

    /// The stream ends. This is the last callback in which the host can be asked about it.
    fn on_end(&self) {}
}

/// The callbacks of a connection. They take `&self` for the same reason as in [`HttpStream`].
pub trait NetworkStream {
    /// Whether the filter is a network filter.
    const IS_SUPPORTED: bool = true;

    /// The connection has opened.
    fn on_new_connection(&self) -> Action {
        Action::Continue
    }

    /// Bytes have arrived from the client, and `size` bytes are waiting. `is_end` says that the
    /// client sends no more.
    fn on_downstream_data(&self, _size: usize, _is_end: bool) -> Action {
        Action::Continue
    }

    /// The connection ends. This is the last callback in which the host can be asked about it.
    fn on_end(&self) {}
}

/// The connections of a filter that is no network filter. There are none.
#[derive(Debug)]
pub enum NoConnections {}

impl NetworkStream for NoConnections {
    const IS_SUPPORTED: bool = false;
}
