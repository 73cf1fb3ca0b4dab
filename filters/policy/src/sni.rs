//! Server names: where a TLS connection goes by the name that its client asks for, and whether the
//! names at all layers agree.
//!
//! A connection may carry a name in up to three places: the SNI of the connection that ends or passes
//! at this proxy (outer), the SNI of a TLS connection inside of that one (inner), and the `:authority`
//! of each request. A client that may choose them apart reaches one host under the name of another,
//! so the policy has them agree, and refuses what it does not understand.

use crate::document::filter::Filter;
use crate::lookup::virtual_hosts::VirtualHosts;
use crate::request::Draws;
use std::rc::Rc;

use crate::request::client_hello::ClientHello;
use crate::request::connection::Connection;
use crate::spec::document::Document;
use crate::spec::policy::Policy;
use crate::spec::sampling::Sampling;
use crate::spec::sni::{Authority, Ech, Missing, Mode, SniSettings};
use crate::spec::tls_route::TlsRoutes;
use crate::value::host_name::without_port;
use crate::value::server_name::ServerName;

/// What is found about a connection or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A cluster is chosen by a TLS route.
    Routed,
    /// The outer name, or its absence, is allowed, and the cluster stays what it is.
    Allowed,
    /// The ClientHello in the connection has the outer name.
    SnisMatch,
    /// SNI and `:authority` are allowed and belong together.
    Agreed,
    /// There is no SNI.
    NoSni,
    /// The SNI is not a host name.
    InvalidSni,
    /// The SNI, or the `:authority`, is none of the allowed hosts.
    HostNotAllowed,
    /// No TLS route is for the connection.
    NoRoute,
    /// The `:authority` is of another host than the SNI.
    Misdirected,
    /// The ClientHello in the connection has another name than the outer one.
    SnisDoNotMatch,
    /// The ClientHello in the connection has no name.
    InnerSniNotFound,
    /// What is in the connection is not TLS.
    TlsNotFound,
    /// The ClientHello in the connection breaks the rules of TLS.
    MalformedHello,
    /// The ClientHello in the connection is larger than `maxClientHelloBytes`.
    ClientHelloTooLarge,
    /// The ClientHello in the connection has an encrypted hello, whose name nobody can check.
    Ech,
    /// The client ended the connection before its ClientHello was complete.
    IncompleteHello,
    /// The ClientHello took longer than `helloTimeout`.
    HelloTimeout,
}

impl Outcome {
    /// All of them, in the order of their names in the documentation.
    pub const ALL: [Self; 17] = [
        Self::Routed,
        Self::Allowed,
        Self::SnisMatch,
        Self::Agreed,
        Self::NoSni,
        Self::InvalidSni,
        Self::HostNotAllowed,
        Self::NoRoute,
        Self::Misdirected,
        Self::SnisDoNotMatch,
        Self::InnerSniNotFound,
        Self::TlsNotFound,
        Self::MalformedHello,
        Self::ClientHelloTooLarge,
        Self::Ech,
        Self::IncompleteHello,
        Self::HelloTimeout,
    ];

    /// The counter of it; where Istio's `sni_verifier` counted the same, called as there.
    pub fn counter(self) -> &'static str {
        match self {
            Self::Routed => "sluice.sni.routed",
            Self::Allowed => "sluice.sni.allowed",
            Self::SnisMatch => "sluice.sni.snis_match",
            Self::Agreed => "sluice.sni.agreed",
            Self::NoSni => "sluice.sni.no_sni",
            Self::InvalidSni => "sluice.sni.invalid_sni",
            Self::HostNotAllowed => "sluice.sni.host_not_allowed",
            Self::NoRoute => "sluice.sni.no_route",
            Self::Misdirected => "sluice.sni.misdirected",
            Self::SnisDoNotMatch => "sluice.sni.snis_do_not_match",
            Self::InnerSniNotFound => "sluice.sni.inner_sni_not_found",
            Self::TlsNotFound => "sluice.sni.tls_not_found",
            Self::MalformedHello => "sluice.sni.malformed_client_hello",
            Self::ClientHelloTooLarge => "sluice.sni.client_hello_too_large",
            Self::Ech => "sluice.sni.ech",
            Self::IncompleteHello => "sluice.sni.incomplete_client_hello",
            Self::HelloTimeout => "sluice.sni.client_hello_timeout",
        }
    }

    /// Its name in logs: that of its counter, without what all of them have.
    pub fn name(self) -> &'static str {
        let counter = self.counter();
        counter.get("sluice.sni.".len()..).unwrap_or(counter)
    }

    /// Whether it is a reason to refuse.
    pub fn is_violation(self) -> bool {
        !matches!(self, Self::Routed | Self::Allowed | Self::SnisMatch | Self::Agreed)
    }
}

/// What is decided about a connection when it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening<'a> {
    /// What is found
    pub outcome: Outcome,
    /// The cluster that it goes to; without one, the one that Envoy has configured
    pub cluster: Option<&'a str>,
    /// The name of the match that decided, for logs
    pub route: &'a str,
    /// The outer name, for the check of the inner one and for logs
    pub name: Option<ServerName>,
}

/// The policy about server names.
#[derive(Debug, Default)]
pub struct SniPolicy {
    routes: Rc<TlsRoutes>,
    sampling: Sampling,
    /// The allowed hosts of requests, each pattern with its number
    hosts: VirtualHosts,
    /// What is set for all connections and requests
    pub settings: SniSettings,
}

