//! The router as a filter.

use std::rc::Rc;

use sluice_host::counters::Counters;
use sluice_host::filter::{Filter, NoConnections};
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_host::random::Random;
use sluice_policy::router::Router;

use crate::stream::Stream;
use crate::worker::{NOTE, Worker};

impl<H: HttpHost + PluginHost> Filter<H> for Worker {
    const NAME: &'static str = "router";
    const NOTE: Option<&'static str> = Some(NOTE);

    type Policy = Router;
    type Request = Stream<H>;
    type Connection = NoConnections;

    fn new(router: Rc<Router>, _: u32, host: &H) -> Self {
        Self { router, counters: Counters::define(host), random: Random::default() }
    }

    fn request(self: &Rc<Self>, _: u32, host: H) -> Stream<H> {
        Stream::new(host, Rc::clone(self))
    }
}

sluice_host::module!(Worker);
