//! `sni` of a document: what holds for all connections and requests. All of it is beyond Istio, and
//! what is not given is refused.

use std::time::Duration;

use crate::document::node::{Node, Object};
use crate::value::duration;
use crate::value::server_name;

/// The largest ClientHello that can be allowed, with the headers of its records; also the default, as
/// in Envoy's TLS inspector.
const MAX_CLIENT_HELLO: usize = 1 << 16;

/// What holds for all connections and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniSettings {
    /// What violations come to
    pub mode: Mode,
    /// Connections without a server name
    pub missing: Missing,
    /// Encrypted ClientHellos, where their bytes are read
    pub ech: Ech,
    /// What `:authority` has to have in common with the SNI
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

/// What violations come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are refused.
    Enforce,
    /// They are counted and logged, and pass.
    ReportOnly,
}

/// What becomes of a connection without a server name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It passes, where it has a route.
    Allow,
    /// It is refused.
    Refuse,
}

/// What the `:authority` of a request has to have in common with the SNI of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The entry of the allowed hosts that is the most specific for it, as the hosts of one listener
    /// in the Gateway API.
    Entry,
    /// The name.
    Exact,
}

/// What becomes of a ClientHello with an encrypted one inside.
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
            max_client_hello: MAX_CLIENT_HELLO,
            hello_timeout: Duration::from_secs(15),
        }
    }
}

impl SniSettings {
    /// Reads `sni: { mode, missing, ech, authority, innerMustMatchOuter, routing, hosts, maxClientHelloBytes,
    /// helloTimeout }`.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let default = Self::default();
        let mut is_second = |name, first, second| read_choice(&mut object, name, first, second);
        let mode = is_second("mode", "enforce", "reportOnly");
        let missing = is_second("missing", "refuse", "allow");
        let ech = is_second("ech", "refuse", "outerName");
        let authority = is_second("authority", "entry", "exact");
        Some(Self {
            mode: if mode { Mode::ReportOnly } else { Mode::Enforce },
            missing: if missing { Missing::Allow } else { Missing::Refuse },
            ech: if ech { Ech::OuterName } else { Ech::Refuse },
            authority: if authority { Authority::Exact } else { Authority::Entry },
            inner_must_match_outer: read_flag(&mut object, "innerMustMatchOuter", false),
            routing: read_flag(&mut object, "routing", true),
            forward_sni: read_flag(&mut object, "forwardSni", false),
            hosts: object.field("hosts").map(|node| read_hosts(&node)),
            max_client_hello: object
                .field("maxClientHelloBytes")
                .and_then(|node| read_size(&node))
                .unwrap_or(default.max_client_hello),
            hello_timeout: object
                .field("helloTimeout")
                .and_then(|node| duration::read_milliseconds(&node))
                .map_or(default.hello_timeout, Duration::from_millis),
        })
    }
}

/// Whether it is the second of two words; the first when none is given.
fn read_choice(object: &mut Object<'_>, name: &'static str, first: &str, second: &str) -> bool {
    let Some(node) = object.field(name) else { return false };
    let word = node.string();
    if word.is_some_and(|word| word != first && word != second) {
        node.invalid(format_args!("is neither {first} nor {second}"));
    }
    word == Some(second)
}

fn read_flag(object: &mut Object<'_>, name: &'static str, default: bool) -> bool {
    object.field(name).and_then(|node| node.boolean()).unwrap_or(default)
}

fn read_hosts(node: &Node<'_>) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for node in node.elements() {
        let Some(text) = node.string() else { continue };
        let host = text.to_ascii_lowercase();
        if let Err(reason) = server_name::check_pattern(&host) {
            node.invalid(reason);
        } else if hosts.contains(&host) {
            node.invalid("is given twice");
        } else {
            hosts.push(host);
        }
    }
    hosts
}

fn read_size(node: &Node<'_>) -> Option<usize> {
    let size = usize::try_from(node.integer()?).ok();
    let size = size.filter(|size| (64..=MAX_CLIENT_HELLO).contains(size));
    if size.is_none() {
        node.invalid("is not in 64..=65536");
    }
    size
}
