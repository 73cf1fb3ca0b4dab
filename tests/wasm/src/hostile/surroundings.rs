//! The headers, bodies and attributes of a stream.

use fastrand::Rng;

use crate::answers::{headers, value};
use crate::host::{Host, map};

/// Attributes that the modules read.
const ATTRIBUTES: [&str; 14] = [
    "connection.id",
    "connection.requested_server_name",
    "connection.tls_version",
    "destination.address",
    "destination.port",
    "plugin_root_id",
    "request.host",
    "response.backend_latency",
    "response.code_details",
    "response.flags",
    "source.address",
    "upstream.address",
    "upstream.num_endpoints",
    "xds.cluster_name",
];

/// Attributes as Envoy has them.
const USUAL: [(&str, &[u8]); 9] = [
    ("connection.id", &7u64.to_le_bytes()),
    ("connection.requested_server_name", b"shop.example.com"),
    ("destination.address", b"10.0.0.1:80"),
    ("destination.port", &80i64.to_le_bytes()),
    ("response.code_details", b"via_upstream"),
    ("source.address", b"10.0.0.9:41234"),
    ("upstream.address", b"10.0.0.5:8080"),
    ("upstream.num_endpoints", &5u64.to_le_bytes()),
    ("xds.cluster_name", b"reviews"),
];

/// Gives the next callback other headers, bodies and attributes, or none.
pub(super) fn change(host: &mut Host, rng: &mut Rng) {
    let path = |name: &str| name.replace('.', "\0").into_bytes();
    if rng.u8(..4) == 0 {
        host.properties = USUAL.map(|(name, value)| (path(name), value.to_vec())).into();
        if rng.bool() {
            host.properties.insert(path("plugin_root_id"), b"upstream".to_vec());
        }
    }
    for _ in 0..rng.u8(..3) {
        let name = path(rng.choice(ATTRIBUTES).unwrap_or_default());
        host.properties.insert(name, value(rng));
    }
    // The maps and buffers of proxy-wasm are numbered up to 8.
    let kind = rng.u32(..9);
    match rng.u8(..4) {
        0 => drop(host.maps.remove(&kind)),
        _ => drop(host.maps.insert(kind, headers(rng))),
    }
    match rng.u8(..4) {
        0 => drop(host.buffers.remove(&kind)),
        _ => drop(host.buffers.insert(kind, value(rng))),
    }
    if rng.bool() {
        let usual = [(":authority", "shop.example.com"), (":path", "/"), (":method", "GET")];
        let user = rng.bool().then_some(("end-user", "user-7"));
        let all = usual.into_iter().chain(user);
        let all = all.map(|(name, value)| (name.to_owned(), value.into()));
        host.maps.insert(map::REQUEST_HEADERS, all.collect());
    }
}
