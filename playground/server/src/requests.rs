//! Requests to the sandbox, and what came back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::secret::Secret;

/// The maximum number of requests at the same time.
pub const MAX_REQUESTS: u32 = 50;

/// The time after which a request has no answer. The longest delay of the sandbox is 10 s.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The characters of a body that are shown.
const SHOWN: usize = 40;

/// Requests to send at the same time.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batch {
    method: String,
    host: String,
    path: String,
    /// Headers, each as `NAME: VALUE`
    headers: Vec<String>,
    /// The header with the user's name; empty if all requests are equal
    user_header: String,
    /// The number of the first user
    first: u32,
    /// How many requests, at most [`MAX_REQUESTS`]
    count: u32,
}

/// What came back.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// The numbers of answers by version and status, or by status and text
    destinations: BTreeMap<String, u64>,
    /// The numbers of answers to requests with a fault, by fault
    effects: BTreeMap<String, u64>,
    /// The answer to the last request, if Envoy has explained it
    #[serde(skip)]
    pub last: Option<Last>,
}

/// The answer to the last of several requests.
#[derive(Debug, PartialEq, Eq)]
pub struct Last {
    /// The name of the answer among the destinations
    pub label: String,
    /// The headers with the explanations of the filters, one per line
    pub explanation: String,
}

impl Batch {
    /// Sends the requests to this address, each on its own connection. The last one is explained,
    /// if there is a secret for it.
    ///
    /// # Errors
    /// A part of the requests cannot be sent as HTTP, or there are too many.
    pub async fn send(&self, edge: SocketAddr, secret: Option<&Secret>) -> Result<Answers> {
        ensure!(self.path.starts_with('/'), "the path must start with /");
        let known = 1..=MAX_REQUESTS;
        ensure!(known.contains(&self.count), "count must be in the range 1 to {MAX_REQUESTS}");
        let mut running = JoinSet::new();
        for number in 1..=self.count {
            let mut request = self.request(self.first.saturating_add(number - 1))?;
            let secret = secret.filter(|_| number == self.count);
            if let Some(secret) = secret {
                let name = HeaderName::try_from(&secret.header)?;
                request.headers_mut().insert(name, secret.value.parse()?);
            }
            let header = secret.map(|own| own.header.clone());
            running.spawn(async move {
                let answer = tokio::time::timeout(TIMEOUT, send(edge, request)).await;
                (answer.ok().and_then(Result::ok), header)
            });
        }
        let mut answers = Answers::default();
        while let Some(answer) = running.join_next().await {
            let (answer, header) = answer.unwrap_or_default();
            answers.add(answer, header.as_deref());
        }
        Ok(answers)
    }

    fn request(&self, user: u32) -> Result<Request<Empty<Bytes>>> {
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.path);
        request = request.header(HOST, &self.host);
        for header in &self.headers {
            let (name, value) = header.split_once(':').context("a header must be NAME: VALUE")?;
            if !name.trim().eq_ignore_ascii_case(&self.user_header) {
                request = request.header(name.trim(), value.trim());
            }
        }
        if !self.user_header.is_empty() {
            request = request.header(&self.user_header, format!("user-{user}"));
        }
        request.body(Empty::new()).context("the request is not HTTP")
    }
}

impl Answers {
    /// Adds an answer. `header` has the explanations of the last one.
    fn add(&mut self, answer: Option<Response<Bytes>>, header: Option<&str>) {
        let label = answer.as_ref().map_or("no answer".to_owned(), label);
        if let (Some(answer), Some(header)) = (&answer, header) {
            let values = answer.headers().get_all(header).iter();
            let lines: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
            let explanation = lines.join("\n");
            self.last = Some(Last { label: label.clone(), explanation });
        }
        *self.destinations.entry(label).or_default() += 1;
        let fault = answer.as_ref().and_then(|own| own.headers().get("x-sluice-fault"));
        if let Some(fault) = fault {
            let label = format!("fault: {}", String::from_utf8_lossy(fault.as_bytes()));
            *self.effects.entry(label).or_default() += 1;
        }
    }
}

