//! Requests: every filter decides about any header bytes.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use sluice_policy::egress::Egress;
use sluice_policy::fault::Faults;
use sluice_policy::mirror::Mirrors;
use sluice_policy::request::{Attributes, Draws, Request};
use sluice_policy::router::Router;
use sluice_policy::sni::SniPolicy;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

const DOCUMENT: &str = include_str!("document.json");

struct Policies {
    router: Router,
    faults: Faults,
    mirrors: Mirrors,
    sni: SniPolicy,
    egress: Egress,
}

impl Policies {
    fn new() -> Self {
        let document = DOCUMENT.as_bytes();
        Self {
            router: Router::compile(document, &NoMetadata).unwrap().0,
            faults: Faults::compile(document, &NoMetadata).unwrap().0,
            mirrors: Mirrors::compile(document, &NoMetadata).unwrap().0,
            sni: SniPolicy::compile(document, &NoMetadata).unwrap().0,
            egress: Egress::compile(document, &NoMetadata).unwrap().0,
        }
    }
}

/// Attributes and a draw, in place of Envoy.
struct World<'a>(&'a [u8], u64);

impl Attributes for World<'_> {
    fn destination_port(&self) -> Option<u16> {
        Some(80)
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        Some(self.0.to_vec())
    }

    fn claim(&self, _: &[String]) -> Vec<Vec<u8>> {
        vec![self.0.to_vec()]
    }
}

impl Draws for World<'_> {
    fn draw(&mut self) -> u64 {
        self.1
    }
}

type Input = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<(String, Vec<u8>)>, u64);

fuzz_target!(|input: Input| {
    thread_local!(static POLICIES: Policies = Policies::new());
    let (authority, path, method, headers, draw) = input;
    let pseudo = [(":authority", &authority), (":path", &path), (":method", &method)];
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.clone()));
    let others = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let headers: Vec<_> = pseudo.into_iter().chain(others).collect();
    let world = World(&method, draw);
    let request = Request::new(&headers, &world);
    POLICIES.with(|policies| {
        let decision = policies.router.route(&request, &mut World(&[], draw));
        if let Some(response) = &decision.response {
            response.edits().count();
        }
        let plan = policies.faults.plan(&request, || SystemTime::UNIX_EPOCH, &mut World(&[], draw));
        plan.draw_abort(&mut World(&[], draw));
        policies.mirrors.plan(&request, &mut World(&[], draw));
        policies.sni.request(Some(&path), &authority);
        policies.egress.request(&authority, draw % 2 == 0, None);
        policies.egress.connection(&authority, None);
    });
});
