//! The request to explain, from the arguments.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;
use sluice_policy::request::Attributes;
use sluice_policy::request::connection::Connection;
use sluice_policy::spec::proxy::NodeMetadata;
use sluice_policy::value::host_name::without_port;

use super::normalize::normalize;

use crate::arguments::{Format, InputArgs, read_pair};
use crate::tree::Tree;

/// Arguments of `sluice explain`.
#[derive(Args, Default)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub input: InputArgs,
    /// The request: a URL or path, as curl takes it, or 'METHOD URL'; --url is the same
    #[arg(
        short,
        long,
        alias = "url",
        value_name = "REQUEST",
        required_unless_present = "from_header"
    )]
    request: Option<String>,
    /// Show what a running filter has explained, in place of a request: the value of its header, or
    /// - for a response or a log on standard input
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["request", "seed"])]
    pub from_header: Option<String>,
    /// The method [default: GET, with --data POST]
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,
    /// A header of the request; may be repeated [default for host: that of the URL, else the first
    /// host of the rules]
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The body of the request, or @FILE; may be repeated, as for curl
    #[arg(short, long, value_name = "DATA")]
    data: Vec<String>,
    /// Do not normalize the path, as an Envoy without normalize_path
    #[arg(long)]
    path_as_is: bool,
    /// The port that the client connected to [default: that of the URL]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The IP address that the client connected to, for addresses of ServiceEntries and
    /// destinationSubnets [default: the host of the URL, if it is one]
    #[arg(long, value_name = "IP")]
    destination_address: Option<IpAddr>,
    /// The server name of the client's TLS connection [default: the host of an https URL]
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The IP address of the client, for splits that are sticky by address
    #[arg(long, value_name = "IP")]
    source_address: Option<IpAddr>,
    /// A label of the proxy's workload, for sourceLabels; may be repeated; not used if a document
    /// sets proxy.labels
    #[arg(long = "source-label", value_name = "NAME=VALUE", value_parser = read_pair)]
    source_labels: Vec<(String, String)>,
    /// The namespace of the proxy's workload, for sourceNamespace; not used if a document sets
    /// proxy.namespace
    #[arg(long, value_name = "NAME")]
    source_namespace: Option<String>,
    /// A claim of the request's JWT: NAME=VALUE or OUTER.INNER=VALUE; may be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// The seed of random choices; the same seed gives the same choices
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// The format of the explanation
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// The properties of the proxy's workload that the arguments give, in place of Envoy's metadata.
impl NodeMetadata for ExplainArgs {
    fn namespace(&self) -> Option<String> {
        self.source_namespace.clone()
    }

    fn label(&self, name: &str) -> Option<String> {
        let mut labels = self.source_labels.iter();
        labels.find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// A request with the facts that a proxy knows about it and its connection.
#[derive(Debug, Default)]
pub struct Client {
    /// All headers, pseudo-headers included
    pub headers: Vec<(String, Vec<u8>)>,
    port: Option<u16>,
    destination_ip: Option<IpAddr>,
    source_address: Option<Vec<u8>>,
    claims: Vec<(String, Vec<u8>)>,
    /// The server name of the TLS connection; empty if it has none, and `None` without TLS
    pub sni: Option<String>,
    /// The path as the client sent it, if Envoy normalizes it to another one
    pub sent_path: Option<String>,
}

/// A request in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The method
    pub method: String,
    /// `http` or `https`
    pub scheme: String,
    /// The host, with or without a port
    pub authority: String,
    /// The path with the query
    pub path: String,
    /// The other headers, with names in lower case
    pub headers: Vec<(String, String)>,
    /// The port that the client connected to, if it is known
    pub port: Option<u16>,
    /// The address of the client, if it is known
    pub source: Option<IpAddr>,
}

impl From<Logged> for Client {
    /// The request as a proxy saw it: its path is taken as it is.
    fn from(logged: Logged) -> Self {
        let Logged { method, scheme, authority, path, headers, port, source } = logged;
        let of_host = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let default = if scheme == "https" { 443 } else { 80 };
        let name = lossy(without_port(authority.as_bytes()));
        let pseudo =
            [(":authority", authority), (":path", path), (":method", method), (":scheme", scheme)];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.into_bytes()));
        let headers = headers.into_iter().map(|(name, value)| (name, value.into_bytes()));
        Self {
            headers: pseudo.into_iter().chain(headers).collect(),
            port: port.or(of_host).or(Some(default)),
            destination_ip: name.trim_matches(['[', ']']).parse().ok(),
            source_address: source.map(|address| address.to_string().into_bytes()),
            ..Self::default()
        }
    }
}

