//! Updates at full load, by each way in which Envoy gets them from files: listeners, one filter of
//! a listener, and the mounted ConfigMap of Kubernetes.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Client, Envoy, Listener, Upstream, any_host, native, until, wasm};
use tokio::task::JoinSet;

/// The listeners by the way in which the filters are attached.
const WAYS: [&str; 3] = ["single", "bundle", "native"];
/// Connections to each listener.
const CONNECTIONS: usize = 4;
/// The header of responses with the version of the document.
const VERSION: &str = "x-version";
const VMS: &str = "wasm.envoy.wasm.runtime.v8.active";
const DRAINING: &str = "listener_manager.total_listeners_draining";

/// Rules that answer with their version, after a delay of a moment for some requests.
fn document(version: usize) -> Value {
    let rule = |matched: Value, fault: Value| {
        json!({
            "match": [matched],
            "fault": fault,
            "route": [{ "destination": { "host": "service" } }],
            "headers": { "response": { "set": { VERSION: version.to_string() } } },
        })
    };
    let delay = json!({ "delay": { "fixedDelay": "5ms", "percentage": { "value": 100 } } });
    let late = json!({ "headers": { "x-delay": {} } });
    let none = json!({ "abort": { "httpStatus": 503, "percentage": { "value": 0 } } });
    any_host(json!([rule(late, delay), rule(json!({ "uri": { "prefix": "/" } }), none)]))
}

fn listeners(version: usize) -> Vec<Listener> {
    let document = document(version);
    let [single, bundle, native] = WAYS.map(Listener::new);
    vec![
        single.fault(&document).mirror(&document).plugin(&document),
        bundle.bundle(&document),
        native.bundle(&document).native(),
    ]
}

/// Clients that send one request after the other, until they are stopped.
struct Load {
    clients: JoinSet<Vec<String>>,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Load {
    fn start(envoy: &Envoy, listeners: &[&str]) -> Self {
        let (is_over, answered) = (Arc::default(), Arc::default());
        let mut clients = JoinSet::new();
        for name in listeners {
            for _ in 0..CONNECTIONS {
                let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
                clients.spawn(client(envoy.listener(name), is_over, answered));
            }
        }
        Self { clients, is_over, answered }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it and asserts that each request had the right answer.
    async fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let wrong = self.clients.join_all().await.concat();
        assert!(wrong.is_empty(), "{} requests failed: {:?}", wrong.len(), &wrong[0]);
    }
}

/// Returns what was wrong with requests.
async fn client(client: Client, is_over: Arc<AtomicBool>, answered: Arc<AtomicU64>) -> Vec<String> {
    let mut wrong = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let mut connection = client.connect().await;
        for number in 0..200 {
            let request = client.get("/");
            let request = if number % 4 == 0 { request.header("x-delay", "1") } else { request };
            match connection.try_send(request).await {
                Ok(response) if response.status == 200 => {
                    answered.fetch_add(1, Ordering::Relaxed);
                    // Envoy closes the connections of an old listener after an answer.
                    if response.header("connection").is_some_and(|value| value == "close") {
                        break;
                    }
                }
                Ok(response) => wrong.push(format!("{}: {}", response.status, response.text())),
                Err(error) => {
                    wrong.push(error);
                    break;
                }
            }
        }
    }
    wrong
}

async fn version(envoy: &Envoy, listener: &str) -> Option<String> {
    envoy.listener(listener).get("/").send().await.header(VERSION)
}

/// Replaces the documents of all listeners this number of times, in this time.
async fn update_under_load(updates: usize, time: Duration) {
    let upstream = Upstream::answering("service", |_| sluice_e2e::Answer {
        body: Some("ok"),
        ..sluice_e2e::Answer::default()
    });
    let bootstrap = Bootstrap::new()
        .cluster("service", &[upstream.address()])
        .workers(2)
        .drain_time(Duration::from_secs(2))
        .dynamic_listeners();
    let envoy = Envoy::start(&listeners(0).into_iter().fold(bootstrap, Bootstrap::listener)).await;
    let load = Load::start(&envoy, &WAYS);
    until("the load runs", async || (load.answered() > 1000).then_some(())).await;
    // The first update leaves the memory of a second configuration behind.
    assert!(envoy.update(&listeners(1)).await, "{}", envoy.log());
    let settled = async || (envoy.stat(DRAINING).await == 0).then_some(());
    until("the first listeners have ended", settled).await;
    let memory = async || envoy.resident_memory() >> 20;
    let (vms, before) = (envoy.stat(VMS).await, memory().await);

    let start = Instant::now();
    let pause = time / u32::try_from(updates).unwrap();
    let mut peak = (vms, before);
    for number in 2..updates + 2 {
        assert!(envoy.update(&listeners(number)).await, "{number}: {}", envoy.log());
        peak = (peak.0.max(envoy.stat(VMS).await), peak.1.max(memory().await));
        let next = start + pause * u32::try_from(number - 1).unwrap();
        tokio::time::sleep_until(next.into()).await;
    }
    let took = start.elapsed();
    for way in WAYS {
        until("the last version answers", async || {
            (version(&envoy, way).await == Some((updates + 1).to_string())).then_some(())
        })
        .await;
    }
    until("the old listeners have ended", settled).await;
    until("the VMs are as many as before", async || (envoy.stat(VMS).await == vms).then_some(()))
        .await;
    let (answered, after) = (load.answered(), memory().await);
    load.stop().await;
    assert_eq!(envoy.traps(), [""; 0]);
    println!("{updates} updates of {} listeners in {took:.1?}", WAYS.len());
    println!("requests {answered}, failed 0, traps 0");
    println!("VMs before {vms}, at most {}, after {}", peak.0, envoy.stat(VMS).await);
    println!("memory before {before} MiB, at most {} MiB, after {after} MiB", peak.1);
    assert!(after < before + GROWTH, "{before} MiB before, {after} MiB after");
}

