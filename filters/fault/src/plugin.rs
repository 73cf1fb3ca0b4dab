//! The fault filter as a filter of the shell.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::filter::{Filter, NoConnections};
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_policy::fault::Faults;

use crate::stream::Stream;
use crate::worker::{NOTE, Worker};

impl<H: HttpHost + PluginHost> Filter<H> for Worker {
    const NAME: &'static str = "fault";
    const NEEDS_TIME: bool = true;
    const NOTES: &'static [&'static str] = &[NOTE];

    type Policy = Faults;
    type Request = Stream<H>;
    type Connection = NoConnections;

    fn new(faults: Arc<Faults>, _: u32, host: &H) -> Self {
        Self::with_policy(faults, host)
    }

    fn request(self: &Rc<Self>, id: u32, host: H) -> Stream<H> {
        Stream::new(id, host, Rc::clone(self))
    }

    fn on_tick(&self, plugin: u32, host: &H) {
        self.delays.on_tick(plugin, host, |waiting| {
            if self.on_delay_end(&waiting, host) {
                host.resume_request();
            }
        });
    }
}
