//! The router as a filter.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::filter::{Filter, NoConnections};
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_policy::router::Router;

use crate::stream::Stream;
use crate::worker::{NOTE, Worker};

impl<H: HttpHost + PluginHost> Filter<H> for Worker {
    const NAME: &'static str = "router";
    // The lines of explanations are limited by time.
    const NEEDS_TIME: bool = true;
    const NOTES: &'static [&'static str] = &[NOTE];

    type Policy = Router;
    type Request = Stream<H>;
    type Connection = NoConnections;

    fn new(router: Arc<Router>, _: u32, host: &H) -> Self {
        Self::with_policy(router, host)
    }

    fn request(self: &Rc<Self>, _: u32, host: H) -> Stream<H> {
        Stream::new(host, Rc::clone(self))
    }
}