/// The version in an answer of the services with its status, or else the status with the start of
/// the text.
fn label(answer: &Response<Bytes>) -> String {
    let status = answer.status().as_u16();
    let text = String::from_utf8_lossy(answer.body());
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    let number = |word: &str| word.strip_prefix('v').map(|own| own.parse::<u8>().is_ok());
    let mut versions = words.filter(|word| number(word) == Some(true));
    let line: String = text.lines().next().unwrap_or_default().chars().take(SHOWN).collect();
    match versions.next() {
        Some(version) => format!("{version}, {status}"),
        None => format!("{status} {line}").trim_end().to_owned(),
    }
}

async fn send(to: SocketAddr, request: Request<Empty<Bytes>>) -> Result<Response<Bytes>> {
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(parts, body))
}

/// Sends a GET request. Returns the body.
///
/// # Errors
/// There is no answer, or its status is not 200.
pub async fn get(from: SocketAddr, path: &str) -> Result<Bytes> {
    let request = Request::builder().uri(path).header(HOST, "127.0.0.1").body(Empty::new())?;
    let answer = tokio::time::timeout(TIMEOUT, send(from, request)).await??;
    ensure!(answer.status() == 200, "{path} is answered with {}", answer.status());
    Ok(answer.into_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn answers_are_named_by_version_or_text() {
        for (status, body, expected) in [
            (200, r#"{"code":200,"data":"Hello v2, cheng!, id: 1"}"#, "v2, 200"),
            (503, "v2 is sick\n", "v2, 503"),
            (500, "fault filter abort", "500 fault filter abort"),
            (204, "", "204"),
            (200, "vary v\nv1", "v1, 200"),
            (
                404,
                "very long text that is cut off after some characters",
                "404 very long text that \
                is cut off after som",
            ),
        ] {
            assert_eq!(label(&answer(status, body)), expected);
        }
    }

    #[test]
    fn faults_are_counted() {
        let mut answers = Answers::default();
        let mut own = answer(500, "fault filter abort");
        own.headers_mut().insert("x-sluice-fault", "abort".parse().unwrap());
        answers.add(Some(own), None);
        answers.add(None, Some("x-why"));
        let destinations = [("500 fault filter abort".to_owned(), 1), ("no answer".to_owned(), 1)];
        let effects = [("fault: abort".to_owned(), 1)];
        let (destinations, effects) = (destinations.into(), effects.into());
        assert_eq!(answers, Answers { destinations, effects, last: None });
    }

    #[test]
    fn the_last_answer_has_its_explanations() {
        let mut answers = Answers::default();
        let mut own = answer(200, "v1");
        own.headers_mut().append("x-why", "{\"fault\":{}}".parse().unwrap());
        own.headers_mut().append("x-why", "{\"router\":{}}".parse().unwrap());
        answers.add(Some(own), Some("x-why"));
        answers.add(Some(answer(200, "v2")), None);
        let explanation = "{\"fault\":{}}\n{\"router\":{}}".to_owned();
        assert_eq!(answers.last, Some(Last { label: "v1, 200".to_owned(), explanation }));
    }

    #[test]
    fn each_request_has_its_user() {
        let batch: Batch = serde_json::from_str(
            r#"{"method": "GET", "host": "a.com", "path": "/x", "headers": ["End-User: cheng",
            "fail: yes"], "userHeader": "end-user", "first": 5, "count": 1}"#,
        )
        .unwrap();
        let request = batch.request(7).unwrap();
        let headers = request.headers().iter();
        let shown: Vec<_> =
            headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(shown, [("host", "a.com"), ("fail", "yes"), ("end-user", "user-7")]);
        let equal = Batch { user_header: String::new(), ..batch.clone() };
        assert_eq!(equal.request(7).unwrap().headers()["end-user"], "cheng");
        assert!(Batch { headers: vec!["x".to_owned()], ..batch.clone() }.request(0).is_err());
        assert!(Batch { path: "/ x".to_owned(), ..batch }.request(0).is_err());
    }

    #[tokio::test]
    async fn wrong_batches_are_refused() {
        let batch = |path: &str, count: u32| Batch {
            method: "GET".to_owned(),
            host: "a.com".to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            user_header: String::new(),
            first: 0,
            count,
        };
        for (path, count) in [("x", 1), ("/", 0), ("/", MAX_REQUESTS + 1)] {
            let answers = batch(path, count).send(([127, 0, 0, 1], 1).into(), None).await;
            assert!(answers.is_err(), "{path} {count}");
        }
    }
}
