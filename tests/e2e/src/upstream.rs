//! A service behind Envoy that echoes and records requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

use crate::wait::until;

/// An HTTP/1.1 and HTTP/2 service on a free port of the loopback device. It serves until it is
/// dropped or [stopped](Self::stop).
///
/// By default it answers 200 with the request as JSON:
/// `{"upstream": NAME, "method": ..., "path": ..., "headers": [[name, value], ...], "body": ...}`,
/// where bytes that are not UTF-8 are shown as U+FFFD.
pub struct Upstream {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    server: JoinHandle<()>,
}

/// A request that the upstream received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The request target, with the query.
    pub path: String,
    /// The host, from the header or the pseudo-header.
    pub host: String,
    /// The headers, with the unchanged bytes of the values.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Response of an upstream.
#[derive(Clone, Default)]
pub struct Answer {
    /// The status; 0 means 200.
    pub status: u16,
    /// Headers of the response.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Delay of the response.
    pub delay: Duration,
    /// The body; the echo if absent.
    pub body: Option<&'static str>,
}

impl Upstream {
    /// A service that echoes.
    pub fn echo(name: &str) -> Self {
        Self::answering(name, |_| Answer::default())
    }

    /// A service that echoes with the given status.
    pub fn status(name: &str, status: u16) -> Self {
        Self::answering(name, move |_| Answer { status, ..Answer::default() })
    }

    /// A service that echoes after a delay.
    pub fn slow(name: &str, delay: Duration) -> Self {
        Self::answering(name, move |_| Answer { delay, ..Answer::default() })
    }

    /// A service with the responses of `answer`.
    pub fn answering(
        name: &str,
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), name, answer)
    }

    /// A service at this address, for example the address of a dropped one.
    pub fn at(
        address: SocketAddr,
        name: &str,
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let service = Arc::new(Service {
            name: name.to_owned(),
            received: received.clone(),
            answer: Box::new(answer),
        });
        let socket = std::net::TcpListener::bind(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let server = runtime().spawn(serve(socket, service));
        Self { address, received, server }
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes its connections and refuses new ones.
    pub async fn stop(&self) {
        self.server.abort();
        let address = self.address;
        until("the upstream refuses connections", async || {
            TcpStream::connect(address).await.is_err().then_some(())
        })
        .await;
    }

    /// Returns the requests whose path begins with `prefix`, in the order of arrival.
    pub fn received(&self, prefix: &str) -> Vec<Received> {
        let all = self.received.lock().unwrap();
        all.iter().filter(|request| request.path.starts_with(prefix)).cloned().collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Received {
    /// Returns all values of a header, as text.
    pub fn header(&self, name: &str) -> Vec<String> {
        self.headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }

    fn to_json(&self, upstream: &str) -> Value {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
            .collect();
        json!({
            "upstream": upstream,
            "method": self.method,
            "path": self.path,
            "headers": headers,
            "body": String::from_utf8_lossy(&self.body),
        })
    }
}

struct Service {
    name: String,
    received: Arc<Mutex<Vec<Received>>>,
    answer: Box<dyn Fn(&Received) -> Answer + Send + Sync>,
}

/// Each test has its own runtime, but tests share upstreams. So upstreams run in a separate
/// runtime.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    })
}

async fn serve(socket: std::net::TcpListener, service: Arc<Service>) {
    let socket = TcpListener::from_std(socket).unwrap();
    // Dropping the upstream drops this and closes all connections.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = socket.accept().await {
        let service = service.clone();
        connections.spawn(async move {
            let handler = service_fn(|request| handle(request, service.clone()));
            // An error means that Envoy closed the connection, as it does after a timeout.
            let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            server.http1().max_headers(1000);
            let _ = server.serve_connection(TokioIo::new(stream), handler).await;
        });
    }
}

async fn handle(
    request: hyper::Request<Incoming>,
    service: Arc<Service>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let host = head.headers.get("host").map(|host| String::from_utf8_lossy(host.as_bytes()));
    let host = host.map(Into::into).or(head.uri.authority().map(ToString::to_string));
    let received = Received {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or(head.uri.to_string(), ToString::to_string),
        host: host.unwrap_or_default(),
        headers: head.headers,
        body: body.collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
    };
    let answer = (service.answer)(&received);
    let echo = || received.to_json(&service.name).to_string();
    let body = answer.body.map_or_else(echo, str::to_owned);
    service.received.lock().unwrap().push(received);
    tokio::time::sleep(answer.delay).await;

    let mut response = hyper::Response::new(Full::from(body));
    if answer.status != 0 {
        *response.status_mut() = answer.status.try_into().unwrap();
    }
    for (name, value) in answer.headers {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        response.headers_mut().append(name, value);
    }
    Ok(response)
}
