//! A running module: its configuration and its streams.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use wasmi::{
    CompilationMode, Config, Engine, Extern, ExternType, Global, Linker, Memory, Module, Store, Val,
};

use crate::abi::Call;
use crate::answers::Answer;
use crate::count::{COUNTER, count_instructions};
use crate::headers::Headers;
use crate::host::{Host, buffer, map};

/// The plugin's context.
const ROOT: u32 = 1;

/// `Action::Pause`.
const PAUSE: i32 = 1;

/// Maximum pause of a stream, in ticks.
const MAX_TICKS: usize = 1_000;

/// Time between two streams, in nanoseconds: 10,000 streams per second, a busy worker.
const BETWEEN_STREAMS: u64 = 100_000;

/// The path of the folder with the modules that ship.
fn dist() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist")).into()
}

/// Returns the names of the released modules.
pub fn modules() -> Result<Vec<(String, Vec<u8>)>> {
    let mut modules = Vec::new();
    for entry in dist().read_dir().context("no dist/; run `make build` first")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            modules.push((name, std::fs::read(&path)?));
        }
    }
    modules.sort();
    ensure!(!modules.is_empty(), "no modules in dist/; run `make build` first");
    Ok(modules)
}

/// A request and its response.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// The headers of the request
    pub request: Headers,
    /// The headers of the response, unless the module replies itself
    pub response: Headers,
    /// The body of the response
    pub body: Vec<u8>,
    /// The trailers of the response; none if empty
    pub trailers: Headers,
}

/// A module that was read, from which VMs start.
#[derive(Clone, Debug)]
pub struct Program {
    engine: Engine,
    module: Module,
}

impl Program {
    /// Reads `dist/NAME.wasm`.
    pub fn read(name: &str) -> Result<Self> {
        let path = dist().join(name).with_extension("wasm");
        let wasm = std::fs::read(&path)
            .with_context(|| format!("{}; run `make build` first", path.display()))?;
        let mut config = Config::default();
        config.compilation_mode(CompilationMode::LazyTranslation);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, count_instructions(&wasm)?)?;
        Ok(Self { engine, module })
    }

    /// The functions of the host that the module imports.
    pub fn imports(&self) -> Vec<String> {
        self.module.imports().map(|import| import.name().to_owned()).collect()
    }
}

/// A module in its VM, with one plugin.
#[derive(Debug)]
pub struct Instance {
    store: Store<Host>,
    memory: Memory,
    /// The instructions that were executed so far
    counter: Global,
    instance: wasmi::Instance,
    /// Id of the last context
    context: u32,
}

impl Instance {
    /// Starts the VM of `dist/NAME.wasm`.
    pub fn start(name: &str) -> Result<Self> {
        Self::of(&Program::read(name)?)
    }

    /// Starts a VM of a module.
    pub fn of(program: &Program) -> Result<Self> {
        let Program { engine, module } = program;
        let mut store = Store::new(engine, Host::default());
        let linker = linker(engine, module, store.data_mut())?;
        let instance = linker.instantiate_and_start(&mut store, module)?;
        let memory = instance.get_memory(&store, "memory").context("no memory")?;
        let counter = instance.get_export(&store, COUNTER).and_then(Extern::into_global);
        let counter = counter.context("no counter")?;
        let mut instance = Self { store, memory, counter, instance, context: ROOT };
        instance.call("_initialize", &[])?;
        Ok(instance)
    }

    /// Creates the plugin with a configuration.
    ///
    /// # Errors
    /// If the module refuses it. The error contains its log.
    pub fn configure(&mut self, document: &Value) -> Result<()> {
        let is_configured = self.accepts(document)?;
        ensure!(is_configured, "refused: {:?}", self.host().log);
        Ok(())
    }

    /// Creates the plugin with a configuration. Returns whether the module accepts it.
    ///
    /// # Errors
    /// If the module traps.
    pub fn accepts(&mut self, document: &Value) -> Result<bool> {
        self.accepts_plugin(ROOT, document.to_string().as_bytes())
    }

