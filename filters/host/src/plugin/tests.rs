use std::cell::RefCell;
use std::sync::Arc;

use log::{LevelFilter, Log, Metadata, Record};
use sluice_policy::document::filter;
use sluice_policy::document::json::Json;
use sluice_policy::document::report::{Finding, Kind, Rejection};
use sluice_policy::spec::document::Document;
use sluice_policy::spec::proxy::NodeMetadata;

use super::*;
use crate::fake::FakeHost;
use crate::fake::store::FakeStore;
use crate::filter::{Action, HttpStream, NoConnections};
use crate::host::Host;

const PLUGIN: u32 = 7;

thread_local! {
    static LINES: RefCell<Vec<String>> = RefCell::default();
}

/// Keeps the lines of each test's thread.
struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}", record.level(), record.args());
        LINES.with_borrow_mut(|lines| lines.push(line));
    }

    fn flush(&self) {}
}

/// The lines that were logged since the last call.
fn lines() -> Vec<String> {
    LINES.take()
}

/// The text of a document that begins with "ok", and the proxy's namespace.
struct Text(String);

impl Policy for Text {
    fn filters(_: &Json) -> filter::Filters {
        filter::Filter::Router.into()
    }

    fn new(_: &Document) -> Self {
        Self(String::new())
    }

    fn compile(
        document: &[u8],
        node: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let finding = |reason: &str| Finding {
            path: "path".to_owned(),
            kind: Kind::Error,
            reason: reason.to_owned(),
            other: None,
        };
        let document = String::from_utf8_lossy(document);
        if !document.starts_with("ok") {
            return Err(Rejection { errors: vec![finding("is wrong"), finding("is missing")] });
        }
        let text = format!("{document} {}", node.namespace().unwrap_or_default());
        let other = Finding {
            kind: Kind::LeftToFilter(filter::Filter::Sni),
            ..finding("is left to the sni filter")
        };
        let ignored = Finding { kind: Kind::NoEffect, ..finding("is ignored") };
        Ok((Self(text), vec![ignored, other]))
    }
}

struct Echo {
    policy: Arc<Text>,
    plugin: u32,
}

impl Filter<FakeHost> for Echo {
    const NAME: &'static str = "echo";
    const NOTES: &'static [&'static str] = &["sluice.echo"];

    type Policy = Text;
    type Request = Stream;
    type Connection = NoConnections;

    fn new(policy: Arc<Text>, plugin: u32, _: &FakeHost) -> Self {
        Self { policy, plugin }
    }

    fn request(self: &Rc<Self>, id: u32, host: FakeHost) -> Stream {
        Stream { id, host, worker: Rc::clone(self) }
    }

    fn on_tick(&self, plugin: u32, host: &FakeHost) {
        assert_eq!(plugin, self.plugin);
        host.note("tick", &self.policy.0);
    }

    fn on_end(&self, plugin: u32, host: &FakeHost) {
        assert_eq!(plugin, self.plugin);
        host.note("end", &self.policy.0);
    }
}

struct Stream {
    id: u32,
    host: FakeHost,
    worker: Rc<Echo>,
}

impl HttpStream for Stream {
    fn on_request_headers(&self) -> Action {
        self.host.note("request", &format!("{} {}", self.worker.policy.0, self.id));
        Action::Continue
    }
}

fn plugin() -> (Plugin<Echo, FakeHost>, FakeHost) {
    // Only the first test sets it.
    let _ = log::set_logger(&Lines);
    LINES.take();
    let namespace = ["xds", "node", "metadata", "NAMESPACE"];
    let host = FakeHost::default().with_property(&namespace, "default");
    (Plugin::new(PLUGIN, host.clone()), host)
}

/// The notices of each document.
const NOTICES: [&str; 2] = ["WARN path: is ignored", "INFO path: is left to the sni filter"];

fn texts(host: &FakeHost) -> Vec<String> {
    host.notes().into_iter().map(|(name, text)| format!("{name}: {text}")).collect()
}

