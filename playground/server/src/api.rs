//! The answers to the page: its files, and with the token the rules, requests and counters.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use sluice_cli::page;

use crate::requests::Batch;
use crate::sandbox::hosts;
use crate::updates::{Current, Rules};

/// The maximum length of a request's body, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The path of the page.
const PAGE: &str = "/playground/";

/// What the page gets.
pub struct Api {
    /// The files by their names
    files: HashMap<String, Bytes>,
    token: String,
    rules: Rules,
}

impl Api {
    /// Serves the files of a folder. All else requires `token`.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn new(folder: &Path, token: String, rules: Rules) -> Result<Self> {
        let mut files = HashMap::new();
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            files.insert(name.to_owned(), Bytes::from(fs::read(&path)?));
        }
        Ok(Self { files, token, rules })
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !self.is_local(request.headers()) {
            return fail(StatusCode::MISDIRECTED_REQUEST, "this host is not served");
        }
        let path = request.uri().path().to_owned();
        if path == "/" {
            return respond(StatusCode::FOUND, None, Bytes::new(), Some(PAGE));
        }
        match path.strip_prefix(PAGE).map(|own| own.strip_prefix("api/").ok_or(own)) {
            Some(Ok(_)) if !self.has_token(request.headers()) => {
                fail(StatusCode::UNAUTHORIZED, "open the address that make sandbox prints")
            }
            Some(Ok(name)) => self.call(name, request).await,
            Some(Err(name)) if request.method() == Method::GET => self.file(name),
            _ => fail(StatusCode::NOT_FOUND, "there is no such file"),
        }
    }

    /// Returns whether a request names a host of the page, with any port.
    fn is_local(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        hosts(self.rules.edge().ip()).iter().any(|own| own == name)
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|own| own.to_str().ok());
        given.and_then(|own| own.strip_prefix("Bearer ")) == Some(&self.token)
    }

    fn file(&self, name: &str) -> Response<Full<Bytes>> {
        let name = if name.is_empty() { "index.html" } else { name };
        let kind = match name.rsplit_once('.') {
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        };
        match self.files.get(name) {
            Some(content) => respond(StatusCode::OK, Some(kind), content.clone(), None),
            None => fail(StatusCode::NOT_FOUND, "there is no such file"),
        }
    }

    async fn call<B>(&self, name: &str, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let method = request.method().clone();
        let body = match Limited::new(request.into_body(), MAX_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return fail(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let answer = match (method.as_str(), name) {
            ("GET", "rules") => Ok(json!({"rules": self.rules.current().await.rules})),
            ("PUT", "rules") => self.replace(&body).await,
            ("POST", "requests") => self.send(&body).await,
            ("GET", "counters") => self.counters().await,
            _ => return fail(StatusCode::NOT_FOUND, "there is no such call"),
        };
        match answer {
            Ok(answer) => json_answer(StatusCode::OK, &answer),
            Err(error) => fail(StatusCode::UNPROCESSABLE_ENTITY, &format!("{error:#}")),
        }
    }

    async fn replace(&self, body: &[u8]) -> Result<Value> {
        self.rules.replace(std::str::from_utf8(body)?).await?;
        Ok(json!({}))
    }

    async fn send(&self, body: &[u8]) -> Result<Value> {
        let batch: Batch = serde_json::from_slice(body)?;
        let Current { rules, secret } = self.rules.current().await;
        let answers = batch.send(self.rules.edge(), secret.as_ref()).await?;
        let mut answer = serde_json::to_value(&answers)?;
        if let Some(last) = answers.last
            && let Ok(explained) = page::explain_answer(&rules, &last.explanation)
            && let Some(fields) = answer.as_object_mut()
        {
            let places: Value = serde_json::from_str(&explained.json)?;
            let last = json!({
                "label": last.label,
                "rules": rules,
                "text": explained.text,
                "explanation": places,
            });
            fields.insert("last".to_owned(), last);
        }
        Ok(answer)
    }

    async fn counters(&self) -> Result<Value> {
        let counters = self.rules.counters().await?;
        Ok(counters.into_iter().map(|(name, value)| (name, json!(value))).collect())
    }
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    respond(status, Some("application/json"), Bytes::from(value.to_string()), None)
}

fn fail(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    json_answer(status, &json!({"error": reason}))
}

fn respond(
    status: StatusCode,
    kind: Option<&'static str>,
    body: Bytes,
    location: Option<&'static str>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = [(CONTENT_TYPE, kind), (LOCATION, location)];
    let set = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let always = [(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    for (name, value) in set.chain(always) {
        response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Sandbox;

    const CONFIGURATION: &str = include_str!("../../../envoy/sandbox.yaml");

    /// Sends a request to the page. Returns the status and the body.
    async fn ask(request: hyper::http::request::Builder) -> (u16, String) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("filter.json");
        let sandbox = Sandbox::read(CONFIGURATION, "filter.json", 1, "x").unwrap();
        let rules = Rules::new(sandbox, file).unwrap();
        let api = Api::new(&root.join("../page"), "secret".to_owned(), rules).unwrap();
        let answer = api.answer(request.body(Full::<Bytes>::default()).unwrap()).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn get(path: &str) -> hyper::http::request::Builder {
        Request::get(path).header(HOST, "127.0.0.1:10000")
    }

    #[tokio::test]
    async fn files_need_no_token() {
        assert_eq!(ask(get("/")).await.0, 302);
        let (status, body) = ask(get("/playground/")).await;
        assert!(status == 200 && body.contains("<title>Sluice playground"), "{status} {body}");
        for path in ["/playground/../Cargo.toml", "/playground//etc/passwd", "/playground/none"] {
            assert_eq!(ask(get(path)).await.0, 404, "{path}");
        }
    }

    #[tokio::test]
    async fn calls_need_the_token() {
        let calls = ["rules", "counters", "requests"];
        for path in calls.map(|call| format!("/playground/api/{call}")) {
            for token in ["", "Bearer ", "Bearer Secret", "secret", "Bearer secret2"] {
                let (status, body) = ask(get(&path).header(AUTHORIZATION, token)).await;
                assert_eq!(status, 401, "{path} {token} {body}");
            }
            assert_eq!(ask(get(&path)).await.0, 401, "{path}");
        }
        let (status, body) =
            ask(get("/playground/api/rules").header(AUTHORIZATION, "Bearer secret")).await;
        assert!(status == 200 && body.contains("canary.example.com"), "{status} {body}");
    }

    #[tokio::test]
    async fn other_hosts_are_refused() {
        for host in ["evil.example.com", "127.0.0.1.example.com", "", "localhost.example.com:80"] {
            let request = Request::get("/playground/").header(HOST, host);
            assert_eq!(ask(request).await.0, 421, "{host}");
        }
        assert_eq!(ask(Request::get("/playground/")).await.0, 421);
        assert_eq!(ask(Request::get("/playground/").header(HOST, "localhost")).await.0, 200);
    }
}
