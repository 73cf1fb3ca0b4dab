//! The filter as a filter of the shell.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::filter::{Action, Filter};
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_host::network::NetworkHost;
use sluice_policy::sni::SniPolicy;

use crate::connection::Connection;
use crate::request::Request;
use crate::worker::{NOTE, Worker};

impl<H: HttpHost + NetworkHost + PluginHost> Filter<H> for Worker {
    const NAME: &'static str = "sni";
    const NEEDS_TIME: bool = true;
    const READS_SERVER_NAME_OF_REQUESTS: bool = true;
    const NOTES: &'static [&'static str] = &[NOTE];
    const UNCONFIGURED: Action = Action::Pause;

    type Policy = SniPolicy;
    type Request = Request<H>;
    type Connection = Connection<H>;

    fn new(policy: Arc<SniPolicy>, _: u32, host: &H) -> Self {
        Self::with_policy(policy, host)
    }

    fn request(self: &Rc<Self>, _: u32, host: H) -> Request<H> {
        Request::new(host, Rc::clone(self))
    }

    fn connection(self: &Rc<Self>, id: u32, host: H) -> Option<Connection<H>> {
        Some(Connection::new(id, host, Rc::clone(self)))
    }

    fn on_tick(&self, plugin: u32, host: &H) {
        self.delays.on_tick(plugin, host, |state| self.on_hello_timeout(&state, host));
    }
}
