//! The mirror filter on one worker: what its streams share.

use std::cell::Cell;
use std::sync::Arc;

use sluice_host::counters::Counters;
use sluice_host::host::PluginHost;
use sluice_host::random::Random;
use sluice_policy::explain;
use sluice_policy::mirror::Mirrors;
use sluice_policy::request::Request;
use sluice_policy::value::budget::Spending;

use crate::comparison::Comparisons;
use crate::event::Event;

/// What all streams of a worker share.
#[derive(Debug)]
pub struct Worker {
    /// The context of the plugin
    pub plugin: u32,
    /// The compiled policy
    pub mirrors: Arc<Mirrors>,
    /// The counters
    pub counters: Arc<Counters<Event>>,
    /// Draws for percentages
    pub random: Random,
    /// The copies in the current window of the budget
    pub spending: Spending,
    /// The memory of all bodies that are kept, in bytes
    pub kept_bytes: Cell<usize>,
    /// The copies whose answers are compared
    pub comparisons: Arc<Comparisons>,
}

impl Worker {
    /// The filter of a worker, for the plugin with this context.
    pub fn with_policy(mirrors: Arc<Mirrors>, plugin: u32, host: &impl PluginHost) -> Self {
        let counters = Arc::new(Counters::define(host));
        let comparisons = Comparisons::new(Arc::clone(&mirrors), Arc::clone(&counters), host);
        Self {
            plugin,
            mirrors,
            counters,
            comparisons: Arc::new(comparisons),
            random: Random::default(),
            spending: Spending::default(),
            kept_bytes: Cell::default(),
        }
    }

    /// Explains the next plan.
    pub fn explain(&self, request: &Request<'_>) -> String {
        explain::mirror(&self.mirrors, request, &mut &self.random.ahead())
    }
}
