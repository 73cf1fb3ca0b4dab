//! The mirror filter as a filter of the shell.

use std::rc::Rc;
use std::sync::Arc;

use sluice_host::counters::CounterSet;
use sluice_host::filter::{Filter, NoConnections};
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_policy::mirror::Mirrors;

use crate::comparison::HISTOGRAMS;
use crate::event::Event;
use crate::stream::Stream;
use crate::worker::Worker;

impl<H: HttpHost + PluginHost> Filter<H> for Worker {
    const NAME: &'static str = "mirror";
    const ANSWER_COUNTERS: &'static [&'static str] = Event::NAMES;
    const ANSWER_HISTOGRAMS: &'static [&'static str] = &HISTOGRAMS;
    const NEEDS_TIME: bool = true;

    type Policy = Mirrors;
    type Request = Stream<H>;
    type Connection = NoConnections;

    fn new(mirrors: Arc<Mirrors>, plugin: u32, host: &H) -> Self {
        Self::with_policy(mirrors, plugin, host)
    }

    fn request(self: &Rc<Self>, _: u32, host: H) -> Stream<H> {
        Stream::new(host, Rc::clone(self))
    }

    fn on_tick(&self, _: u32, host: &H) {
        host.set_timer(None);
    }

    fn on_end(&self, plugin: u32, host: &H) {
        host.forget_calls(plugin);
    }
}
