//! The request that is explained, from the arguments.

use clap::Args;
use sluice_policy::request::Attributes;

use crate::arguments::{Format, InputArgs};
use crate::tree::Tree;

/// Arguments of `sluice explain`.
#[derive(Args)]
pub struct ExplainArgs {
    /// Files with the rules, - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    #[command(flatten)]
    pub input: InputArgs,
    /// The request: 'GET /path', 'GET http://host/path', or a path or address alone
    #[arg(short, long, value_name = "REQUEST")]
    pub request: String,
    /// A header of the request, as often as needed; host is that of the address, or the rules' first
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The port that the client called, for matches on it [default: that of the address]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The address of the client, for draws that are sticky by it
    #[arg(long, value_name = "IP")]
    source_address: Option<std::net::IpAddr>,
    /// A claim of the request's JWT, as NAME=VALUE or OUTER.INNER=VALUE, as often as needed
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// Makes random choices the same every time
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How the explanation is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// The request with what a proxy would know about it.
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
    /// The request, to the first host of `document` where it names none.
    ///
    /// # Errors
    /// Arguments that are no request, header or claim: which, and why.
    pub fn client(&self, document: &Tree) -> Result<Client, String> {
        let words: Vec<&str> = self.request.split_ascii_whitespace().collect();
        let (method, target) = match words.as_slice() {
            [target] => ("GET", *target),
            [method, target] => (*method, *target),
            _ => return Err(format!("--request {:?} is not 'METHOD PATH'", self.request)),
        };
        let (scheme, rest) = match target.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, Some(rest)),
            Some((scheme, _)) => {
                return Err(format!("--request: {scheme:?} is neither http nor https"));
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
            None => return Err(format!("--request: {target:?} does not start with /")),
        };
        let mut headers = Vec::new();
        for header in &self.headers {
            let parts = header.split_once(':').filter(|(name, _)| !name.trim().is_empty());
            let (name, value) = parts.ok_or(format!("--header {header:?} is not 'NAME: VALUE'"))?;
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
            let (name, value) =
                claim.split_once('=').ok_or(format!("--claim {claim:?} is not NAME=VALUE"))?;
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

/// The first host of the first virtual service that is not a wildcard.
fn first_host(document: &Tree) -> Option<String> {
    let services = document.field("virtualServices")?.elements().iter();
    let mut hosts =
        services.flat_map(|service| service.field("hosts").map_or(&[][..], Tree::elements));
    let host = hosts.find_map(|host| host.as_str().filter(|host| !host.contains('*')));
    host.map(str::to_owned)
}