impl Client {
    /// The address and port that the client connected to. An address that is not known is
    /// unspecified.
    pub fn destination(&self) -> Option<SocketAddr> {
        let ip = self.destination_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        Some(SocketAddr::new(ip, self.port?))
    }

    /// Returns whether the address that the client connected to is known.
    pub fn knows_address(&self) -> bool {
        self.destination_ip.is_some()
    }
}

impl Connection for Client {
    fn destination_ip(&self) -> Option<IpAddr> {
        self.destination_ip
    }

    fn destination_port(&self) -> Option<u16> {
        self.port
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        self.source_address.clone()
    }
}

impl Attributes for Client {
    fn destination_port(&self) -> Option<u16> {
        self.port
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        self.source_address.clone()
    }

    fn claim(&self, path: &[String]) -> Vec<Vec<u8>> {
        let wanted = path.join(".");
        let claims = self.claims.iter().filter(|(name, _)| *name == wanted);
        claims.map(|(_, value)| value.clone()).collect()
    }
}

/// Bytes as text, with replacements for those that are no UTF-8.
pub(super) fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// The parts of a URL, or of a path alone.
struct Target<'a> {
    scheme: &'a str,
    host: Option<&'a str>,
    path: String,
}

impl<'a> Target<'a> {
    /// Reads a path, or a URL as curl takes it: the scheme may be absent.
    fn read(text: &'a str) -> Result<Self, String> {
        // The fragment is not sent.
        let text = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            Some((scheme, _)) => {
                return Err(format!("--request: the scheme must be http or https, not {scheme:?}"));
            }
            None if text.starts_with('/') || text == "*" => {
                return Ok(Self { scheme: "http", host: None, path: text.to_owned() });
            }
            None => ("http", text),
        };
        let (host, path) = host_and_path(rest);
        if host.contains('@') {
            let reason = "write the user and password as -H 'authorization: Basic ...'";
            return Err(format!("--request: {reason}"));
        }
        let is_host = !host.is_empty() && (rest.len() < text.len() || is_like_host(host));
        if !is_host {
            return Err(format!("--request: the path must start with /, not {text:?}"));
        }
        Ok(Self { scheme, host: Some(host), path })
    }
}

/// The host and the path of a URL without its scheme and fragment. The path starts with a slash.
pub fn host_and_path(rest: &str) -> (&str, String) {
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if path.starts_with('/') { "" } else { "/" };
    (host, format!("{slash}{path}"))
}

/// Returns whether a word without a scheme is a host and not the start of a path.
fn is_like_host(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':'])
}

impl ExplainArgs {
    /// The arguments for a request, `METHOD URL`, with headers, `NAME: VALUE`.
    pub fn new(request: String, headers: Vec<String>) -> Self {
        Self { request: Some(request), headers, ..Self::default() }
    }

