//! The explanations of a request: made while the filter decides, added to the response, and logged.
//!
//! They are made beside the decisions, with copies of the generators of random numbers, so that
//! other requests do not pay for them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use sluice_policy::explain::FaultExplanation;
use sluice_policy::request::{Draws, Request};
use sluice_policy::spec::explain::ExplainSettings;
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};
use sluice_policy::value::percent::Percent;

use crate::http::HttpHost;
use crate::log_rate::LogRate;
use crate::random::Random;

/// Who gets explanations, on one worker.
#[derive(Debug)]
pub struct Explaining {
    settings: Arc<ExplainSettings>,
    rate: LogRate,
    random: Random,
}

impl Explaining {
    /// For the settings `explain` of a document, if it has them.
    pub fn new(settings: Option<&Arc<ExplainSettings>>) -> Option<Rc<Self>> {
        let settings = Arc::clone(settings?);
        Some(Rc::new(Self { settings, rate: LogRate::default(), random: Random::default() }))
    }

    /// Whether the explanations of a request are to be logged.
    fn is_logged(&self) -> bool {
        let share = self.settings.log_percentage;
        share != Percent::NONE && share.hit((&self.random).draw())
    }
}

/// The place of a filter in the chain, which says what it does with the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It removes the header from the request: it is the last filter that reads it.
    Last,
    /// It leaves the header to the filters after it.
    BeforeOthers,
}

/// The explanations of a request. Nothing is kept of a request that gets none.
#[derive(Default)]
pub struct Explained(Cell<Option<Box<Explanations>>>);

/// Explanations of decisions, in the order of the filters.
pub struct Explanations {
    explaining: Rc<Explaining>,
    place: Place,
    is_answered: bool,
    is_logged: bool,
    /// Of the egress filter
    pub egress: Option<String>,
    /// Of the fault filter
    pub fault: Option<FaultExplanation>,
    /// Of the filters that an aborted request does not reach
    pub routed: Vec<String>,
}

impl Explained {
    /// Finds out whether a request gets explanations. If so, the function makes them.
    #[cold]
    #[inline(never)]
    pub fn begin(
        &self,
        explaining: &Rc<Explaining>,
        place: Place,
        request: &Request<'_>,
        host: &impl HttpHost,
        explain: impl FnOnce(&mut Explanations),
    ) {
        let settings = &explaining.settings;
        let value = request.header(&settings.header);
        if value.is_some() && place == Place::Last {
            host.edit_request_header(&HeaderEdit::remove(&settings.header));
        }
        let is_answered = value.is_some_and(|value| settings.is_secret(&value));
        let is_logged = explaining.is_logged();
        if is_answered || is_logged {
            let explaining = Rc::clone(explaining);
            let mut explanations = Box::new(Explanations {
                explaining,
                place,
                is_answered,
                is_logged,
                egress: None,
                fault: None,
                routed: Vec::new(),
            });
            explain(&mut explanations);
            self.0.set(Some(explanations));
        }
    }

    /// Changes the explanations, if the request gets some.
    #[cold]
    #[inline(never)]
    pub fn change(&self, change: impl FnOnce(&mut Explanations)) {
        if let Some(mut explanations) = self.0.take() {
            change(&mut explanations);
            self.0.set(Some(explanations));
        }
    }

    /// Adds the explanations to the response, and logs them. `fault` is what the fault filter did,
    /// as in its note.
    #[inline]
    pub fn on_response_headers(&self, fault: Option<&'static str>, host: &impl HttpHost) {
        if let Some(explanations) = self.0.take() {
            explanations.answer(fault, host);
        }
    }

    /// Returns the headers with the explanations for a reply, and logs them. This is for filters
    /// without a callback for responses.
    pub fn reply_headers(&self, host: &impl HttpHost) -> Vec<(String, String)> {
        self.0.take().map_or_else(Vec::new, |explanations| explanations.headers(None, host))
    }
}

impl Explanations {
    #[inline(never)]
    fn answer(self, fault: Option<&'static str>, host: &impl HttpHost) {
        // An upstream cannot pass its own header off as an explanation.
        let mut operation = match self.place {
            Place::Last => HeaderOperation::Set,
            Place::BeforeOthers => HeaderOperation::Add,
        };
        for (name, value) in self.headers(fault, host) {
            let value = value.as_bytes().into();
            host.edit_response_header(&HeaderEdit { operation, name: &name, value });
            operation = HeaderOperation::Add;
        }
    }

    /// Logs the explanations, if the request is one of those. Returns the headers of the response.
    fn headers(self, fault: Option<&'static str>, host: &impl HttpHost) -> Vec<(String, String)> {
        let Explaining { settings, rate, .. } = &*self.explaining;
        let mut texts: Vec<_> = self.egress.into_iter().collect();
        texts.extend(self.fault.map(|own| own.text(fault)));
        if fault != Some("abort") {
            texts.extend(self.routed);
        }
        if self.is_logged
            && let Some(suppressed) = rate.admit(host.now())
        {
            log::info!("explained: {} {suppressed}", texts.join(", "));
        }
        let answered = texts.into_iter().filter(|_| self.is_answered);
        answered.map(|text| (settings.header.to_string(), text)).collect()
    }
}

#[cfg(test)]
mod tests;
