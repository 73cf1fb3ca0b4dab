//! Server names: routes TLS connections by SNI, and checks that the names at all layers are
//! consistent.
//!
//! A connection can contain names in three places: the SNI of the connection that this proxy
//! receives (outer), the SNI of a TLS connection inside of that one (inner), and the `:authority`
//! of each request. If these names can differ, a client can reach one host under the name of
//! another. So the policy requires that the names agree, and rejects connections that it cannot
//! parse.

use crate::document::filter::{Filter, Filters};
use crate::document::json::Json;
use crate::lookup::virtual_hosts::VirtualHosts;
use crate::request::Draws;
use std::borrow::Cow;
use std::sync::Arc;

use crate::request::client_hello::ClientHello;
use crate::request::connection::Connection;
use crate::spec::document::Document;
use crate::spec::policy::Policy;
use crate::spec::sampling::Sampling;
use crate::spec::sni::{Authority, Ech, Missing, SniSettings};
use crate::spec::tls_route::TlsRoutes;
use crate::value::host_name;
use crate::value::server_name::ServerName;

/// The result of the checks of a connection or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A TLS route selected a cluster.
    Routed,
    /// The outer name, or its absence, is allowed. The cluster does not change.
    Allowed,
    /// The inner ClientHello has the outer name.
    SnisMatch,
    /// The SNI and the `:authority` are allowed and agree.
    Agreed,
    /// There is no SNI.
    NoSni,
    /// The SNI is not a host name.
    InvalidSni,
    /// The SNI or the `:authority` is not one of the allowed hosts.
    HostNotAllowed,
    /// No TLS route matches the connection.
    NoRoute,
    /// The `:authority` does not agree with the SNI.
    Misdirected,
    /// The inner ClientHello has a name that differs from the outer one.
    SnisDoNotMatch,
    /// The inner ClientHello has no name.
    InnerSniNotFound,
    /// The connection does not contain TLS.
    TlsNotFound,
    /// The inner ClientHello is invalid.
    MalformedHello,
    /// The inner ClientHello is larger than `maxClientHelloBytes`.
    ClientHelloTooLarge,
    /// The inner ClientHello contains an encrypted ClientHello, whose name cannot be checked.
    Ech,
    /// The client ended the connection before its ClientHello was complete.
    IncompleteHello,
    /// The ClientHello was not complete after `helloTimeout`.
    HelloTimeout,
}

impl Outcome {
    /// All outcomes, in the order of the documentation.
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

    /// The name of the counter. It is the same as in Istio's `sni_verifier` for outcomes that this
    /// filter has too.
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

    /// The name in logs: the name of the counter without the prefix `sluice.sni.`.
    pub fn name(self) -> &'static str {
        let counter = self.counter();
        counter.get("sluice.sni.".len()..).unwrap_or(counter)
    }

    /// Returns whether the policy rejects connections or requests with this outcome.
    pub fn is_violation(self) -> bool {
        !matches!(self, Self::Routed | Self::Allowed | Self::SnisMatch | Self::Agreed)
    }
}

/// The decision about a new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening<'a> {
    /// The result of the checks
    pub outcome: Outcome,
    /// The selected cluster; `None` to keep the cluster of the Envoy configuration
    pub cluster: Option<Cow<'a, str>>,
    /// The name of the match that decided, for logs
    pub route: &'a str,
    /// The outer name, for the check of the inner name and for logs
    pub name: Option<ServerName>,
}

/// The policy for server names.
#[derive(Debug, Default)]
pub struct SniPolicy {
    routes: Arc<TlsRoutes>,
    sampling: Sampling,
    /// The patterns of the allowed hosts, each with its index
    hosts: VirtualHosts,
    /// Settings for all connections and requests
    pub settings: SniSettings,
}

impl Policy for SniPolicy {
    fn filters(_: &Json) -> Filters {
        Filter::Sni.into()
    }

    fn new(document: &Document) -> Self {
        let settings = document.sni.clone();
        let mut hosts = VirtualHosts::default();
        let allowed = settings.hosts.as_ref().unwrap_or(&document.hosts);
        for (index, host) in allowed.iter().enumerate() {
            // Hosts of virtual services may end in a dot.
            hosts.entry(host.strip_suffix('.').unwrap_or(host), index);
        }
        let routes = Arc::clone(&document.tls);
        Self { routes, sampling: document.sampling.clone(), hosts, settings }
    }
}

impl SniPolicy {
    /// Decides about a new connection by the SNI that Envoy has read. A choice between destinations
    /// that is not sticky takes a number from `draws`.
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
        // Without the setting `hosts`, all connections that have a route are allowed.
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
                let cluster = Some(cluster.at(|| connection.destination_port()));
                Opening { outcome: Outcome::Routed, cluster, route, name }
            }
            None => opening(Outcome::NoRoute, name),
        }
    }

    /// Returns whether the filter must read the first bytes of a connection. `is_terminated` means
    /// that Envoy terminates the outer TLS connection.
    pub fn reads_hello(&self, is_terminated: bool) -> bool {
        // If Envoy terminates TLS, it uses the outer name of a ClientHello with ECH, as all servers
        // without an ECH key do.
        self.settings.inner_must_match_outer || (self.settings.ech == Ech::Refuse && !is_terminated)
    }

    /// Checks the ClientHello in a connection with the outer name `outer`. `None` if more bytes are
    /// required.
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
            // Both names are absent and may be absent, so they do not contradict each other.
            None if outer.is_none() && self.settings.missing == Missing::Allow => {
                Outcome::SnisMatch
            }
            None => Outcome::InnerSniNotFound,
            Some(_) if inner == outer => Outcome::SnisMatch,
            Some(_) => Outcome::SnisDoNotMatch,
        })
    }

    /// Decides about a request by the SNI of its connection and its `:authority`. Depending on the
    /// setting `authority`, both names must be equal, or the same entry of the allowed hosts must
    /// be the most specific match for both.
    pub fn request(&self, sni: Option<&[u8]>, authority: &[u8]) -> Outcome {
        let name = match self.outer_name(sni) {
            Ok(name) => name,
            Err(violation) => return violation,
        };
        let host = host_name::of_authority(authority);
        let Some(authority_entry) = self.hosts.find(host) else {
            return Outcome::HostNotAllowed;
        };
        let Some(name) = name else { return Outcome::Agreed };
        let Some(sni_entry) = self.hosts.find(name.as_str().as_bytes()) else {
            return Outcome::HostNotAllowed;
        };
        // An IP address matches the entry `*`, but it never agrees with a server name.
        let agrees = match ServerName::new(host) {
            Some(host) if self.settings.authority == Authority::Exact => host == name,
            Some(_) => sni_entry == authority_entry,
            None => false,
        };
        if agrees { Outcome::Agreed } else { Outcome::Misdirected }
    }

    /// Returns whether the filter closes the connection or rejects the request because of this
    /// outcome. In shadow mode, outcomes are only counted.
    pub fn refuses(&self, outcome: Outcome) -> bool {
        outcome.is_violation() && !self.settings.mode.is_shadow()
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