/// The largest growth of Envoy's memory over all updates, in MiB. The allocator keeps some of what
/// the drained listeners have used.
const GROWTH: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_all_documents_change() {
    update_under_load(20, Duration::from_secs(4)).await;
}

/// `make churn`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes"]
async fn long_updates() {
    update_under_load(600, Duration::from_secs(120)).await;
}

/// The name of a filter that Envoy reads from a file (ECDS).
const DISCOVERED: &str = "discovered";
const FILE: &str = "filter.json";

/// Returns a filter that Envoy reads from `FILE` in a folder. It reads it again when a file is
/// moved into the folder.
fn discovered(folder: &Path) -> Value {
    let of = |filter: &str| format!("type.googleapis.com/envoy.extensions.filters.http.{filter}");
    json!({
        "name": DISCOVERED,
        "config_discovery": {
            "config_source": {
                "resource_api_version": "V3",
                "path_config_source": {
                    "path": folder.join(FILE),
                    "watched_directory": { "path": folder },
                },
            },
            "type_urls": [
                of("wasm.v3.Wasm"), of("dynamic_modules.v3.DynamicModuleFilter"),
            ],
        },
    })
}

/// Returns the file with `sluice.wasm`, or with `libsluice.so`.
fn resource(is_native: bool, text: &str) -> String {
    let filter = match is_native {
        true => native("sluice", text),
        false => wasm("sluice", DISCOVERED, text),
    };
    json!({ "resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": DISCOVERED,
        "typed_config": filter["typed_config"],
    }] })
    .to_string()
}

/// Writes a version as the kubelet writes the files of a ConfigMap: into a new folder, which
/// replaces the old one by the rename of a link.
fn mount(folder: &Path, number: usize, text: &str) {
    let new = folder.join(format!("..2026_11_22_{number}"));
    std::fs::create_dir(&new).unwrap();
    std::fs::write(new.join(FILE), text).unwrap();
    let link = folder.join("..data_tmp");
    symlink(new.file_name().unwrap(), &link).unwrap();
    let data = folder.join("..data");
    let old = std::fs::read_link(&data).ok();
    std::fs::rename(link, &data).unwrap();
    let file = folder.join(FILE);
    if !file.is_symlink() {
        symlink(Path::new("..data").join(FILE), file).unwrap();
    }
    if let Some(old) = old {
        std::fs::remove_dir_all(folder.join(old)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_config_map_changes_the_filter_and_a_bad_one_does_not() {
    let upstream = Upstream::echo("service");
    for is_native in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let write = |number: usize, text: &str| {
            mount(folder.path(), number, &resource(is_native, text));
        };
        write(0, &document(0).to_string());
        let edge = Listener::new("edge").first(discovered(folder.path()));
        let bootstrap = Bootstrap::new().cluster("service", &[upstream.address()]).workers(2);
        let envoy = Envoy::start(&bootstrap.listener(edge)).await;
        assert_eq!(version(&envoy, "edge").await.as_deref(), Some("0"), "{}", envoy.log());

        let load = Load::start(&envoy, &["edge"]);
        let mut seen = BTreeSet::new();
        for number in (1..=20).filter(|number| number % 5 != 0) {
            write(number, &document(number).to_string());
            until("the new version answers", async || {
                let version = version(&envoy, "edge").await?;
                (version == number.to_string()).then(|| seen.insert(version))
            })
            .await;
            if number % 5 == 4 {
                let refused = "update_rejected";
                let stat = format!("extension_config_discovery.http_filter.{DISCOVERED}.{refused}");
                let before = envoy.stat(&stat).await;
                write(number + 1, "{\"virtualService\": []}");
                until("Envoy refuses the bad version", async || {
                    (envoy.stat(&stat).await > before).then_some(())
                })
                .await;
                let kept = version(&envoy, "edge").await;
                assert_eq!(kept, Some(number.to_string()), "the old one stays");
            }
        }
        load.stop().await;
        assert_eq!(seen.len(), 16);
        assert_eq!(envoy.traps(), [""; 0]);
    }
}
