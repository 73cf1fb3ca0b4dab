//! Filters of a dynamic module, whatever their types.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use crate::filter::HttpStream;

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

    /// The time of a stream that waits has come.
    fn on_tick(&self);
}
