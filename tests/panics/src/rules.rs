//! The document: the name of what panics, or nothing.

use std::sync::atomic::{AtomicU32, Ordering};

use sluice_policy::document::filter::Filters;
use sluice_policy::document::json::Json;
use sluice_policy::document::report::{Finding, Rejection};
use sluice_policy::spec::document::Document;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NodeMetadata;

/// A document.
#[derive(Debug, Default)]
pub struct Rules {
    place: String,
    /// How many filters were made of it. Envoy's main thread makes the first one
    filters: AtomicU32,
}

impl Rules {
    /// Panics if this is what the document names.
    pub fn reach(&self, place: &str) {
        assert!(self.place != place, "the document says so: {place}");
    }

    /// A filter is made: `main`, or `worker` in any later call.
    pub fn make_filter(&self) {
        match self.filters.fetch_add(1, Ordering::Relaxed) {
            0 => self.reach("main"),
            _ => self.reach("worker"),
        }
    }
}

impl Policy for Rules {
    fn filters(_: &Json) -> Filters {
        Filters::NONE
    }

    fn new(_: &Document) -> Self {
        Self::default()
    }

    fn compile(document: &[u8], _: &dyn NodeMetadata) -> Result<(Self, Vec<Finding>), Rejection> {
        let place = String::from_utf8_lossy(document).into_owned();
        let rules = Self { place, ..Self::default() };
        rules.reach("compile");
        Ok((rules, Vec::new()))
    }
}
