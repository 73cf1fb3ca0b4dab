//! The plugin shell: what all filters do in the same way, whatever the kind of host.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use sluice_policy::document::report::{Finding, Kind};
use sluice_policy::spec::policy::Policy;

use crate::attributes::EnvoyNode;
use crate::documents::{self, Taking};
use crate::filter::Filter;
use crate::host::PluginHost;
use crate::notices;
use crate::policies::{self, Fingerprint};
use crate::shared_data::SharedData;

/// The version of all modules.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that a module was built from. The build sets it.
const COMMIT: &str = match option_env!("SLUICE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// One plugin on one worker, which runs the filter `F`.
#[derive(Debug)]
pub struct Plugin<F, H> {
    id: u32,
    host: H,
    filter: Option<Rc<F>>,
    has_streams: Cell<bool>,
}

impl<H: PluginHost + SharedData, F: Filter<H>> Plugin<F, H> {
    /// The context of the plugin.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// A plugin that is not configured yet. `id` is its context.
    pub fn new(id: u32, host: H) -> Self {
        Self { id, host, filter: None, has_streams: Cell::new(false) }
    }

    /// The VM starts. Logs the version once for each VM.
    pub fn on_vm_start(&self) {
        thread_local! {
            static IS_STARTED: Cell<bool> = const { Cell::new(false) };
        }
        if !IS_STARTED.replace(true) {
            log::set_max_level(self.host.log_level());
            log::info!("sluice {} {VERSION} ({COMMIT})", F::NAME);
        }
    }

    /// A plugin whose document was compiled before.
    pub fn with_policy(policy: Arc<F::Policy>, id: u32, host: H) -> Self {
        let filter = Some(Rc::new(F::new(policy, id, &host)));
        Self { id, host, filter, has_streams: Cell::new(false) }
    }

    /// Configures the filter anew. Returns false if the document is refused.
    pub fn on_configure(&mut self, document: &[u8]) -> bool {
        if let Some(call) = self.host.missing_call(F::NEEDS_TIME) {
            log::error!("allowed_capabilities: must have {call}, Envoy refuses it to the module");
            return false;
        }
        let Some(policy) = self.compile(document) else { return false };
        F::NOTES.iter().for_each(|note| self.host.declare_note(note));
        self.filter = Some(Rc::new(F::new(policy, self.id, &self.host)));
        true
    }

    /// Compiles a document. `None` if it is refused. Logs all errors of the document, and its
    /// notices if no other VM has taken it before.
    pub fn compile(&self, document: &[u8]) -> Option<Arc<F::Policy>> {
        // So that lines are not formatted which Envoy does not show.
        log::set_max_level(self.host.log_level());
        let fingerprint = Fingerprint::of(document);
        let taking = Taking::begin(fingerprint, F::NAME, &self.host);
        let compiled = match policies::find::<F::Policy>(fingerprint) {
            Some(policy) => Ok((policy, Vec::new())),
            None => F::Policy::compile(document, &EnvoyNode(&self.host))
                .map(|(policy, found)| (policies::add(fingerprint, policy), found)),
        };
        match compiled {
            Ok((policy, found)) => {
                match taking.finish() {
                    Ok(true) => notices::log(&found, "notices"),
                    Ok(false) => {}
                    Err(reason) => {
                        let error = Finding::new(String::new(), Kind::Error, reason);
                        notices::log(&[error], "errors");
                        return None;
                    }
                }
                Some(policy)
            }
            Err(rejection) => {
                notices::log(&rejection.errors, "errors");
                None
            }
        }
    }

    /// Makes a stream for a request. `None` if the plugin is not configured.
    pub fn request(&self, id: u32) -> Option<F::Request> {
        let filter = self.filter_of_stream()?;
        Some(filter.request(id, self.host.clone()))
    }

    /// Makes a stream for a connection. `None` if the plugin is not configured.
    pub fn connection(&self, id: u32) -> Option<F::Connection> {
        let filter = self.filter_of_stream()?;
        filter.connection(id, self.host.clone())
    }

    /// The filter, for a stream. Without a configuration a stream makes no calls: what they need
    /// may be missing.
    fn filter_of_stream(&self) -> Option<&Rc<F>> {
        let filter = self.filter.as_ref()?;
        if !self.has_streams.replace(true) {
            documents::has_stream(F::NAME, &self.host);
        }
        Some(filter)
    }

    /// The timer has expired.
    pub fn on_tick(&self) {
        if let Some(filter) = &self.filter {
            filter.on_tick(self.id, &self.host);
        }
    }

    /// The plugin ends.
    pub fn on_end(&mut self) {
        if let Some(filter) = self.filter.take() {
            filter.on_end(self.id, &self.host);
            drop(filter);
            documents::release(F::NAME, &self.host);
        }
    }
}

#[cfg(test)]
mod tests;
