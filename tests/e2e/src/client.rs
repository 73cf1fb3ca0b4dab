//! The client in front of Envoy.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// One listener of an Envoy.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    http2: bool,
    destination_port: Option<u16>,
    source_address: Option<Ipv4Addr>,
}

/// A request under construction: GET, host `example.com`, no other header.
#[derive(Clone)]
pub struct Request {
    client: Client,
    method: Method,
    target: Uri,
    host: String,
    headers: HeaderMap,
    body: Bytes,
}

/// One connection to a listener, for many requests.
pub struct Connection(Sender);

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A response, complete.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Time from the request (or from the connection, if it is a new one) to the last byte.
    pub elapsed: Duration,
}

impl Client {
    /// A client of the listener at `address`, with HTTP/1.1.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, http2: false, destination_port: None, source_address: None }
    }

    /// Uses HTTP/2 without TLS instead.
    pub fn http2(self) -> Self {
        Self { http2: true, ..self }
    }

    /// Whether it uses HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// Sends a PROXY protocol line with the destination port `port`. The listener must have
    /// [`proxy_protocol`](crate::Listener::proxy_protocol).
    pub fn destination_port(self, port: u16) -> Self {
        Self { destination_port: Some(port), ..self }
    }

    /// Sends a PROXY protocol line with the source address `address`, with the same requirement on
    /// the listener.
    pub fn source_address(self, address: Ipv4Addr) -> Self {
        Self { source_address: Some(address), ..self }
    }

    /// Returns the address of the listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Creates a GET request for `target`, a path with an optional query.
    pub fn get(&self, target: &str) -> Request {
        self.request(Method::GET, target)
    }

    /// Creates a request.
    pub fn request(&self, method: Method, target: &str) -> Request {
        Request {
            client: self.clone(),
            method,
            target: target.parse().unwrap_or_else(|_| panic!("invalid target: {target}")),
            host: "example.com".to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Opens a connection for several requests.
    ///
    /// # Panics
    /// If nothing listens there.
    pub async fn connect(&self) -> Connection {
        self.try_connect().await.unwrap()
    }

    /// The same, or why there is no connection.
    pub async fn try_connect(&self) -> std::io::Result<Connection> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        if self.destination_port.is_some() || self.source_address.is_some() {
            let port = self.destination_port.unwrap_or(self.address.port());
            let source = self.source_address.unwrap_or(Ipv4Addr::LOCALHOST);
            let line = format!("PROXY TCP4 {source} 127.0.0.1 40000 {port}\r\n");
            stream.write_all(line.as_bytes()).await?;
        }
        let stream = TokioIo::new(stream);
        Ok(Connection(if self.http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
                .await
                .map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) =
                http1::handshake(stream).await.map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            Sender::Http1(sender)
        }))
    }
}

impl Request {
    /// Sets the host, with or without a port.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// Appends a header; the value may contain all bytes above 0x1f except 0x7f.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName =
            name.parse().unwrap_or_else(|_| panic!("invalid header name: {name}"));
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a value that hyper can send");
        self.headers.append(name, value);
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request on a new connection.
    ///
    /// # Panics
    /// If there is no complete response within 20 seconds.
    pub async fn send(self) -> Response {
        let start = Instant::now();
        let mut connection = self.client.connect().await;
        let response = connection.send(self).await;
        Response { elapsed: start.elapsed(), ..response }
    }

    /// Returns the request as HTTP/1.1 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nhost: {}\r\n", self.method, self.target, self.host)
                .into_bytes();
        for (name, value) in &self.headers {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        if !self.body.is_empty() {
            bytes.extend(format!("content-length: {}\r\n", self.body.len()).into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }

    fn into_hyper(self) -> hyper::Request<Full<Bytes>> {
        let mut request = hyper::Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.headers_mut() = self.headers;
        if self.client.http2 {
            // In HTTP/2, hyper sets the pseudo-header :authority from the target.
            *request.version_mut() = Version::HTTP_2;
            let target = format!("http://{}{}", self.host, self.target);
            *request.uri_mut() = target.parse().unwrap();
        } else {
            *request.uri_mut() = self.target;
            request.headers_mut().insert(HOST, HeaderValue::from_str(&self.host).unwrap());
        }
        request
    }
}

impl Connection {
    /// Returns another handle of the connection, for concurrent requests.
    ///
    /// # Panics
    /// If it is not an HTTP/2 connection.
    pub fn share(&self) -> Self {
        match &self.0 {
            Sender::Http1(_) => panic!("HTTP/1.1 has no concurrent requests"),
            Sender::Http2(sender) => Self(Sender::Http2(sender.clone())),
        }
    }

    /// Sends a request and waits for the complete response.
    ///
    /// # Panics
    /// If there is none within 20 seconds, or the connection breaks.
    pub async fn send(&mut self, request: Request) -> Response {
        self.try_send(request).await.unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// Sends a request and waits for the complete response, or returns the reason of the failure.
    pub async fn try_send(&mut self, request: Request) -> Result<Response, String> {
        let start = Instant::now();
        let described = format!("{} {} at {}", request.method, request.target, request.host);
        let request = request.into_hyper();
        let talk = async {
            let response = match &mut self.0 {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Response {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
                elapsed: start.elapsed(),
            })
        };
        match tokio::time::timeout(Duration::from_secs(20), talk).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                let error: hyper::Error = error;
                Err(format!("{described}: {error:?}"))
            }
            Err(_) => Err(format!("{described}: no response for 20 s")),
        }
    }
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON. The message contains it.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("status {}, body {:?}", self.status, self.text()))
    }

    /// Returns the values of a header, joined like in Envoy.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut values = self.headers.get_all(name).iter().peekable();
        values.peek()?;
        let values: Vec<_> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        Some(values.join(","))
    }

    /// Asserts the duration. The lower bound is exact except for the few milliseconds by which
    /// Envoy's clock may lag; the upper bound has a margin for busy machines.
    ///
    /// # Panics
    /// If the duration is out of bounds.
    pub fn assert_took(&self, bounds: std::ops::Range<Duration>) {
        let lag = Duration::from_millis(10);
        let bounds = bounds.start - lag..bounds.end;
        assert!(bounds.contains(&self.elapsed), "{:?} is not in {bounds:?}", self.elapsed);
    }

    /// Returns the cluster of the request; `None` if Envoy did not forward it.
    pub fn cluster(&self) -> Option<String> {
        self.header("x-test-cluster").filter(|cluster| cluster != "-")
    }

    /// Returns the name of the [`Upstream`](crate::Upstream) that answered.
    pub fn upstream(&self) -> String {
        assert_eq!(self.status, 200, "{:?}", self.text());
        self.json()["upstream"].as_str().expect("an echo").to_owned()
    }
}
