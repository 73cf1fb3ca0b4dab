//! Random callbacks of a module.

use anyhow::{Context, Result, ensure};
use fastrand::Rng;

use crate::answers::{Hostility, value};
use crate::hostile::documents;
use crate::hostile::surroundings;
use crate::instance::{Instance, Program};

/// Maximum number of streams at a time.
const MAX_STREAMS: usize = 50;

/// Maximum number of plugins at a time.
const MAX_PLUGINS: usize = 3;

/// Maximum number of calls to clusters that wait for their answers.
const MAX_SENT_CALLS: usize = 30;

/// Maximum number of keys of the shared data. Then the host loses them all.
const MAX_KEYS: usize = 500;

/// The gauge of faults that have not ended.
const ACTIVE_FAULTS: &str = "sluice.fault.active_faults";

/// The callbacks of a request after its headers, except for the last ones.
const OF_REQUESTS: [&str; 7] = [
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
    "proxy_on_log",
];

/// The callbacks of a connection.
const OF_CONNECTIONS: [&str; 4] = [
    "proxy_on_downstream_data",
    "proxy_on_downstream_connection_close",
    "proxy_on_new_connection",
    "proxy_on_log",
];

/// What a run has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Number of callbacks
    pub callbacks: u64,
    /// Number of wrong answers to calls of the module
    pub wrong_answers: u64,
    /// The linear memory in bytes. It never shrinks
    pub memory: usize,
    /// The bytes that the module has in use when all contexts are deleted
    pub used: u64,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    id: u32,
    plugin: u32,
    kind: Kind,
}

/// What a stream is for Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connection,
    Request,
    /// A request of which the module gets the end only
    Log,
}

/// A module, and documents for it.
#[derive(Debug)]
pub struct Target {
    /// The name of the module
    pub module: String,
    /// The module
    pub program: Program,
    documents: Vec<Vec<u8>>,
}

impl Target {
    /// Reads `dist/NAME.wasm`.
    pub fn read(module: &str) -> Result<Self> {
        let documents = documents::all(module).iter().map(|all| all.to_string().into()).collect();
        Ok(Self { module: module.to_owned(), program: Program::read(module)?, documents })
    }
}

/// A module with its plugins and streams.
#[derive(Debug)]
pub struct Traffic<'t> {
    target: &'t Target,
    instance: Instance,
    rng: Rng,
    plugins: Vec<u32>,
    streams: Vec<Stream>,
    last_context: u32,
    callbacks: u64,
}

impl<'t> Traffic<'t> {
    /// Starts a module with one plugin, in a host that is not hostile yet.
    pub fn start(target: &'t Target, seed: u64) -> Result<Self> {
        let (traffic, is_configured) = Self::start_hostile(target, seed, Hostility::None)?;
        ensure!(is_configured, "{:?}", traffic.instance.host().log());
        Ok(traffic)
    }

    /// Starts a module in a host that is hostile from the beginning. Also returns whether the
    /// module has accepted its document.
    pub fn start_hostile(
        target: &'t Target,
        seed: u64,
        hostility: Hostility,
    ) -> Result<(Self, bool)> {
        let mut traffic = Self {
            target,
            instance: Instance::of(&target.program)?,
            rng: Rng::with_seed(seed),
            plugins: Vec::new(),
            streams: Vec::new(),
            last_context: 0,
            callbacks: 0,
        };
        traffic.set_hostility(hostility);
        let is_configured = traffic.add_plugin(0)?;
        Ok((traffic, is_configured))
    }

    /// Changes how the host answers from now on.
    pub fn set_hostility(&mut self, hostility: Hostility) {
        self.instance.host_mut().hostility = hostility;
    }

    /// Makes at least this number of callbacks.
    pub fn run(&mut self, callbacks: u64) -> Result<()> {
        let end = self.callbacks + callbacks;
        while self.callbacks < end {
            self.step()?;
        }
        Ok(())
    }

    /// Adds a plugin with one of the documents, and returns whether the module accepts it. Drops
    /// the first plugin if there are too many.
    pub fn add_plugin(&mut self, document: usize) -> Result<bool> {
        if self.plugins.len() >= MAX_PLUGINS {
            let first = self.plugins[0];
            self.delete_plugin(first)?;
        }
        self.last_context += 1;
        let plugin = self.last_context;
        self.enter(plugin);
        let document = &self.target.documents[document % self.target.documents.len()];
        let is_configured = self.instance.accepts_plugin(plugin, document)?;
        self.callbacks += 3;
        self.plugins.push(plugin);
        Ok(is_configured)
    }

