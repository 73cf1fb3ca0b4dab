//! What the filters have beyond Istio.

#![allow(dead_code, reason = "only their schemas are of use")]

use schemars::JsonSchema;

use super::Map;
use super::virtual_service::{Percent, StringMatch};

/// What this proxy is.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// The namespace of its workload.
    namespace: Option<String>,
    /// The labels of its workload.
    labels: Option<Map<String>>,
    /// The gateways that it serves; mesh for a sidecar.
    gateways: Option<Vec<String>>,
}

/// Draws that are sticky by user.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sampling {
    /// Where the key of a user is found; the first that there is.
    #[schemars(length(min = 1))]
    key: Vec<SamplingKey>,
    /// What separates one experiment from the next.
    salt: Option<String>,
}

/// One place to look for the key of a user: one of the three.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct SamplingKey {
    /// A header.
    header: Option<String>,
    /// A cookie.
    cookie: Option<String>,
    /// The address of the client.
    source_address: Option<bool>,
}

/// Limits of faults.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Faults {
    /// How many requests may be in the hands of the filter at once.
    max_active: Option<u32>,
    /// How many faults a worker may inject in a while.
    budget: Option<FaultBudget>,
    /// When faults end, such as 2026-12-31T23:59:59Z.
    not_after: Option<String>,
    /// Which faults requests may ask for, and how often they get them at the most.
    headers: Option<HeaderFaults>,
    /// Whether a faulted response says so in x-sluice-fault; true if absent.
    mark_responses: Option<bool>,
}

/// So many faults in a while.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultBudget {
    /// How many.
    faults: u32,
    /// The while, such as 1m.
    window: String,
}

/// Which faults requests may ask for.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderFaults {
    /// Delays.
    delay: Option<Percent>,
    /// Aborts.
    abort: Option<Percent>,
}

/// Conditions on copies, and how they are compared.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirroring {
    /// Only requests with these methods are copied; all if absent.
    methods: Option<Vec<String>>,
    /// Only requests whose headers are so are copied.
    headers: Option<Map<StringMatch>>,
    /// How many requests a worker may have copied in a while.
    budget: Option<MirrorBudget>,
    /// How copies are compared with their originals.
    compare: Option<Compare>,
}

/// So many copied requests in a while.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorBudget {
    /// How many.
    requests: u32,
    /// The while, such as 1s.
    window: String,
}

/// How copies are compared with their originals.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compare {
    /// Whether statuses are compared.
    statuses: Option<bool>,
    /// The response headers that are compared.
    headers: Option<Vec<String>>,
    /// Whether bodies are compared.
    body_hash: Option<bool>,
    /// The methods of requests that are compared.
    methods: Option<Vec<String>>,
    /// What copies go without.
    remove_headers: Option<Vec<String>>,
    /// How long the answer to a copy may take.
    timeout: Option<String>,
    /// The longest body of a request that is kept for the copy.
    #[schemars(range(max = 16777216))]
    max_body_bytes: Option<u32>,
    /// How many comparisons may be under way.
    max_active: Option<u32>,
}

/// How strictly server names are compared.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sni {
    /// What becomes of connections whose names do not agree.
    mode: Option<Mode>,
    /// What becomes of connections without a server name.
    missing: Option<MissingName>,
    /// What becomes of encrypted ClientHellos.
    ech: Option<Ech>,
    /// How the host of a request has to be the server name.
    authority: Option<Authority>,
    /// Whether the name of the TLS inside has to be that outside.
    inner_must_match_outer: Option<bool>,
    /// Whether connections are routed.
    routing: Option<bool>,
    /// Whether the server name is passed on.
    forward_sni: Option<bool>,
    /// The names that are allowed.
    hosts: Option<Vec<String>>,
    /// The longest ClientHello.
    #[schemars(range(min = 64, max = 65536))]
    max_client_hello_bytes: Option<u32>,
    /// How long a ClientHello may take.
    hello_timeout: Option<String>,
}

/// Who may be called.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutboundTrafficPolicy {
    /// Whether others than the ServiceEntries' may be called.
    mode: OutboundMode,
}

/// What becomes of requests for hosts that no VirtualService has.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub enum UnmatchedHosts {
    /// They are answered with 404.
    NotFound,
    /// They are left to Envoy's own routes.
    Pass,
}

/// Whether others than the ServiceEntries' may be called.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundMode {
    /// They may not.
    RegistryOnly,
    /// They may.
    AllowAny,
}

/// Settings of the egress filter.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Egress {
    /// What becomes of calls that are not allowed.
    mode: Option<Mode>,
    /// The status of requests that are blocked.
    block_status: Option<BlockStatus>,
    /// What becomes of connections without a server name.
    missing: Option<MissingDestination>,
    /// The port that is looked up.
    port: Option<PortSource>,
}

/// The status of requests that are blocked.
#[derive(JsonSchema)]
#[schemars(extend("enum" = [502, 403]))]
pub struct BlockStatus(u16);

/// The port that is looked up.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum PortSource {
    /// Always this one
    Number(#[schemars(range(min = 1))] u16),
    /// One that is found
    Found(PortOf),
}

/// Where the port that is looked up is found.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub enum PortOf {
    /// That which the client called
    Destination,
    /// That in the host of the request
    Authority,
}

/// What becomes of what is not allowed.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// It is only counted and logged.
    ReportOnly,
}

/// What becomes of connections without a server name.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub enum MissingName {
    /// They are refused.
    Refuse,
    /// They are let through.
    Allow,
}

/// What becomes of connections without a server name.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub enum MissingDestination {
    /// They are refused.
    Refuse,
    /// They are known by their address.
    ByAddress,
}

/// What becomes of encrypted ClientHellos.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub enum Ech {
    /// They are refused.
    Refuse,
    /// The name outside counts.
    OuterName,
}

/// How the host of a request has to be the server name.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub enum Authority {
    /// Within the same entry of the hosts
    Entry,
    /// The same
    Exact,
}
