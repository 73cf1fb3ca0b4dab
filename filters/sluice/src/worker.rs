//! The filter on one worker: what its streams share, and the mirrors and routes of a request.

use std::rc::Rc;
use std::sync::Arc;

use sluice_fault::stream::Stream as FaultStream;
use sluice_host::attributes::StreamAttributes;
use sluice_host::explained::{Explained, Explaining, Place};
use sluice_host::filter::Action;
use sluice_host::host::PluginHost;
use sluice_host::http::HttpHost;
use sluice_mirror::copies::{Copies, remove_client_sent};
use sluice_policy::chain::Chain;
use sluice_policy::request::Request;
use sluice_router::routed::Routed;

/// What all streams of a worker share: the workers of the filters that the document needs.
pub struct Worker {
    /// The compiled policies
    pub chain: Arc<Chain>,
    /// Egress
    pub egress: Option<sluice_egress::worker::Worker>,
    /// Faults. After a delay, the mirrors and routes of the request remain to be done
    pub fault: Option<Rc<sluice_fault::worker::Worker<Kept>>>,
    /// Mirrors
    pub mirror: Option<Rc<sluice_mirror::worker::Worker>>,
    /// Routes
    pub router: sluice_router::worker::Worker,
}

/// What the mirrors and routes of a request keep until it ends.
#[derive(Default)]
pub struct Kept {
    /// For the copies
    pub copies: Copies,
    /// For the response
    pub routed: Routed,
    /// The explanations of all parts
    pub explained: Explained,
}

/// The part of a request that is run.
pub enum Phase<'a, H> {
    /// The request has arrived. Its faults, if it can have any, may delay or abort it
    Start(Option<&'a FaultStream<H, Kept>>),
    /// The delay of the request is over
    AfterDelay,
}

impl Worker {
    /// The filter of a worker, for the plugin with this context.
    pub fn with_policy(chain: Arc<Chain>, plugin: u32, host: &impl PluginHost) -> Self {
        let egress = chain.egress.clone();
        let faults = chain.faults.clone();
        let mirrors = chain.mirrors.clone();
        let router = Arc::clone(&chain.router);
        Self {
            egress: egress.map(|egress| sluice_egress::worker::Worker::with_policy(egress, host)),
            fault: faults
                .map(|faults| Rc::new(sluice_fault::worker::Worker::with_policy(faults, host))),
            mirror: mirrors.map(|mirrors| {
                Rc::new(sluice_mirror::worker::Worker::with_policy(mirrors, plugin, host))
            }),
            router: sluice_router::worker::Worker::with_policy(router, host),
            chain,
        }
    }

    /// Reads the headers of a request once, and does what the document says about it.
    #[inline(never)]
    pub fn run<H: HttpHost>(&self, phase: Phase<'_, H>, kept: &Kept, host: &H) -> Action {
        let headers = host.encoded_request_headers();
        let attributes = StreamAttributes(host);
        let request = Request::of_encoded(&headers, &attributes);
        if let Some(explaining) = &self.router.explaining {
            self.explain(explaining, &phase, &request, kept, host);
        }
        if let (Some(egress), Phase::Start(_)) = (&self.egress, &phase) {
            let decision = egress.decide(request.method, request.authority, host);
            if egress.apply(decision, &Explained::default(), host) == Action::Pause {
                return Action::Pause;
            }
        }
        let matched = self.chain.find(&request);
        if let Phase::Start(Some(fault)) = phase {
            let plan = fault.plan_matched(matched.ok(), &request);
            if fault.apply(plan) == Action::Pause {
                return Action::Pause;
            }
        }
        remove_client_sent(&request, host);
        if let (Some(mirror), Ok(matched)) = (&self.mirror, matched) {
            let plan = mirror.mirrors.plan_matched(matched, &request, &mut &mirror.random);
            kept.copies.apply(&plan, &request, mirror, host);
        }
        let decision = self.router.decide(|| matched, &request, host);
        kept.routed.apply(decision, &self.router, host)
    }

    /// Explains the decisions about a request that may ask for it.
    #[cold]
    #[inline(never)]
    fn explain<H: HttpHost>(
        &self,
        explaining: &Rc<Explaining>,
        phase: &Phase<'_, H>,
        request: &Request<'_>,
        kept: &Kept,
        host: &H,
    ) {
        let routed = || {
            let mirror = self.mirror.as_ref().map(|mirror| mirror.explain(request));
            mirror.into_iter().chain([self.router.explain(request)]).collect()
        };
        if let Phase::AfterDelay = phase {
            // Other requests have taken the random numbers of the first explanation.
            return kept.explained.change(|own| own.routed = routed());
        }
        kept.explained.begin(explaining, Place::Last, request, host, |own| {
            let egress = self.egress.as_ref().map(|egress| egress.explain(request, host));
            let is_refused = egress.as_ref().is_some_and(|(_, is_refused)| *is_refused);
            own.egress = egress.map(|(text, _)| text);
            if !is_refused {
                own.fault = self.fault.as_ref().map(|fault| fault.explain(request, host));
                own.routed = routed();
            }
        });
    }
}
