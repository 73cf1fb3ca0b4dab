//! `sni` of a document: how strictly server names are compared. All of it is beyond Istio. The
//! defaults are the strict choices.

use std::time::Duration;

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::value::duration;
use crate::value::number::read_in;
use crate::value::server_name;

/// The largest ClientHello that can be allowed, with the headers of its records; also the default, as
/// in Envoy's TLS inspector.
const MAX_CLIENT_HELLO: u32 = 1 << 16;

/// The settings for all connections and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniSettings {
    /// What happens to violations
    pub mode: Mode,
    /// Connections without a server name
    pub missing: Missing,
    /// Encrypted ClientHellos, where their bytes are read
    pub ech: Ech,
    /// What `:authority` must have in common with the SNI
    pub authority: Authority,
    /// Whether the bytes of a connection have to begin with a ClientHello for the connection's own
    /// SNI; off by default
    pub inner_must_match_outer: bool,
    /// Whether `tls[]` decides where a connection goes; on by default
    pub routing: bool,
    /// Whether the SNI is also the name that Envoy sends to the upstream, where it opens TLS itself; off
    /// by default
    pub forward_sni: bool,
    /// The allowed hosts, in lower case, perhaps with `*` at their start. Without them requests may be
    /// for the hosts of the virtual services
    pub hosts: Option<Vec<String>>,
    /// How large a ClientHello may be, with the headers of its records
    pub max_client_hello: usize,
    /// How long a ClientHello may take to come, from when the connection opens
    pub hello_timeout: Duration,
}

/// What happens to violations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are refused.
    Enforce,
    /// They are counted and logged, and pass.
    ReportOnly,
}

/// What happens to a connection without a server name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It passes, where it has a route.
    Allow,
    /// It is refused.
    Refuse,
}

/// What the `:authority` of a request must have in common with the SNI of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The entry of the allowed hosts that is the most specific for it, as the hosts of one listener
    /// in the Gateway API.
    Entry,
    /// The name.
    Exact,
}

/// What happens to a ClientHello with an encrypted one inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ech {
    /// The outer name counts.
    OuterName,
    /// It is refused.
    Refuse,
}

impl Default for SniSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            missing: Missing::Refuse,
            ech: Ech::Refuse,
            authority: Authority::Entry,
            inner_must_match_outer: false,
            routing: true,
            forward_sni: false,
            hosts: None,
            max_client_hello: MAX_CLIENT_HELLO as usize,
            hello_timeout: Duration::from_secs(15),
        }
    }
}

const MODES: [&str; 2] = ["enforce", "reportOnly"];
const MISSING: [&str; 2] = ["refuse", "allow"];
const ECH: [&str; 2] = ["refuse", "outerName"];
const AUTHORITY: [&str; 2] = ["entry", "exact"];

fields!(SniSettings as "Sni", "How strictly server names are compared.", {
    "mode": Kind::OneOf(&MODES) => "enforce (default), or reportOnly, which only counts and logs.";
    "missing": Kind::OneOf(&MISSING) =>
        "Connections without a server name: refuse (default) or allow.";
    "ech": Kind::OneOf(&ECH) =>
        "Encrypted ClientHellos: refuse (default), or go by the outerName.";
    "authority": Kind::OneOf(&AUTHORITY) =>
        "What the host of a request has in common with the server name: the entry of the allowed \
         hosts (default), or exact, the name.";
    "innerMustMatchOuter": Kind::Boolean =>
        "Whether a TLS connection inside must have the outer server name; false if absent.";
    "routing": Kind::Boolean => "Whether tls routes choose the cluster; true if absent.";
    "forwardSni": Kind::Boolean =>
        "Whether Envoy sends the server name to the upstream; false if absent.";
    "hosts": Kind::TEXTS => "The allowed server names; those of the virtual services if absent.";
    "maxClientHelloBytes": Kind::Integer(64, MAX_CLIENT_HELLO as i64) =>
        "The longest ClientHello; 65536 if absent.";
    "helloTimeout": Kind::Text => "How long a ClientHello may take; 15s if absent.";
});

impl SniSettings {
    /// Reads `sni: { mode, missing, ech, authority, innerMustMatchOuter, routing, forwardSni, hosts,
    /// maxClientHelloBytes, helloTimeout }`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let word = |name, words: [&'static str; 2]| {
            object.optional_with(name, |node: &Node<'_>| node.one_of(&words))
        };
        let mode = word("mode", MODES);
        let missing = word("missing", MISSING);
        let ech = word("ech", ECH);
        let authority = word("authority", AUTHORITY);
        let inner_must_match_outer = object.flag("innerMustMatchOuter");
        let routing = object.optional("routing", Node::boolean);
        let forward_sni = object.flag("forwardSni");
        let hosts = object.optional("hosts", read_hosts);
        let max_client_hello =
            object.optional("maxClientHelloBytes", |node| read_in(node, 64..=MAX_CLIENT_HELLO));
        let hello_timeout = object.optional("helloTimeout", duration::read);
        let default = Self::default();
        let max_client_hello = max_client_hello?.and_then(|bytes| usize::try_from(bytes).ok());
        Ok(Self {
            mode: if mode? == Some("reportOnly") { Mode::ReportOnly } else { Mode::Enforce },
            missing: if missing? == Some("allow") { Missing::Allow } else { Missing::Refuse },
            ech: if ech? == Some("outerName") { Ech::OuterName } else { Ech::Refuse },
            authority: match authority? {
                Some("exact") => Authority::Exact,
                _ => Authority::Entry,
            },
            inner_must_match_outer: inner_must_match_outer?,
            routing: routing?.unwrap_or(true),
            forward_sni: forward_sni?,
            hosts: hosts?,
            max_client_hello: max_client_hello.unwrap_or(default.max_client_hello),
            hello_timeout: hello_timeout?.unwrap_or(default.hello_timeout),
        })
    }
}

fn read_hosts(node: &Node<'_>) -> Result<Vec<String>, Reported> {
    let mut seen: Vec<String> = Vec::new();
    node.each_with(|node| {
        let host = node.string()?.to_ascii_lowercase();
        server_name::check_pattern(&host).map_err(|reason| node.invalid(reason))?;
        if seen.contains(&host) {
            return Err(node.invalid("occurs twice"));
        }
        seen.push(host.clone());
        Ok(host)
    })
}
