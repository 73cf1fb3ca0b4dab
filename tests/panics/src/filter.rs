//! The filter on one worker.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::delay::Delays;
use sluice_host::filter::Filter;
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_host::network::NetworkHost;

use crate::connection::{Connection, Paused};
use crate::request::{Request, Waiting};
use crate::rules::Rules;

/// What all streams of a worker share.
#[derive(Debug)]
pub struct Panics {
    rules: Arc<Rules>,
    /// The requests that wait
    delays: Rc<Delays<Waiting>>,
    /// The connections that wait
    paused: Rc<Delays<Paused>>,
}

impl<H: HttpHost + NetworkHost + PluginHost> Filter<H> for Panics {
    const NAME: &'static str = "panics";

    type Policy = Rules;
    type Request = Request<H>;
    type Connection = Connection<H>;

    fn new(rules: Arc<Rules>, _: u32, _: &H) -> Self {
        rules.make_filter();
        Self { rules, delays: Rc::default(), paused: Rc::default() }
    }

    fn request(self: &Rc<Self>, id: u32, host: H) -> Request<H> {
        self.rules.reach("stream");
        Request::new(id, host, Rc::clone(&self.delays))
    }

    fn connection(self: &Rc<Self>, id: u32, host: H) -> Option<Connection<H>> {
        self.rules.reach("stream");
        Some(Connection::new(id, host, Arc::clone(&self.rules), Rc::clone(&self.paused)))
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
        self.paused.on_tick(plugin, host, |paused| paused.resume(host));
    }
}