    /// Creates another plugin in the VM. Returns whether the module accepts its configuration.
    /// Streams still belong to the first one.
    ///
    /// # Errors
    /// If the module traps.
    pub fn accepts_another(&mut self, document: &Value) -> Result<bool> {
        self.context += 1;
        self.accepts_plugin(self.context, document.to_string().as_bytes())
    }

    /// Creates a plugin with this context and document. Returns whether the module accepts it.
    pub(crate) fn accepts_plugin(&mut self, plugin: u32, document: &[u8]) -> Result<bool> {
        let size = document.len() as u32;
        self.create(plugin, 0)?;
        self.store.data_mut().buffers.insert(buffer::PLUGIN_CONFIGURATION, document.to_vec());
        ensure!(self.call("proxy_on_vm_start", &[plugin, 0])? != Some(0), "the VM does not start");
        let is_configured = self.call("proxy_on_configure", &[plugin, size])? == Some(1);
        self.store.data_mut().buffers.clear();
        Ok(is_configured)
    }

    /// The state of the host, to change it.
    pub(crate) fn host_mut(&mut self) -> &mut Host {
        self.store.data_mut()
    }

    /// The state of the host.
    pub fn host(&self) -> &Host {
        self.store.data()
    }

    /// The instructions that were executed so far.
    pub fn instructions(&self) -> u64 {
        self.counter.get(&self.store).i64().unwrap_or_default().cast_unsigned()
    }