#[test]
fn a_host_without_a_needed_call_gets_no_filter() {
    let (mut plugin, host) = plugin();
    host.refuse_call("random_get");
    assert!(!plugin.on_configure(b"ok"));
    assert_eq!(
        lines(),
        ["ERROR allowed_capabilities: must have random_get, Envoy refuses it to the module"]
    );
    assert!(plugin.request(1).is_none());
}

#[test]
fn a_document_makes_the_filter_of_later_streams() {
    let (mut plugin, host) = plugin();
    assert!(plugin.on_configure(b"ok 1"));
    assert_eq!(lines(), NOTICES);
    assert_eq!(host.declared_notes(), ["sluice.echo"]);
    let first = plugin.request(2).unwrap();
    assert!(plugin.connection(3).is_none(), "it is no network filter");
    assert!(plugin.on_configure(b"ok 2"));
    plugin.request(4).unwrap().on_request_headers();
    first.on_request_headers();
    plugin.on_tick();
    plugin.on_end();
    assert_eq!(
        texts(&host),
        [
            "request: ok 2 default 4",
            "request: ok 1 default 2",
            "tick: ok 2 default",
            "end: ok 2 default"
        ]
    );
}

#[test]
fn a_document_with_errors_changes_nothing() {
    let (mut plugin, host) = plugin();
    assert!(!plugin.on_configure(b"no"));
    assert_eq!(lines(), ["ERROR path: is wrong", "ERROR path: is missing"]);
    assert!(plugin.request(2).is_none() && plugin.connection(3).is_none());
    plugin.on_tick();
    plugin.on_end();
    assert_eq!((host.declared_notes(), host.notes()), (vec![], vec![]));
    assert!(plugin.on_configure(b"ok"));
    assert!(!plugin.on_configure(b"no"));
    plugin.on_tick();
    assert_eq!(texts(&host), ["tick: ok default"]);
}

#[test]
fn plugins_with_the_same_document_share_its_policy() {
    let [mut first, mut second, mut third] = [(); 3].map(|()| plugin().0);
    let policy = |plugin: &Plugin<Echo, _>| Arc::clone(&plugin.filter.as_ref().unwrap().policy);
    assert!(first.on_configure(b"ok 1") && second.on_configure(b"ok 1"));
    assert!(Arc::ptr_eq(&policy(&first), &policy(&second)));
    assert!(third.on_configure(b"ok 2") && !Arc::ptr_eq(&policy(&first), &policy(&third)));
    first.on_end();
    assert!(third.on_configure(b"ok 1") && Arc::ptr_eq(&policy(&second), &policy(&third)));
    // The last plugin with a document takes its policy with it.
    let dropped = Arc::downgrade(&policy(&second));
    second.on_end();
    third.on_end();
    assert!(dropped.upgrade().is_none());
}

#[test]
fn notices_are_logged_by_one_worker_and_errors_by_all() {
    let store = FakeStore::default();
    let mut workers =
        [(); 5].map(|()| Plugin::<Echo, _>::new(PLUGIN, plugin().1.with_store(&store)));
    for document in [b"ok 1", b"ok 2", b"ok 2", b"ok 1"] {
        assert!(workers.iter_mut().all(|worker| worker.on_configure(document)));
    }
    assert_eq!(lines(), [NOTICES, NOTICES].concat());
    for worker in &mut workers {
        assert!(!worker.on_configure(b"no"));
        assert_eq!(lines().len(), 2);
    }
}

#[test]
fn the_version_is_logged_once_for_each_vm() {
    let (first, _) = plugin();
    let (second, _) = plugin();
    first.on_vm_start();
    second.on_vm_start();
    let [line] = lines().try_into().unwrap();
    let start = concat!("INFO sluice echo ", env!("CARGO_PKG_VERSION"), " (");
    assert!(line.starts_with(start) && line.ends_with(')'), "{line}");
}

#[test]
fn the_log_level_is_envoys() {
    let (mut plugin, _) = plugin();
    log::set_max_level(LevelFilter::Debug);
    plugin.on_configure(b"ok");
    assert_eq!(log::max_level(), LevelFilter::Info);
}
