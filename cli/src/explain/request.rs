//! The request to explain, from the arguments.

use clap::Args;
use sluice_policy::request::Attributes;

use crate::arguments::{Format, InputArgs};
use crate::tree::Tree;

/// Arguments of `sluice explain`.
#[derive(Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub input: InputArgs,
    /// The request: 'GET /path', 'GET http://host/path', or a path or URL without the method
    #[arg(short, long, value_name = "REQUEST")]
    pub request: String,
    /// A header of the request; may be repeated [default for host: that of the URL, else the first
    /// host of the rules]
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The port that the client connected to, for matches on ports [default: that of the URL]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The IP address of the client, for splits that are sticky by address
    #[arg(long, value_name = "IP")]
    source_address: Option<std::net::IpAddr>,
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

/// A request with the facts that a proxy knows about it.
#[derive(Debug, Default)]
pub struct Client {
    /// All headers, pseudo-headers included
    pub headers: Vec<(String, Vec<u8>)>,
    port: Option<u16>,
    source_address: Option<Vec<u8>>,
    claims: Vec<(String, Vec<u8>)>,
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

impl ExplainArgs {
    /// The request; without a host it is for the first host of `document`.
    ///
    /// # Errors
    /// The argument that is not a request, header or claim, and what it must be.
    pub fn client(&self, document: &Tree) -> Result<Client, String> {
        let words: Vec<&str> = self.request.split_ascii_whitespace().collect();
        let (method, target) = match words.as_slice() {
            [target] => ("GET", *target),
            [method, target] => (*method, *target),
            _ => {
                return Err(format!(
                    "--request must be 'METHOD PATH', such as 'GET /status/200', not {:?}",
                    self.request
                ));
            }
        };
        let (scheme, rest) = match target.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, Some(rest)),
            Some((scheme, _)) => {
                return Err(format!("--request: the scheme must be http or https, not {scheme:?}"));
            }
            None => ("http", None),
        };
        let (mut host, path) = match rest {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
                (Some(host.to_owned()), if path.is_empty() { "/" } else { path })
            }
            None if target.starts_with('/') || target == "*" => (None, target),
            None => return Err(format!("--request: the path must start with /, not {target:?}")),
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
                headers.push((name, value.as_bytes().to_vec()));
            }
        }
        let host = host.or_else(|| first_host(document)).unwrap_or_default();
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let default_port = if scheme == "https" { 443 } else { 80 };
        let pseudo =
            [(":authority", &*host), (":path", path), (":method", method), (":scheme", scheme)];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let claim = |claim: &String| {
            let (name, value) = claim
                .split_once('=')
                .ok_or(format!("--claim must be NAME=VALUE, not {claim:?}"))?;
            Ok((name.to_owned(), value.as_bytes().to_vec()))
        };
        Ok(Client {
            headers: pseudo.into_iter().chain(headers).collect(),
            port: self.port.or(port).or(Some(default_port)),
            source_address: self.source_address.map(|address| address.to_string().into_bytes()),
            claims: self.claims.iter().map(claim).collect::<Result<_, String>>()?,
        })
    }
}

/// The first host of the virtual services that is not a wildcard.
fn first_host(document: &Tree) -> Option<String> {
    let services = document.list("virtualServices").iter();
    let mut hosts = services.flat_map(|service| service.list("hosts"));
    let host = hosts.find_map(|host| host.as_str().filter(|host| !host.contains('*')));
    host.map(str::to_owned)
}