    /// The request; without a host it is for the first host of `document`.
    ///
    /// # Errors
    /// The argument that is not a request, header or claim, and what it must be.
    pub fn client(&self, document: &Tree) -> Result<Client, String> {
        let request = self.request.as_deref().unwrap_or_default();
        let words: Vec<&str> = request.split_ascii_whitespace().collect();
        let (method, target) = match words.as_slice() {
            [target] => (None, *target),
            [method, target] => (Some(*method), *target),
            _ => {
                return Err(format!(
                    "--request must be 'METHOD PATH', such as 'GET /status/200', not {request:?}"
                ));
            }
        };
        if let (Some(own), Some(other)) = (method, &self.method) {
            return Err(format!("--method {other}: the request has the method {own} already"));
        }
        let default = if self.data.is_empty() { "GET" } else { "POST" };
        let method = method.or(self.method.as_deref()).unwrap_or(default);
        let Target { scheme, host, path } = Target::read(target)?;
        let mut host = host.map(str::to_owned);
        let is_normalized = !self.path_as_is && path != "*" && method != "CONNECT";
        let sent = path;
        let path = if is_normalized {
            normalize(&sent).map_err(|reason| format!("--request: {reason}"))?
        } else {
            sent.clone()
        };
        let mut headers = Vec::new();
        for header in &self.headers {
            let parts = header.split_once(':').filter(|(name, _)| !name.trim().is_empty());
            let (name, value) =
                parts.ok_or(format!("--header must be 'NAME: VALUE', not {header:?}"))?;
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            if name == "host" {
                host = Some(value.to_owned());
            } else {
                headers.push((name, value.to_owned()));
            }
        }
        self.add_body_headers(&mut headers)?;
        let host = host.or_else(|| first_host(document)).unwrap_or_default();
        let claim = |claim: &String| {
            let (name, value) = claim
                .split_once('=')
                .ok_or(format!("--claim must be NAME=VALUE, not {claim:?}"))?;
            Ok((name.to_owned(), value.as_bytes().to_vec()))
        };
        let name = lossy(without_port(host.as_bytes()));
        let sent_path = Some(sent).filter(|sent| *sent != path);
        let client = Client::from(Logged {
            method: method.to_owned(),
            scheme: scheme.to_owned(),
            authority: host,
            path,
            headers,
            port: self.port,
            source: self.source_address,
        });
        // A server name is never an IP address.
        let of_url = client.destination_ip.map_or(name, |_| String::new());
        Ok(Client {
            destination_ip: self.destination_address.or(client.destination_ip),
            claims: self.claims.iter().map(claim).collect::<Result<_, String>>()?,
            sni: self.sni.clone().or((scheme == "https").then_some(of_url)),
            sent_path,
            ..client
        })
    }

    /// Adds the headers that curl sends with a body, unless they are given.
    fn add_body_headers(&self, headers: &mut Vec<(String, String)>) -> Result<(), String> {
        if self.data.is_empty() {
            return Ok(());
        }
        let mut length = self.data.len() - 1;
        for data in &self.data {
            length += match data.strip_prefix('@') {
                // curl leaves out line breaks of files.
                Some(file) => std::fs::read(file)
                    .map_err(|error| format!("--data: {file:?} cannot be read: {error}"))?
                    .iter()
                    .filter(|byte| !b"\r\n".contains(byte))
                    .count(),
                None => data.len(),
            };
        }
        let form = "application/x-www-form-urlencoded".to_owned();
        for (name, value) in [("content-type", form), ("content-length", length.to_string())] {
            if headers.iter().all(|(known, _)| known != name) {
                headers.push((name.to_owned(), value));
            }
        }
        Ok(())
    }
}

/// The first host of the virtual services, or else of the routes of the Gateway API or of the
/// service entries, that is not a wildcard.
fn first_host(document: &Tree) -> Option<String> {
    let lists = ["virtualServices", "httpRoutes", "grpcRoutes", "serviceEntries"].into_iter();
    let parts = lists.flat_map(|list| document.list(list));
    let mut hosts = parts.flat_map(|part| [part.list("hosts"), part.list("hostnames")].concat());
    hosts.find_map(|host| host.as_str().filter(|host| !host.contains('*')).map(str::to_owned))
}