    /// Deletes all contexts in a host that is not hostile. The module has to go on after that.
    pub fn end(&mut self) -> Result<Outcome> {
        self.set_hostility(Hostility::None);
        while let Some(plugin) = self.plugins.first() {
            self.delete_plugin(*plugin)?;
        }
        let host = self.instance.host_mut();
        let wrong_answers = host.wrong_answers;
        host.shared.clear();
        let active = host.metric(ACTIVE_FAULTS).unwrap_or_default();
        ensure!(active == 0, "{active} faults are active without streams");
        let is_configured = self.add_plugin(0)?;
        ensure!(is_configured, "{:?}", self.instance.host().log());
        let plugin = self.last_context;
        self.delete_plugin(plugin)?;
        ensure!(self.instance.host().contexts.is_empty(), "a context is left");
        let (callbacks, memory) = (self.callbacks, self.instance.memory());
        Ok(Outcome { callbacks, wrong_answers, memory, used: self.used()? })
    }

    /// Reads the bytes that the module has in use. It writes them down at the end of a plugin: the
    /// second number of the first VM, after the number of VMs.
    fn used(&self) -> Result<u64> {
        let key = format!("sluice.documents.{}", self.target.module).into_bytes();
        let (value, _) = self.instance.host().shared.get(&key).context("no memory is written")?;
        let bytes = value.get(16..24).context("no memory is written")?;
        Ok(u64::from_le_bytes(bytes.try_into()?))
    }

    /// Makes some callbacks.
    fn step(&mut self) -> Result<()> {
        let pass = self.rng.u64(..5_000_000) << self.rng.u32(..8);
        let host = self.instance.host_mut();
        host.now += pass;
        host.log.clear();
        if host.shared.len() > MAX_KEYS {
            host.shared.clear();
        }
        match self.rng.u32(..2_000) {
            0 => {
                let document = self.rng.usize(..8);
                self.add_plugin(document).map(drop)
            }
            1 => self.configure_anew(),
            2..100 => self.tick(),
            100..250 => self.answer_call(),
            250..700 if self.streams.len() < MAX_STREAMS => self.begin_stream(),
            250..850 => self.end_stream(),
            _ => self.callback_of_any_stream(),
        }
    }

    /// The calls of the module apply to this context now.
    fn enter(&mut self, plugin: u32) {
        self.instance.host_mut().effective_plugin = Some(plugin);
    }

    /// Makes a callback if the module has it.
    fn callback(&mut self, name: &str, arguments: &[u32]) -> Result<()> {
        if self.instance.exports(name) {
            self.callbacks += 1;
            let place = || format!("callback {} of {}", self.callbacks, self.target.module);
            self.instance.call(name, arguments).with_context(place)?;
        }
        Ok(())
    }

    fn any_plugin(&mut self) -> Option<u32> {
        self.rng.choice(&self.plugins).copied()
    }

    /// A document for a plugin that has one, or bytes that are none.
    fn configure_anew(&mut self) -> Result<()> {
        let Some(plugin) = self.any_plugin() else { return Ok(()) };
        self.enter(plugin);
        let document = match self.rng.bool() {
            true => self.rng.choice(&self.target.documents).cloned().unwrap_or_default(),
            false => value(&mut self.rng),
        };
        let size = document.len() as u32;
        let buffers = &mut self.instance.host_mut().buffers;
        buffers.insert(crate::host::buffer::PLUGIN_CONFIGURATION, document);
        self.callback("proxy_on_configure", &[plugin, size])
    }

    fn tick(&mut self) -> Result<()> {
        let Some(plugin) = self.any_plugin() else { return Ok(()) };
        self.enter(plugin);
        self.callback("proxy_on_tick", &[plugin])
    }

    /// Answers a call, or one that was never made.
    fn answer_call(&mut self) -> Result<()> {
        let Some(plugin) = self.any_plugin() else { return Ok(()) };
        self.enter(plugin);
        let sent = self.instance.host_mut().sent_calls.pop_front();
        let token = sent.filter(|_| self.rng.u8(..5) > 0).unwrap_or_else(|| self.rng.u32(..));
        self.answer(plugin, token)?;
        // Envoy answers each call in the end.
        while self.instance.host().sent_calls.len() > MAX_SENT_CALLS {
            let token = self.instance.host_mut().sent_calls.pop_front().unwrap_or_default();
            self.answer(plugin, token)?;
        }
        Ok(())
    }

