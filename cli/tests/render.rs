//! What `sluice render` writes is what it was given, and a real Envoy runs it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// What the command prints for `input` on its standard input.
fn sluice(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_form_holds_the_same_document() {
    let name = ["--cluster-name", "{host}[-{subset}]"];
    for folder in ["render-envoy", "explain-taken", "check-accepted"] {
        let input = fs::read_to_string(root().join("tests/golden").join(folder).join("input.yaml"))
            .unwrap();
        let document = sluice(&[&["render", "-"][..], &name].concat(), &input);
        for form in [
            &["--to", "plugin-json"][..],
            &["--to", "envoy"],
            &["--to", "envoyfilter", "--selector", "app=a"],
            &["--to", "envoyfilter", "--context", "GATEWAY"],
            &[
                "--to",
                "wasmplugin",
                "--filter",
                "fault",
                "--module-url",
                "oci://registry.example.com/fault",
            ],
        ] {
            let arguments = [&["render", "-"][..], &name, form].concat();
            let rendered = sluice(&arguments, &input);
            assert_eq!(rendered, sluice(&arguments, &input), "twice the same");
            sluice(&["check", "-"], &rendered);
            // In a mesh, hosts without rules are left to Istio.
            let found = sluice(&["render", "-"], &rendered);
            let found = found.replace(",\n  \"unmatchedHosts\": \"pass\"", "");
            assert_eq!(found, document, "{folder} {form:?}");
        }
    }
}

/// An upstream that answers every request with its name.
fn upstream(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream, name));
        }
    });
    address
}

fn serve(stream: TcpStream, name: &str) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
        }
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len()).ok()?;
    }
}

/// The response to a request, once the proxy answers at all.
fn get(address: SocketAddr, target: &str, headers: &str) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < end, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    write!(stream, "GET {target} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// An Envoy that ends with the test.
struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn envoy_runs_what_is_rendered() {
    let envoy = std::env::var("ENVOY")
        .unwrap_or_else(|_| root().join("../.tools/envoy").to_string_lossy().into_owned());
    let folder = root().join("tests/golden/explain-taken");
    let input = fs::read_to_string(folder.join("input.yaml")).unwrap();
    let modules =
        fs::canonicalize(root().join("../dist")).expect("modules, from cargo xtask build");
    let module = modules.join("{filter}.wasm");
    let [v1, v2, v3] = ["v1", "v2", "v3"].map(|name| (name, upstream(name)));
    let endpoints =
        [v1, v2, v3].map(|(name, address)| format!("kim-payment-service/{name}={address}"));
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let admin = format!("127.0.0.1:{}", free_port());
    let listen_text = listen.to_string();
    let mut arguments =
        vec!["render", "-", "--to", "envoy", "--module-file", module.to_str().unwrap()];
    arguments.extend(["--listen", &listen_text, "--admin", &admin]);
    endpoints.iter().for_each(|endpoint| arguments.extend(["--endpoint", endpoint.as_str()]));
    let configuration = sluice(&arguments, &input);
    let file = std::env::temp_dir().join(format!("sluice-render-{}.yaml", std::process::id()));
    fs::write(&file, configuration).unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::new(&envoy);
        command
            .args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "error", "-c"])
            .arg(&file);
        command.args(more).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let validated = run(&["--mode", "validate"]).output().expect("Envoy, from make setup");
    assert!(validated.status.success(), "{}", String::from_utf8_lossy(&validated.stderr));

    let running = Envoy(run(&[]).stderr(Stdio::null()).spawn().unwrap());
    let host = "host: kim-payment-service\r\n";
    let body = |target: &str, headers: &str| {
        let response = get(listen, target, &format!("{host}{headers}"));
        response.rsplit("\r\n\r\n").next().unwrap().to_owned()
    };
    assert_eq!(body("/api/x", ""), "v1");
    let start = Instant::now();
    assert_eq!(body("/", "end-user: cheng\r\n"), "v2");
    // Envoy's timers go by a clock that moves in steps, so some milliseconds less are right too.
    assert!(start.elapsed() >= Duration::from_millis(1900), "the delay of two seconds");
    assert!(get(listen, "/old", host).contains("location: http://kim-payment-service/new\r\n"));
    assert!(get(listen, "/other", host).starts_with("HTTP/1.1 404"));
    drop(running);
    let _ = fs::remove_file(&file);
}
