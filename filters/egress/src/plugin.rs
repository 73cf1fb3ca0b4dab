//! The egress filter as a filter of the shell.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::filter::{Action, Filter};
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_host::network::NetworkHost;
use sluice_policy::egress::Egress;

use crate::stream::Stream;
use crate::worker::{NOTE, Worker};

impl<H: HttpHost + NetworkHost + PluginHost> Filter<H> for Worker {
    const NAME: &'static str = "egress";
    // As in the router.
    const NEEDS_TIME: bool = true;
    const NOTES: &'static [&'static str] = &[NOTE];
    const UNCONFIGURED: Action = Action::Pause;

    type Policy = Egress;
    type Request = Stream<H>;
    type Connection = Stream<H>;

    fn new(egress: Arc<Egress>, _: u32, host: &H) -> Self {
        Self::with_policy(egress, host)
    }

    fn request(self: &Rc<Self>, _: u32, host: H) -> Stream<H> {
        Stream::new(host, Rc::clone(self))
    }

    fn connection(self: &Rc<Self>, _: u32, host: H) -> Option<Stream<H>> {
        Some(Stream::new(host, Rc::clone(self)))
    }
}
