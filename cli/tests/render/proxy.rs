//! Rendered Envoys, and the upstreams that they have.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The folder of this package.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The output of the command for `input` on its standard input.
pub fn sluice(arguments: &[&str], input: &str) -> String {
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

/// The channel on which upstreams report each request by their name.
pub type Calls = mpsc::Sender<&'static str>;

/// An upstream that answers every request with a status and its name, also in a header.
pub fn upstream(name: &'static str, status: u16, calls: Calls) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let calls = calls.clone();
            std::thread::spawn(move || serve(stream, name, status, &calls));
        }
    });
    address
}

fn serve(stream: TcpStream, name: &'static str, status: u16, calls: &Calls) -> Option<()> {
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
        let _ = calls.send(name);
        let length = name.len();
        let headers = format!("content-length: {length}\r\nx-health: {name}");
        write!(stream, "HTTP/1.1 {status} X\r\n{headers}\r\n\r\n{name}").ok()?;
    }
}

/// An upstream that answers the first bytes of a connection with its name.
pub fn raw_upstream(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(name.as_bytes());
        }
    });
    address
}

/// The response to a request, as soon as the proxy accepts connections.
pub fn get(address: SocketAddr, target: &str, headers: &str) -> String {
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

/// An Envoy that ends with the test, and its configuration file.
pub struct Envoy {
    process: Child,
    /// Its configuration
    pub file: PathBuf,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.file);
    }
}

/// A port that is not in use.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs Envoy with the rendered configuration for `input`, after it has validated it. Returns the
/// addresses for HTTP and for TLS.
pub fn run(name: &str, input: &str, endpoints: &[(&str, SocketAddr)]) -> (Envoy, [SocketAddr; 2]) {
    run_with(name, input, endpoints, &[])
}

/// The same with further arguments.
pub fn run_with(
    name: &str,
    input: &str,
    endpoints: &[(&str, SocketAddr)],
    more: &[&str],
) -> (Envoy, [SocketAddr; 2]) {
    let envoy = std::env::var("ENVOY")
        .unwrap_or_else(|_| root().join("../.tools/envoy").to_string_lossy().into_owned());
    let modules =
        fs::canonicalize(root().join("../dist")).expect("modules, from make build module");
    let module = modules.join("{filter}.wasm");
    let listeners = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let [http, tls] = listeners.map(|address| address.to_string());
    let admin = format!("127.0.0.1:{}", free_port());
    let endpoints: Vec<_> =
        endpoints.iter().map(|(place, address)| format!("{place}={address}")).collect();
    let mut arguments =
        vec!["render", "-", "--to", "envoy", "--module-file", module.to_str().unwrap()];
    arguments.extend(["--listen", &http, "--listen-tls", &tls, "--admin", &admin]);
    endpoints.iter().for_each(|endpoint| arguments.extend(["--endpoint", endpoint.as_str()]));
    arguments.extend(more);
    let library = modules.join("libsluice.so");
    if more.contains(&"native") {
        arguments.extend(["--native-file", library.to_str().unwrap()]);
    }
    let configuration = sluice(&arguments, input);
    let file = format!("sluice-render-{name}-{}.yaml", std::process::id());
    let file = std::env::temp_dir().join(file);
    fs::write(&file, configuration).unwrap();
    let command = |more: &[&str]| {
        let mut command = Command::new(&envoy);
        command
            .args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "error", "-c"])
            .arg(&file);
        command.args(more).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let validated = command(&["--mode", "validate"]).output().expect("Envoy, from make setup");
    assert!(validated.status.success(), "{}", String::from_utf8_lossy(&validated.stderr));
    let process = command(&[]).stderr(Stdio::null()).spawn().unwrap();
    (Envoy { process, file }, listeners)
}

/// The body of the response.
pub fn body(address: SocketAddr, host: &str, target: &str, headers: &str) -> String {
    let response = get(address, target, &format!("host: {host}\r\n{headers}"));
    response.rsplit("\r\n\r\n").next().unwrap().to_owned()
}