    fn answer(&mut self, plugin: u32, token: u32) -> Result<()> {
        surroundings::change(self.instance.host_mut(), &mut self.rng);
        let [count, size, trailers] = [0; 3].map(|_: u8| self.any_size());
        self.callback("proxy_on_http_call_response", &[plugin, token, count, size, trailers])
    }

    fn begin_stream(&mut self) -> Result<()> {
        let Some(plugin) = self.any_plugin() else { return Ok(()) };
        self.enter(plugin);
        let has_connections = self.instance.exports("proxy_on_new_connection");
        let kind = match self.rng.u8(..10) {
            0 => Kind::Log,
            1..6 if has_connections => Kind::Connection,
            _ => Kind::Request,
        };
        surroundings::change(self.instance.host_mut(), &mut self.rng);
        let protocol = (kind != Kind::Connection).then(|| b"HTTP/2".to_vec());
        let properties = &mut self.instance.host_mut().properties;
        properties.remove(b"request\0protocol".as_slice());
        properties.extend(protocol.map(|protocol| (b"request\0protocol".to_vec(), protocol)));
        self.last_context += 1;
        let stream = Stream { id: self.last_context, plugin, kind };
        self.streams.push(stream);
        self.callbacks += 1;
        self.instance.create(stream.id, plugin).context("proxy_on_context_create")?;
        // Envoy creates the context for these callbacks, or for the log of a request that no other
        // callback has got.
        match kind {
            Kind::Connection => self.callback("proxy_on_new_connection", &[stream.id]),
            Kind::Request => {
                let size = self.any_size();
                self.callback("proxy_on_request_headers", &[stream.id, size, 0])
            }
            Kind::Log => self.callback("proxy_on_log", &[stream.id]),
        }
    }

    fn callback_of_any_stream(&mut self) -> Result<()> {
        let Some(stream) = self.rng.choice(&self.streams).copied() else { return Ok(()) };
        self.enter(stream.plugin);
        surroundings::change(self.instance.host_mut(), &mut self.rng);
        let names = match stream.kind {
            Kind::Connection => &OF_CONNECTIONS[..],
            Kind::Request => &OF_REQUESTS,
            Kind::Log => &["proxy_on_log"],
        };
        let name = self.rng.choice(names).copied().unwrap_or_default();
        let (size, is_end) = (self.any_size(), self.rng.u32(..2));
        let arguments = match name {
            "proxy_on_log" | "proxy_on_new_connection" => &[stream.id][..],
            "proxy_on_request_trailers" | "proxy_on_response_trailers" => &[stream.id, size],
            "proxy_on_downstream_connection_close" => &[stream.id, is_end],
            _ => &[stream.id, size, is_end],
        };
        self.callback(name, arguments)
    }

    fn end_stream(&mut self) -> Result<()> {
        if self.streams.is_empty() {
            return Ok(());
        }
        let stream = self.streams.swap_remove(self.rng.usize(..self.streams.len()));
        self.enter(stream.plugin);
        for name in ["proxy_on_log", "proxy_on_done"] {
            if self.rng.bool() {
                self.callback(name, &[stream.id])?;
            }
        }
        self.delete(stream.id)
    }

    fn delete(&mut self, context: u32) -> Result<()> {
        self.callback("proxy_on_delete", &[context])?;
        self.instance.host_mut().contexts.retain(|known| *known != context);
        Ok(())
    }

    fn delete_plugin(&mut self, plugin: u32) -> Result<()> {
        self.enter(plugin);
        let of_plugin = |stream: &mut Stream| stream.plugin == plugin;
        let streams: Vec<_> = self.streams.extract_if(.., of_plugin).collect();
        for stream in streams {
            self.delete(stream.id)?;
        }
        self.plugins.retain(|known| *known != plugin);
        self.delete(plugin)
    }

    /// A number of headers or bytes, which need not be the right one.
    fn any_size(&mut self) -> u32 {
        match self.rng.u8(..8) {
            0 => 0,
            1 => u32::MAX,
            _ => self.rng.u32(..2_000),
        }
    }
}