    /// The size of the linear memory, in bytes.
    pub fn memory(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// Runs a stream with these attributes and an HTTP exchange.
    pub fn exchange(
        &mut self,
        properties: &[(Vec<u8>, Vec<u8>)],
        exchange: &Exchange,
    ) -> Result<()> {
        let id = self.begin(properties)?;
        let headers = exchange.request.clone();
        let count = headers.len() as u32;
        self.store.data_mut().maps.insert(map::REQUEST_HEADERS, headers);
        let action = self.call("proxy_on_request_headers", &[id, count, 1])?;
        self.wait_for(action)?;
        let reply = self.host().reply;
        let (headers, body, trailers) = match reply {
            // The modules do not read the headers of the reply.
            Some(status) => {
                (vec![(":status".to_owned(), status.to_string().into())], vec![], vec![])
            }
            None => (exchange.response.clone(), exchange.body.clone(), exchange.trailers.clone()),
        };
        self.respond(id, headers, body, trailers)?;
        self.call("proxy_on_log", &[id])?;
        self.end(id)
    }

    fn respond(
        &mut self,
        id: u32,
        headers: Headers,
        body: Vec<u8>,
        trailers: Headers,
    ) -> Result<()> {
        let count = headers.len() as u32;
        let is_end = |is_end| u32::from(is_end);
        self.store.data_mut().maps.insert(map::RESPONSE_HEADERS, headers);
        let ends = body.is_empty() && trailers.is_empty();
        let action = self.call("proxy_on_response_headers", &[id, count, is_end(ends)])?;
        ensure!(action.unwrap_or_default() == 0, "the response is paused");
        if !body.is_empty() {
            let size = body.len() as u32;
            self.store.data_mut().buffers.insert(buffer::RESPONSE_BODY, body);
            let ends = is_end(trailers.is_empty());
            let action = self.call("proxy_on_response_body", &[id, size, ends])?;
            ensure!(action.unwrap_or_default() == 0, "the response is paused");
        }
        if !trailers.is_empty() {
            let count = trailers.len() as u32;
            self.store.data_mut().maps.insert(map::RESPONSE_TRAILERS, trailers);
            self.call("proxy_on_response_trailers", &[id, count])?;
        }
        Ok(())
    }

    /// Runs a stream with these attributes that is a connection; its client sends `data` in one
    /// piece.
    pub fn connection(&mut self, properties: &[(Vec<u8>, Vec<u8>)], data: &[u8]) -> Result<()> {
        let id = self.begin(properties)?;
        self.call("proxy_on_new_connection", &[id])?;
        if !self.host().is_closed {
            self.store.data_mut().buffers.insert(buffer::DOWNSTREAM_DATA, data.to_vec());
            let action = self.call("proxy_on_downstream_data", &[id, data.len() as u32, 0])?;
            self.wait_for(action)?;
        }
        self.end(id)
    }

    fn begin(&mut self, properties: &[(Vec<u8>, Vec<u8>)]) -> Result<u32> {
        let due = self.host().now + BETWEEN_STREAMS;
        self.pass(due)?;
        self.store.data_mut().properties.extend(properties.iter().cloned());
        self.context += 1;
        self.create(self.context, ROOT)?;
        Ok(self.context)
    }

    pub(crate) fn create(&mut self, id: u32, parent: u32) -> Result<()> {
        self.store.data_mut().contexts.push(id);
        self.call("proxy_on_context_create", &[id, parent])?;
        Ok(())
    }

    fn end(&mut self, id: u32) -> Result<()> {
        self.call("proxy_on_done", &[id])?;
        self.call("proxy_on_delete", &[id])?;
        let host = self.store.data_mut();
        host.contexts.retain(|known| *known != id);
        host.end_stream();
        Ok(())
    }

    /// Advances the clock until a paused stream continues or gets a reply.
    fn wait_for(&mut self, action: Option<i32>) -> Result<()> {
        if action != Some(PAUSE) {
            return Ok(());
        }
        for _ in 0..MAX_TICKS {
            let host = self.host();
            if host.is_resumed || host.reply.is_some() || host.is_closed {
                return Ok(());
            }
            let Some((due, _)) = host.timer else { break };
            self.pass(due)?;
        }
        bail!("the stream never continues")
    }

    /// Advances the clock and calls the due ticks.
    fn pass(&mut self, until: u64) -> Result<()> {
        while let Some((due, period)) = self.host().timer.filter(|(due, _)| *due <= until) {
            let host = self.store.data_mut();
            host.now = due;
            host.timer = Some((due + period, period));
            self.call("proxy_on_tick", &[ROOT])?;
        }
        self.store.data_mut().now = until;
        Ok(())
    }

    /// Returns whether the module exports a function.
    pub(crate) fn exports(&self, name: &str) -> bool {
        self.instance.get_func(&self.store, name).is_some()
    }

    /// Calls an exported function. Returns `None` if the module does not export it, like Envoy, or
    /// it has no result.
    pub(crate) fn call(&mut self, name: &str, arguments: &[u32]) -> Result<Option<i32>> {
        let Some(function) = self.instance.get_func(&self.store, name) else { return Ok(None) };
        let arguments: Vec<Val> =
            arguments.iter().map(|number| Val::I32(number.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function
            .call(&mut self.store, &arguments, &mut results)
            .with_context(|| format!("{name}; log: {:?}", self.store.data().log))?;
        Ok(results.first().and_then(Val::i32))
    }
}

/// Defines all imports of the module, with call counts.
fn linker(engine: &Engine, module: &Module, host: &mut Host) -> Result<Linker<Host>> {
    let mut linker = Linker::<Host>::new(engine);
    for (index, import) in module.imports().enumerate() {
        let name = import.name().to_owned();
        let ExternType::Func(kind) = import.ty() else { bail!("{name} is not a function") };
        host.imports.push(name.clone());
        host.calls.push(0);
        linker.func_new(import.module(), import.name(), kind.clone(), {
            move |mut caller, arguments, results| {
                let host = caller.data_mut();
                host.calls[index] += 1;
                let answer = host.hostility.answer(&name);
                host.wrong_answers += u64::from(!matches!(answer, Answer::Honest));
                let result = Call::new(&mut caller, arguments)?.answer(&name, answer)?;
                if let Some(place) = results.first_mut() {
                    *place = Val::I32(result);
                }
                Ok(())
            }
        })?;
    }
    Ok(linker)
}
