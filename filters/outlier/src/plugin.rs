//! The outlier filter as a filter of the shell.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::filter::{Filter, NoConnections};
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_host::shared_data::SharedData;
use sluice_policy::outlier::Outliers;

use crate::stream::Stream;
use crate::worker::Worker;

impl<H: HttpHost + SharedData + PluginHost> Filter<H> for Worker {
    const NAME: &'static str = "outlier";
    const NEEDS_TIME: bool = true;

    type Policy = Outliers;
    type Request = Stream<H>;
    type Connection = NoConnections;

    fn new(outliers: Arc<Outliers>, _: u32, host: &H) -> Self {
        Self::with_policy(outliers, host)
    }

    fn request(self: &Rc<Self>, _: u32, host: H) -> Stream<H> {
        Stream::new(host, Rc::clone(self))
    }

    fn on_tick(&self, _: u32, host: &H) {
        self.tick(host);
    }
}
