//! All filters of HTTP requests as one filter of the shell.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::filter::{Action, Filter, NoConnections};
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_policy::chain::Chain;
use sluice_router::worker::NOTE as ROUTE_NOTE;

use crate::stream::Stream;
use crate::worker::{Phase, Worker};

impl<H: HttpHost + PluginHost> Filter<H> for Worker {
    const NAME: &'static str = "sluice";
    const NEEDS_TIME: bool = true;
    const NOTES: &'static [&'static str] =
        &[sluice_egress::worker::NOTE, sluice_fault::worker::NOTE, ROUTE_NOTE];
    // As in the egress filter.
    const UNCONFIGURED: Action = Action::Pause;

    type Policy = Chain;
    type Request = Stream<H>;
    type Connection = NoConnections;

    fn new(chain: Arc<Chain>, plugin: u32, host: &H) -> Self {
        Self::with_policy(chain, plugin, host)
    }

    fn request(self: &Rc<Self>, id: u32, host: H) -> Stream<H> {
        Stream::new(id, host, Rc::clone(self))
    }

    fn on_tick(&self, plugin: u32, host: &H) {
        match &self.fault {
            Some(fault) => fault.delays.on_tick(plugin, host, |waiting| {
                if fault.on_delay_end(&waiting, host)
                    && self.run(Phase::AfterDelay, &waiting.state.kept, host) == Action::Continue
                {
                    host.resume_request();
                }
            }),
            None => host.set_timer(None),
        }
    }

    fn on_end(&self, plugin: u32, host: &H) {
        host.forget_calls(plugin);
    }
}
