//! Mirrors: selects the requests to copy and the clusters that get the copies.
//!
//! Envoy makes the copies. For each selected mirror of a route, the filter sets a header
//! `x-sluice-mirror-N` to the name of the cluster, where N is the index of the mirror in
//! `mirrors[]`. Envoy's routes read this header (`request_mirror_policies`). The filter itself
//! sends only copies whose responses are compared.
//!
//! All mirrors of a request use one draw, as in Envoy, where each mirror policy compares the same
//! random number of the stream with its own fraction. So a mirror of 20 % gets all requests that a
//! mirror of 10 % gets. With `sampling`, the draw is a hash of the user:
//! `XXH64("mirror", seed = user)`.

use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::bytes;
use crate::document::filter::{Filter, Filters};
use crate::document::json::Json;
use crate::request::{Chance, Draws, Request};
use crate::spec::cors::CorsDecision;
use crate::spec::document::Document;
use crate::spec::mirror::settings::MirrorSettings;
use crate::spec::mirror::{Copy, HEADER_PREFIX};
use crate::spec::policy::Policy;
use crate::spec::sampling::Sampling;
use crate::spec::virtual_services::{Match, VirtualServices};
use crate::value::percent::Percent;

/// Input of the hash of a user.
const DRAW: &[u8] = b"mirror";

/// The mirrors of a document.
#[derive(Debug, Default)]
pub struct Mirrors {
    services: Arc<VirtualServices>,
    sampling: Sampling,
    /// Settings for all routes
    pub settings: MirrorSettings,
}

/// The copies of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan<'a> {
    /// The name of the match that decided: Istio's route name, or the JSON path
    pub route: &'a str,
    /// The copies
    pub copies: Vec<Copy<'a>>,
    /// Number of mirrors of the route that the draw did not select
    pub not_sampled: usize,
    /// Number of mirrors of the route if the conditions of the settings exclude the request,
    /// otherwise 0
    pub not_eligible: usize,
}

impl Policy for Mirrors {
    fn filters(_: &Json) -> Filters {
        Filter::Mirror.into()
    }

    fn new(document: &Document) -> Self {
        Self {
            services: Arc::clone(&document.services),
            sampling: document.sampling.clone(),
            settings: document.mirroring.clone(),
        }
    }
}

impl Mirrors {
    /// The copies of a request, according to the first matching route. Takes at most one number
    /// from `draws`, and none if `sampling` finds a user.
    #[inline]
    pub fn plan<'a>(&'a self, request: &Request<'_>, draws: &mut dyn Draws) -> Plan<'a> {
        match self.services.find(request) {
            Ok(matched) => self.plan_matched(matched, request, draws),
            Err(_) => Plan::default(),
        }
    }

    /// Like [`Mirrors::plan`], if the rule that applies to the request is already found.
    #[inline]
    pub fn plan_matched<'a>(
        &'a self,
        matched: Match<'a>,
        request: &Request<'_>,
        draws: &mut dyn Draws,
    ) -> Plan<'a> {
        let mirrors = &matched.route.mirrors;
        // The router answers preflights itself and does not forward them.
        let cors = matched.route.cors.as_ref().map(|cors| cors.decide(request));
        if mirrors.is_empty() || matches!(cors, Some(CorsDecision::Preflight(_))) {
            return Plan::default();
        }
        let mut plan = Plan { route: matched.name, ..Plan::default() };
        if !self.settings.is_eligible(request) {
            plan.not_eligible = mirrors.len();
            return plan;
        }
        let needs_draw = mirrors.iter().any(|mirror| mirror.percentage != Percent::ALL);
        let draw = if needs_draw { self.draw(request, draws) } else { 0 };
        let copied = mirrors.iter().filter(|mirror| {
            if needs_draw {
                draws.chose(Chance::of_percent("mirror", mirror.percentage, draw));
            }
            mirror.percentage.hit(draw)
        });
        plan.copies.extend(copied.map(|mirror| Copy::new(mirror, || request.destination_port())));
        plan.not_sampled = mirrors.len().saturating_sub(plan.copies.len());
        plan
    }

    #[inline]
    fn draw(&self, request: &Request<'_>, draws: &mut dyn Draws) -> u64 {
        self.sampling.user(request).map_or_else(|| draws.draw(), |user| xxh64(DRAW, user))
    }
}

/// The mirror headers that the client sent. The filter must remove them, also from requests without
/// a mirror, because otherwise a client could have requests copied to any cluster.
#[inline]
pub fn client_sent<'a>(request: &Request<'a>) -> Vec<&'a str> {
    // Most names differ in the first word.
    const START: Option<&[u8; 8]> = HEADER_PREFIX.as_bytes().first_chunk();
    let names = request.headers().iter().map(|(name, _)| *name);
    let names = names.filter(|name| name.first_chunk() == START);
    let mirror_names = names.filter(|name| bytes::start_with(name, HEADER_PREFIX.as_bytes()));
    let mut sent: Vec<_> = mirror_names.filter_map(|name| std::str::from_utf8(name).ok()).collect();
    sent.dedup();
    sent
}

#[cfg(test)]
mod tests;
