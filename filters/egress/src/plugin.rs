//! The egress filter as a filter of the shell.

use std::rc::Rc;

use sluice_host::counters::Counters;
use sluice_host::filter::{Action, Filter};
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_host::network::NetworkHost;
use sluice_policy::egress::Egress;

use crate::stream::Stream;
use crate::worker::{NOTE, Worker};

impl<H: HttpHost + NetworkHost + PluginHost> Filter<H> for Worker {
    const NAME: &'static str = "egress";
    const NOTE: Option<&'static str> = Some(NOTE);
    const UNCONFIGURED: Action = Action::Pause;

    type Policy = Egress;
    type Request = Stream<H>;
    type Connection = Stream<H>;

    fn new(egress: Rc<Egress>, _: u32, host: &H) -> Self {
        Self { egress, counters: Counters::define(host) }
    }

    fn request(self: &Rc<Self>, _: u32, host: H) -> Stream<H> {
        Stream::new(host, Rc::clone(self))
    }

    fn connection(self: &Rc<Self>, _: u32, host: H) -> Option<Stream<H>> {
        Some(Stream::new(host, Rc::clone(self)))
    }
}

sluice_host::module!(Worker);
