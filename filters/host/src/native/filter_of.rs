//! A filter of the shell as a filter of a dynamic module.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use crate::filter::{Filter, HttpStream, NetworkStream};
use crate::native::envoy::Envoy;
use crate::native::filters::{AnyPolicy, NativeConnection, NativeFilter, NativePlugin};
use crate::plugin::Plugin;

/// The filter `F` in a module.
pub struct FilterOf<F>(PhantomData<fn() -> F>);

impl<F> FilterOf<F> {
    /// The filter.
    #[expect(clippy::new_without_default, reason = "it is a constant of a module")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<F> fmt::Debug for FilterOf<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FilterOf")
    }
}

/// The context of a plugin: its calls need no stream of their own.
const PLUGIN: u32 = u32::MAX;

impl<F: Filter<Envoy>> NativeFilter for FilterOf<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn answer_counters(&self) -> &'static [&'static str] {
        F::ANSWER_COUNTERS
    }

    fn answer_histograms(&self) -> &'static [&'static str] {
        F::ANSWER_HISTOGRAMS
    }

    fn reads_server_name_of_requests(&self) -> bool {
        F::READS_SERVER_NAME_OF_REQUESTS
    }

    fn is_network_filter(&self) -> bool {
        F::Connection::IS_SUPPORTED
    }

    fn compile(&self, document: &[u8]) -> Option<AnyPolicy> {
        let plugin = Plugin::<F, Envoy>::new(PLUGIN, Envoy);
        plugin.on_vm_start();
        let policy = plugin.compile(document)?;
        // Defines the metrics, which is possible here only.
        drop(Plugin::<F, Envoy>::with_policy(Arc::clone(&policy), PLUGIN, Envoy));
        Some(policy)
    }

    fn worker(&self, policy: AnyPolicy) -> Option<Rc<dyn NativePlugin>> {
        let policy = policy.downcast().ok()?;
        Some(Rc::new(Plugin::<F, Envoy>::with_policy(policy, PLUGIN, Envoy)))
    }
}

impl<F: Filter<Envoy>> NativePlugin for Plugin<F, Envoy> {
    fn request(&self, id: u32) -> Option<Box<dyn HttpStream>> {
        Some(Box::new(Plugin::request(self, id)?))
    }

    fn connection(&self, id: u32) -> Option<Box<dyn NativeConnection>> {
        Some(Box::new(Plugin::connection(self, id)?))
    }

    fn on_tick(&self) {
        Plugin::on_tick(self);
    }
}
