//! Mirrors: which requests are copied, where to, and whether the copies behaved.
//!
//! Envoy makes the copies. For each of a route's mirrors that a request is copied to, the filter sets
//! a header `x-sluice-mirror-N` to the name of the cluster, with N the mirror's place in `mirrors[]`
//! from 0 on, and Envoy's routes act on it (`request_mirror_policies`). Only copies that are compared
//! are sent by the filter itself.
//!
//! There is one draw for all mirrors of a request, as in Envoy, where every mirror policy compares the
//! same random number of the stream with its own fraction. So the requests that a mirror of 10 % gets
//! are among those that one of 20 % gets. With `sampling` the draw is a hash of the user:
//! `XXH64("mirror", seed = user)`.

use std::rc::Rc;

use xxhash_rust::xxh64::xxh64;

use crate::bytes;
use crate::document::filter::Filter;
use crate::request::{Draws, Request};
use crate::spec::cors::CorsDecision;
use crate::spec::document::Document;
use crate::spec::mirror::settings::MirrorSettings;
use crate::spec::mirror::{HEADER_PREFIX, Mirror};
use crate::spec::policy::Policy;
use crate::spec::sampling::Sampling;
use crate::spec::virtual_services::VirtualServices;
use crate::value::percent::Percent;

/// What a user's hash is taken of.
const DRAW: &[u8] = b"mirror";

/// The mirrors of a document.
#[derive(Debug, Default)]
pub struct Mirrors {
    services: Rc<VirtualServices>,
    sampling: Sampling,
    /// What is the same for all routes
    pub settings: MirrorSettings,
}

/// What is to be copied of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan<'a> {
    /// The name of the match that decided: Istio's route name, or the JSON path
    pub route: &'a str,
    /// Where copies go to
    pub copies: Vec<&'a Mirror>,
    /// How many of the route's mirrors the draw left out
    pub not_sampled: usize,
    /// How many mirrors the request has, but may not be copied to for the conditions of the settings
    pub not_eligible: usize,
}

impl Policy for Mirrors {
    const FILTER: Filter = Filter::Mirror;

    fn new(document: &Document) -> Self {
        Self {
            services: Rc::clone(&document.services),
            sampling: document.sampling.clone(),
            settings: document.mirroring.clone(),
        }
    }
}

impl Mirrors {
    /// What is to be copied of a request, by the first route that matches. `draws` is asked at most
    /// once, and not at all for a user that `sampling` knows.
    #[inline]
    pub fn plan<'a>(&'a self, request: &Request<'_>, draws: &mut dyn Draws) -> Plan<'a> {
        let Ok(matched) = self.services.find(request) else { return Plan::default() };
        let mirrors = &matched.route.mirrors;
        // A preflight is answered by the router and goes nowhere.
        let cors = matched.route.cors.as_ref().map(|cors| cors.decide(request));
        if mirrors.is_empty() || matches!(cors, Some(CorsDecision::Preflight(_))) {
            return Plan::default();
        }
        let mut plan = Plan { route: matched.name, ..Plan::default() };
        if !self.settings.is_eligible(request) {
            plan.not_eligible = mirrors.len();
            return plan;
        }
        let is_drawn = mirrors.iter().any(|mirror| mirror.percentage != Percent::ALL);
        let draw = if is_drawn { self.draw(request, draws) } else { 0 };
        plan.copies.extend(mirrors.iter().filter(|mirror| mirror.percentage.hit(draw)));
        plan.not_sampled = mirrors.len().saturating_sub(plan.copies.len());
        plan
    }

    #[inline]
    fn draw(&self, request: &Request<'_>, draws: &mut dyn Draws) -> u64 {
        self.sampling.user(request).map_or_else(|| draws.draw(), |user| xxh64(DRAW, user))
    }
}

/// The headers for copies that a request came with. Whoever can send them could have requests copied
/// to any cluster, so they are to be removed, also from requests without a mirror.
#[inline]
pub fn client_sent<'a>(request: &Request<'a>) -> Vec<&'a str> {
    let names = request.headers().iter().map(|(name, _)| *name);
    let own = names.filter(|name| bytes::start_with(name, HEADER_PREFIX.as_bytes()));
    let mut sent: Vec<_> = own.filter_map(|name| std::str::from_utf8(name).ok()).collect();
    sent.dedup();
    sent
}

#[cfg(test)]
mod tests;