impl Policy for SniPolicy {
    const FILTER: Filter = Filter::Sni;

    fn new(document: &Document) -> Self {
        let settings = document.sni.clone();
        let mut hosts = VirtualHosts::default();
        let allowed = settings.hosts.as_ref().unwrap_or(&document.hosts);
        for (index, host) in allowed.iter().enumerate() {
            hosts.entry(host, index);
        }
        let routes = Rc::clone(&document.tls);
        Self { routes, sampling: document.sampling.clone(), hosts, settings }
    }
}

impl SniPolicy {
    /// Decides about a connection that opens, by the SNI that Envoy saw. `draws` is asked for a choice
    /// between destinations that is not sticky.
    #[inline]
    pub fn open(
        &self,
        sni: Option<&[u8]>,
        connection: &dyn Connection,
        draws: &mut dyn Draws,
    ) -> Opening<'_> {
        let opening = |outcome, name| Opening { outcome, cluster: None, route: "", name };
        let name = match self.outer_name(sni) {
            Ok(name) => name,
            Err(violation) => return opening(violation, None),
        };
        // Without a list of its own, a connection is allowed where it has a route.
        if self.settings.hosts.is_some() && !self.is_allowed(name.as_ref()) {
            return opening(Outcome::HostNotAllowed, name);
        }
        if !self.settings.routing {
            return opening(Outcome::Allowed, name);
        }
        let Some((route, split)) = self.routes.find(name.as_ref(), connection) else {
            return opening(Outcome::NoRoute, name);
        };
        let user = self.sampling.user_at(|| connection.source_address());
        match split.pick(user, draws) {
            Some((_, cluster)) => {
                Opening { outcome: Outcome::Routed, cluster: Some(cluster), route, name }
            }
            None => opening(Outcome::NoRoute, name),
        }
    }

    /// Whether the first bytes of a connection have to be read; `is_terminated` says that Envoy has
    /// ended the TLS around them.
    pub fn reads_hello(&self, is_terminated: bool) -> bool {
        // Where Envoy ends the TLS, it has taken the outer name of a ClientHello with ECH, as all
        // servers do that have no key for it.
        self.settings.inner_must_match_outer || (self.settings.ech == Ech::Refuse && !is_terminated)
    }

    /// Looks at the ClientHello in a connection whose outer name is `outer`; `None` while more of it is
    /// to come.
    pub fn inspect(&self, outer: Option<&ServerName>, hello: &ClientHello) -> Option<Outcome> {
        let (inner, has_ech) = match hello {
            ClientHello::NeedMore { .. } => return None,
            ClientHello::Sni { name, has_ech } => (Some(name), *has_ech),
            ClientHello::NoSni { has_ech } => (None, *has_ech),
            ClientHello::NotTls => return Some(Outcome::TlsNotFound),
            ClientHello::Malformed => return Some(Outcome::MalformedHello),
            ClientHello::TooLarge => return Some(Outcome::ClientHelloTooLarge),
        };
        Some(match inner {
            _ if has_ech && self.settings.ech == Ech::Refuse => Outcome::Ech,
            // Without both, where connections without a name are allowed, there is nothing to forge.
            None if outer.is_none() && self.settings.missing == Missing::Allow => {
                Outcome::SnisMatch
            }
            None => Outcome::InnerSniNotFound,
            Some(_) if inner == outer => Outcome::SnisMatch,
            Some(_) => Outcome::SnisDoNotMatch,
        })
    }

    /// Decides about a request by the SNI of its connection and its `:authority`. Both have to be
    /// within the same entry of the allowed hosts, the most specific one for each, or equal, as
    /// `authority` of the settings says.
    pub fn request(&self, sni: Option<&[u8]>, authority: &[u8]) -> Outcome {
        let name = match self.outer_name(sni) {
            Ok(name) => name,
            Err(violation) => return violation,
        };
        let Some(asked) = self.hosts.find(authority) else { return Outcome::HostNotAllowed };
        let Some(name) = name else { return Outcome::Agreed };
        let Some(found) = self.hosts.find(name.as_str().as_bytes()) else {
            return Outcome::HostNotAllowed;
        };
        // An address is within `*`, but never what a server name stands for.
        let is_right = match ServerName::new(without_port(authority)) {
            Some(host) if self.settings.authority == Authority::Exact => host == name,
            Some(_) => found == asked,
            None => false,
        };
        if is_right { Outcome::Agreed } else { Outcome::Misdirected }
    }

    /// Whether an outcome closes the connection or answers the request; in report-only mode it is
    /// counted, and nothing else.
    pub fn refuses(&self, outcome: Outcome) -> bool {
        outcome.is_violation() && self.settings.mode == Mode::Enforce
    }

    #[inline]
    fn outer_name(&self, sni: Option<&[u8]>) -> Result<Option<ServerName>, Outcome> {
        match sni.filter(|sni| !sni.is_empty()) {
            Some(sni) => ServerName::new(sni).map(Some).ok_or(Outcome::InvalidSni),
            None if self.settings.missing == Missing::Allow => Ok(None),
            None => Err(Outcome::NoSni),
        }
    }

    fn is_allowed(&self, name: Option<&ServerName>) -> bool {
        name.is_none_or(|name| self.hosts.find(name.as_str().as_bytes()).is_some())
    }
}

#[cfg(test)]
mod tests;
