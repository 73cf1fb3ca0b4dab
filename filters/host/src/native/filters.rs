//! Filters of a dynamic module, whatever their types.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use crate::filter::{Action, HttpStream, NetworkStream};

/// A compiled policy of any filter.
pub type AnyPolicy = Arc<dyn Any + Send + Sync>;

/// A filter that a module contains.
pub trait NativeFilter: Sync {
    /// Returns the name of the filter, by which Envoy's configuration chooses it.
    fn name(&self) -> &'static str;

    /// Returns the counters that the filter changes when a call of its own is answered.
    fn answer_counters(&self) -> &'static [&'static str];

    /// Returns the histograms that the filter changes when a call of its own is answered.
    fn answer_histograms(&self) -> &'static [&'static str];

    /// Returns whether the server name of the connection decides about requests.
    fn reads_server_name_of_requests(&self) -> bool;

    /// Returns whether it is a network filter too.
    fn is_network_filter(&self) -> bool;

    /// Compiles a document and defines the metrics. `None` if the document is refused; the errors
    /// are logged.
    fn compile(&self, document: &[u8]) -> Option<AnyPolicy>;

    /// Makes the filter of a worker. `None` if the policy is that of another filter.
    fn worker(&self, policy: AnyPolicy) -> Option<Rc<dyn NativePlugin>>;
}

/// A filter on one worker.
pub trait NativePlugin {
    /// Makes a stream for a request that has just begun.
    fn request(&self, id: u32) -> Option<Box<dyn HttpStream>>;

    /// Makes a stream for a connection that has just opened.
    fn connection(&self, id: u32) -> Option<Box<dyn NativeConnection>>;

    /// The time of a stream that waits has come.
    fn on_tick(&self);
}

/// The callbacks of a connection of any filter, as in [`NetworkStream`].
pub trait NativeConnection {
    /// The connection has opened.
    fn on_new_connection(&self) -> Action;

    /// Bytes have arrived from the client.
    fn on_downstream_data(&self, size: usize, is_end: bool) -> Action;

    /// The connection ends.
    fn on_end(&self);
}

impl<C: NetworkStream> NativeConnection for C {
    fn on_new_connection(&self) -> Action {
        NetworkStream::on_new_connection(self)
    }

    fn on_downstream_data(&self, size: usize, is_end: bool) -> Action {
        NetworkStream::on_downstream_data(self, size, is_end)
    }

    fn on_end(&self) {
        NetworkStream::on_end(self);
    }
}
