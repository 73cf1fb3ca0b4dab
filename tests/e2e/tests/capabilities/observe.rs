//! What can be seen of a variant from outside.

use std::time::Duration;

use sluice_e2e::{Client, Envoy, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::variants::{Variant, counters};

/// How long to wait for what has to come.
const LONG: Duration = Duration::from_secs(30);

/// How long to wait for what comes at once, unless it waits for a call that is denied.
const SHORT: Duration = Duration::from_secs(1);

/// How long to wait until the next look.
const STEP: Duration = Duration::from_millis(10);

/// Headers whose values differ from request to request.
const VARIABLE: [&str; 4] =
    ["date", "x-request-id", "x-envoy-upstream-service-time", "x-envoy-expected-rq-timeout-ms"];

/// What is seen of a variant.
pub struct Observer<'a> {
    pub envoy: &'a Envoy,
    pub variant: &'a Variant,
    pub seen: Vec<String>,
}

impl<'a> Observer<'a> {
    pub fn new(envoy: &'a Envoy, variant: &'a Variant) -> Self {
        Self { envoy, variant, seen: Vec::new() }
    }

    fn limit(&self) -> Duration {
        if self.variant.is_whole() { LONG } else { SHORT }
    }

    /// Sends a GET request with this path, and sees its response and the access log.
    pub async fn get(&mut self, path: &str) {
        self.send("GET", path, &[]).await;
    }

    /// Sends a request, and sees its response and the access log. Digits at the end of a path only
    /// make it unique.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let response = self.respond(method, path, headers).await;
        let what = path.trim_end_matches(|digit: char| digit.is_ascii_digit());
        self.see(what, &response);
        self.see_access_log(what, &self.own(path)).await;
    }

    /// Sends a request and returns its response.
    pub async fn respond(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let client = self.envoy.listener(self.variant.name);
        let request = client.request(method.parse().expect("a method"), &self.own(path));
        let request = request.host("a.example.com");
        let request = headers.iter().fold(request, |request, (name, value)| match *name {
            "host" => request.host(value),
            _ => request.header(name, value),
        });
        let response = self.answer(&client, request).await;
        response.replace(&self.own(""), "")
    }

    /// A path of this variant alone, so that it is in the access log once.
    fn own(&self, path: &str) -> String {
        format!("{path}?{}", self.variant.name)
    }

    /// Sees the entry of the access log with the path `own`.
    async fn see_access_log(&mut self, path: &str, own: &str) {
        let mut entry = self.envoy.access_log(own).await;
        entry["path"].take();
        self.see(path, &entry.to_string());
    }

    /// Sees whether the log has a text soon.
    pub async fn log(&mut self, what: &str, text: &str) {
        let is_logged = async || {
            while !self.envoy.log().contains(text) {
                tokio::time::sleep(STEP).await;
            }
        };
        let outcome = match tokio::time::timeout(self.limit(), is_logged()).await {
            Ok(()) => "logged",
            Err(_) => "not logged",
        };
        self.see(what, outcome);
    }

    /// Sees an outcome.
    pub fn see(&mut self, what: &str, outcome: &str) {
        self.seen.push(format!("{what}: {outcome}"));
    }

    /// Sends bytes to the TCP listener `kind` of the variant, and sees the answer. The connection
    /// stays open for writing.
    pub async fn talk(&mut self, kind: &str, what: &str, bytes: &[u8]) {
        let address = self.envoy.listener(&self.variant.tcp_name(kind)).address();
        let mut answer = Vec::new();
        let talk = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(bytes).await?;
            stream.read_to_end(&mut answer).await
        };
        let end = match tokio::time::timeout(self.limit(), talk).await {
            Ok(_) => "closed",
            Err(_) => "open",
        };
        self.see(what, &format!("{:?} {end}", String::from_utf8_lossy(&answer)));
    }

    /// Calls `requests`, and then sees by how much they have changed the counters and how often the
    /// log has the notice of the document. `awaited` are counters that change later.
    pub async fn count(&mut self, awaited: &[&str], requests: impl AsyncFnOnce(&mut Self)) {
        let before = counters(self.envoy).await;
        requests(self).await;
        let deadline = tokio::time::Instant::now() + self.limit();
        let mut changes;
        loop {
            changes = counters(self.envoy).await;
            for (name, value) in &mut changes {
                *value -= before.get(name).copied().unwrap_or_default();
            }
            let is_there = awaited.iter().all(|name| changes.get(*name).is_some_and(|by| *by > 0));
            if is_there || tokio::time::Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(STEP).await;
        }
        // Gauges of what is active change later too.
        changes.retain(|name, by| *by != 0 && !name.contains("active"));
        self.seen.extend(changes.iter().map(|(name, by)| format!("{name}: {by:+}")));
        self.seen.push(format!("{} notices", self.variant.notices(&self.envoy.log())));
    }

    /// The response to a request, with what an upstream that echoes says of it.
    async fn answer(&self, client: &Client, request: Request) -> String {
        let mut connection = client.connect().await;
        match tokio::time::timeout(self.limit(), connection.try_send(request)).await {
            Ok(Ok(response)) => shown(&response),
            Ok(Err(_)) => "broken off".to_owned(),
            Err(_) => "no response".to_owned(),
        }
    }
}

fn shown(response: &Response) -> String {
    let headers = response.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let mut shown = format!("{} {}", response.status, list(headers));
    match serde_json::from_slice::<serde_json::Value>(&response.body) {
        Ok(echo) if echo["headers"].is_array() => {
            let headers = echo["headers"].as_array().into_iter().flatten();
            let headers = headers.filter_map(|pair| Some((pair[0].as_str()?, pair[1].as_str()?)));
            let headers = list(headers.map(|(name, value)| (name, value.as_bytes())));
            shown.push_str(&format!(" from {} {headers}", echo["upstream"]));
        }
        _ => shown.push_str(&format!(" {:?}", response.text())),
    }
    shown
}

/// Headers without those that differ from request to request.
fn list<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let headers = headers.filter(|(name, _)| !VARIABLE.contains(name));
    let mut headers: Vec<_> = headers
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .filter(|line| !line.starts_with("content-length: "))
        .collect();
    headers.sort();
    format!("{headers:?}")
}
