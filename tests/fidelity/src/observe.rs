//! What a client and the upstreams see of a request.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sluice_e2e::{Answer, Client, Connection, Received, Response};

use crate::case::Sent;

/// Header with the id of a request, by which its arrivals at the upstreams are found.
pub const ID: &str = "x-test-id";

/// All values of each header, in order, with escapes for bytes that are not ASCII.
pub type Headers = BTreeMap<String, Vec<String>>;

/// The result of a request.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Status of the response; 0 if there is none
    pub status: u16,
    /// Headers of the response
    pub headers: Headers,
    /// Body of the response, with escapes
    pub body: String,
    /// Time to the end of the response
    pub elapsed: Duration,
    /// The requests that upstreams received, also copies and retries, sorted
    pub arrivals: Vec<Arrival>,
}

/// A request at an upstream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// The name of the upstream
    pub upstream: String,
    /// The method
    pub method: String,
    /// The host
    pub host: String,
    /// Path and query
    pub target: String,
    /// The headers
    pub headers: Headers,
    /// The body
    pub body: String,
}

/// Sends a request with this id and returns what the client sees.
pub async fn see(
    client: &Client,
    connection: &mut Option<Connection>,
    sent: &Sent,
    id: &str,
) -> Seen {
    let method = sent.method.parse().expect("a method");
    let mut request = client.request(method, &sent.target()).host(&sent.host);
    for (name, value) in &sent.headers {
        request = request.header(name, value);
    }
    request = request.header(ID, id).body(sent.body.clone());
    // Envoy closes the connection after some of its own responses. An id of its own shows arrivals
    // of the first try.
    if let Some(open) = connection
        && let Ok(response) = open.try_send(request.clone()).await
    {
        return seen(response);
    }
    let mut new = client.connect().await;
    let response = new.try_send(request).await;
    *connection = Some(new);
    match response {
        Ok(response) => seen(response),
        Err(error) => Seen { body: error, ..Seen::default() },
    }
}

fn seen(response: Response) -> Seen {
    Seen {
        status: response.status,
        headers: all(response.headers.iter().map(|(name, own)| (name.as_str(), own.as_bytes()))),
        body: response.body.escape_ascii().to_string(),
        elapsed: response.elapsed,
        arrivals: Vec::new(),
    }
}

/// The arrival of a request, with its id.
pub fn arrival(upstream: &str, received: Received) -> Option<(String, Arrival)> {
    let id = received.header(ID).pop()?;
    let headers = received.headers.iter().map(|(name, own)| (name.as_str(), own.as_bytes()));
    let arrival = Arrival {
        upstream: upstream.to_owned(),
        method: received.method,
        host: received.host,
        target: received.path,
        headers: all(headers),
        body: received.body.escape_ascii().to_string(),
    };
    Some((id, arrival))
}

fn all<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Headers {
    let mut all = Headers::new();
    for (name, value) in headers {
        all.entry(name.to_owned()).or_default().push(value.escape_ascii().to_string());
    }
    all
}

/// The answer of an upstream: with the status and the delay that the client asked for, and with
/// headers that rules edit.
pub fn answer(received: &Received) -> Answer {
    let number = |name: &str| received.header(name).first().and_then(|own| own.parse().ok());
    Answer {
        status: number("x-test-status").unwrap_or(200) as u16,
        delay: Duration::from_millis(number("x-test-delay").unwrap_or_default()),
        headers: vec![
            ("server", "upstream"),
            ("x-both", "upstream"),
            ("x-both", "twice"),
            ("x-gone", "upstream"),
            ("x-added", "upstream"),
            ("x-both-destination", "upstream"),
            ("access-control-allow-origin", "upstream"),
        ],
        body: Some("body of an upstream"),
    }
}

impl Seen {
    /// The values of a response header, joined.
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|values| values.join(",")).unwrap_or_default()
    }

    /// It as lines.
    pub fn show(&self) -> String {
        let mut text = format!("{}\n", self.status);
        show_headers(&mut text, "", &self.headers);
        if !self.body.is_empty() {
            let _ = writeln!(text, "{}", shortened(&self.body));
        }
        for own in &self.arrivals {
            let Arrival { upstream, method, host, target, .. } = own;
            let _ = writeln!(text, "  at {upstream}: {method} {target}\n    host: {host}");
            show_headers(&mut text, "    ", &own.headers);
            if !own.body.is_empty() {
                let _ = writeln!(text, "    {}", shortened(&own.body));
            }
        }
        text
    }
}

fn show_headers(text: &mut String, indent: &str, headers: &Headers) {
    for (name, values) in headers {
        for value in values {
            let _ = writeln!(text, "{indent}{name}: {value}");
        }
    }
}

fn shortened(body: &str) -> String {
    match body.len() {
        0..=100 => body.to_owned(),
        length => format!("{}... ({length} bytes)", &body[..60]),
    }
}
