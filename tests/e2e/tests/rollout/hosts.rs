//! Hosts with switches for their responses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sluice_e2e::{Answer, Endpoints, Locality, Received, Upstream};

/// How a host answers.
#[derive(Clone, Copy, Debug)]
pub enum Health {
    Good,
    /// With this status.
    Status(u16),
    /// With 200 and the header `x-health: bad`, which only the filter can detect. Requests of the
    /// cluster `native` get 500 instead.
    Marked,
}

/// Path of active health checks.
pub const CHECKS: &str = "/check";

/// A server on its own port.
pub struct Host {
    server: Upstream,
    switches: Arc<Switches>,
}

struct Switches {
    health: Mutex<Health>,
    passes_checks: AtomicBool,
}

impl Host {
    pub fn new() -> Self {
        let health = Mutex::new(Health::Good);
        let switches = Arc::new(Switches { health, passes_checks: AtomicBool::new(true) });
        let answers = switches.clone();
        let server = Upstream::answering("host", move |request| answers.answer(request));
        Self { server, switches }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn set_health(&self, health: Health) {
        *self.switches.health.lock().unwrap() = health;
    }

    pub fn set_checks(&self, pass: bool) {
        self.switches.passes_checks.store(pass, Ordering::Relaxed);
    }

    /// Refuses connections from now on.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Returns the number of requests whose path begins with `prefix`.
    pub fn received(&self, prefix: &str) -> u64 {
        self.server.received(prefix).len() as u64
    }
}

impl Switches {
    fn answer(&self, request: &Received) -> Answer {
        let status = |status| Answer { status, body: Some(""), ..Answer::default() };
        if request.path == CHECKS {
            return status(if self.passes_checks.load(Ordering::Relaxed) { 200 } else { 503 });
        }
        match *self.health.lock().unwrap() {
            Health::Good => status(200),
            Health::Status(code) => status(code),
            Health::Marked if request.path.starts_with("/native/") => status(500),
            Health::Marked => Answer { headers: vec![("x-health", "bad")], ..status(200) },
        }
    }
}

/// The addresses of the hosts of a scenario, from which endpoints are made.
pub struct Addresses(pub Vec<SocketAddr>);

impl Addresses {
    /// Endpoints of equal weight, in one locality.
    pub fn equal(&self, hosts: &[usize]) -> Endpoints {
        Endpoints::of(hosts.iter().map(|host| self.0[*host]))
    }

    /// The first `count` hosts.
    pub fn first(&self, count: usize) -> Endpoints {
        Endpoints::of(self.0[..count].iter().copied())
    }

    /// Endpoints with weights, in one locality.
    pub fn weighted(&self, hosts: &[(usize, u32)]) -> Endpoints {
        Endpoints::weighted(hosts.iter().map(|(host, weight)| (self.0[*host], *weight)))
    }

    /// A locality of hosts of equal weight.
    pub fn locality(&self, zone: &str, hosts: &[usize]) -> Locality {
        let endpoints = hosts.iter().map(|host| (self.0[*host], 1)).collect();
        Locality { zone: zone.to_owned(), endpoints, ..Locality::default() }
    }
}
