//! `sni` of a document: settings of the checks on TLS server names. Istio has none of them. The
//! defaults are the strictest settings.

use std::time::Duration;

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::name_set::NameSet;
use crate::spec::mode::{MODES_WITH_OLD, Mode};
use crate::value::duration;
use crate::value::number::read_in;
use crate::value::server_name;

/// Upper bound and default of `maxClientHelloBytes`. Includes the headers of the TLS records.
///
/// Envoy's TLS inspector refuses more than 16,384 bytes, so more is possible only for a ClientHello
/// inside of TLS that Envoy terminates.
const MAX_CLIENT_HELLO: u32 = 1 << 16;

/// Settings for all connections and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniSettings {
    /// Whether violations are refused, or only counted and logged
    pub mode: Mode,
    /// What happens to connections without a server name
    pub missing: Missing,
    /// What happens to encrypted ClientHellos, if the filter reads the bytes of the connection
    pub ech: Ech,
    /// How `:authority` is compared with the SNI
    pub authority: Authority,
    /// Whether the bytes of a connection must begin with a ClientHello whose server name equals the
    /// SNI of the connection; false by default
    pub inner_must_match_outer: bool,
    /// Whether `tls[]` selects the cluster of a connection; true by default
    pub routing: bool,
    /// Whether Envoy sends the SNI to the upstream too, if Envoy itself opens TLS to it; false by
    /// default
    pub forward_sni: bool,
    /// Allowed hosts in lower case, which may start with `*`. If absent, the hosts of the virtual
    /// services are allowed
    pub hosts: Option<Vec<String>>,
    /// Maximum size of a ClientHello in bytes, with the headers of its records; 65536 by default
    pub max_client_hello: usize,
    /// Maximum time from the start of the connection to the end of the ClientHello; 15 s by default
    pub hello_timeout: Duration,
}

/// What happens to a connection without a server name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The connection is allowed if a route matches.
    Allow,
    /// It is refused.
    Refuse,
}

/// How the `:authority` of a request is compared with the SNI of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The most specific matching entry of the allowed hosts must be the same for both, as for the
    /// listeners of the Gateway API.
    Entry,
    /// Both names must be equal.
    Exact,
}

/// What happens to a ClientHello that contains an encrypted ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ech {
    /// The outer server name is used.
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

const MISSING: [&str; 2] = ["refuse", "allow"];
const ECH: [&str; 2] = ["refuse", "outerName"];
const AUTHORITY: [&str; 2] = ["entry", "exact"];

fields!(SniSettings as "Sni", "Checks of the sni filter on TLS server names.", {
    "mode": Kind::OneOf(&MODES_WITH_OLD) =>
        "enforce (default) refuses violations, shadow only counts and logs them. reportOnly is the \
         old name of shadow.";
    "missing": Kind::OneOf(&MISSING) =>
        "What happens to connections without a server name: refuse (default) or allow.";
    "ech": Kind::OneOf(&ECH) =>
        "What happens to encrypted ClientHellos: refuse (default), or outerName, which uses the \
         outer server name.";
    "authority": Kind::OneOf(&AUTHORITY) =>
        "How the host of a request is compared with the server name: entry (default) requires \
         that the same allowed host matches both best, exact requires equal names.";
    "innerMustMatchOuter": Kind::Boolean =>
        "Whether the bytes of a connection must begin with a ClientHello with the same server \
         name; false if absent.";
    "routing": Kind::Boolean =>
        "Whether the tls routes of virtual services select the cluster; true if absent.";
    "forwardSni": Kind::Boolean =>
        "Whether Envoy sends the server name to the upstream too; false if absent.";
    "hosts": Kind::List(&Kind::SERVER_NAME) => "Allowed host names; the hosts of the virtual services if absent.";
    "maxClientHelloBytes": Kind::Integer(64, MAX_CLIENT_HELLO as i64) =>
        "Maximum size of a ClientHello in bytes, with its record headers; 65536 if absent.";
    "helloTimeout": Kind::Duration =>
        "Maximum time from the start of a connection to the end of its ClientHello; 15s if absent.";
});

impl SniSettings {
    /// Reads `sni: { mode, missing, ech, authority, innerMustMatchOuter, routing, forwardSni,
    /// hosts, maxClientHelloBytes, helloTimeout }`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let word = |name, words: [&'static str; 2]| {
            object.optional(name, |node: &Node<'_>| node.one_of(&words))
        };
        let mode = object.optional("mode", |node| Mode::read_with_old(node, Filter::Sni));
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
            mode: mode?.unwrap_or_default(),
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
    let mut seen = NameSet::default();
    node.each_with(|node| {
        let host = node.string()?.to_ascii_lowercase();
        server_name::check_pattern(&host).map_err(|reason| node.invalid(reason))?;
        if !seen.insert(host.as_bytes()) {
            return Err(node.invalid("occurs twice"));
        }
        Ok(host)
    })
}
