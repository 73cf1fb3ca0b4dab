//! The filter on one worker.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::delay::Delays;
use sluice_host::filter::{Filter, NoConnections};
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;

use crate::request::{Request, Waiting};
use crate::rules::Rules;

/// What all streams of a worker share.
#[derive(Debug)]
pub struct Panics {
    rules: Arc<Rules>,
    /// The streams that wait
    delays: Rc<Delays<Waiting>>,
}

impl<H: HttpHost + PluginHost> Filter<H> for Panics {
    const NAME: &'static str = "panics";

    type Policy = Rules;
    type Request = Request<H>;
    type Connection = NoConnections;

    fn new(rules: Arc<Rules>, _: u32, _: &H) -> Self {
        rules.make_filter();
        Self { rules, delays: Rc::default() }
    }

    fn request(self: &Rc<Self>, id: u32, host: H) -> Request<H> {
        self.rules.reach("stream");
        Request::new(id, host, Rc::clone(&self.delays))
    }

    fn on_tick(&self, plugin: u32, host: &H) {
        self.delays.on_tick(plugin, host, |waiting| {
            let number = host.request_header("x-number");
            assert_eq!(number, waiting.number, "the entry of another stream");
            waiting.deadline.set(None);
            assert!(!waiting.panics, "the request says so: tick");
            match waiting.is_response {
                true => host.resume_response(),
                false => host.resume_request(),
            }
        });
    }
}
