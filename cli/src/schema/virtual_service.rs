//! `virtualServices[]`.

#![allow(dead_code, reason = "only their schemas are of use")]

use schemars::JsonSchema;
use serde_json::Value;

use super::Map;
use super::fault::Fault;
use super::tls_route::TlsRoute;

/// The spec of a VirtualService.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualService {
    /// The hosts that it is for: names, *.SUFFIX, or * at a gateway.
    hosts: Vec<String>,
    /// The gateways that it is bound to; mesh without any.
    gateways: Option<Vec<String>>,
    /// Routes of HTTP requests; the first that matches is taken.
    http: Option<Vec<HttpRoute>>,
    /// Routes of TLS connections, by their server name.
    tls: Option<Vec<TlsRoute>>,
    /// Not carried out by the filters.
    tcp: Option<Vec<Value>>,
    /// Of no effect: only attached documents apply.
    export_to: Option<Vec<String>>,
}

/// What happens to the requests that one of its matches fits.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRoute {
    /// For logs.
    name: Option<String>,
    /// Conditions, of which one is enough; none is every request.
    r#match: Option<Vec<HttpMatch>>,
    /// Where requests are sent, by weight.
    route: Option<Vec<RouteDestination>>,
    /// Answers with a redirect.
    redirect: Option<Redirect>,
    /// Answers with a fixed response.
    direct_response: Option<DirectResponse>,
    /// Changes the path or the host of what is forwarded.
    rewrite: Option<Rewrite>,
    /// How long the response may take, such as 3s.
    timeout: Option<String>,
    /// Retries.
    retries: Option<Retries>,
    /// Delays and aborts.
    fault: Option<Fault>,
    /// Where copies go to.
    mirror: Option<Destination>,
    /// How many requests are copied; all if absent.
    mirror_percentage: Option<Percent>,
    /// Deprecated, use mirrorPercentage.
    #[schemars(range(min = 0, max = 100))]
    mirror_percent: Option<i64>,
    /// Where copies go to, several.
    mirrors: Option<Vec<Mirror>>,
    /// Cross-origin requests.
    cors_policy: Option<CorsPolicy>,
    /// Header operations.
    headers: Option<Headers>,
}

/// Conditions that have to hold together.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMatch {
    /// For logs.
    name: Option<String>,
    /// The path without its query.
    uri: Option<StringMatch>,
    /// Whether the case of the path does not matter, with exact and prefix.
    ignore_uri_case: Option<bool>,
    /// http or https.
    scheme: Option<StringMatch>,
    /// The method, in upper case.
    method: Option<StringMatch>,
    /// The host, with the port that it may have.
    authority: Option<StringMatch>,
    /// Headers; {} asks for presence.
    headers: Option<Map<StringMatch>>,
    /// Headers that must not be so; {} asks for absence.
    without_headers: Option<Map<Option<StringMatch>>>,
    /// Query parameters; {} asks for presence.
    query_params: Option<Map<StringMatch>>,
    /// The port that the client called.
    port: Option<u16>,
    /// Labels of the proxy's workload.
    source_labels: Option<Map<String>>,
    /// The namespace of the proxy's workload.
    source_namespace: Option<String>,
    /// Gateways, in place of those of the virtual service.
    gateways: Option<Vec<String>>,
    /// Not carried out by the filters, set it in Envoy.
    stat_prefix: Option<String>,
}

/// A condition on a value: one of the three.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct StringMatch {
    /// The value is this one.
    exact: Option<String>,
    /// The value starts with this.
    prefix: Option<String>,
    /// The whole value matches this regular expression (RE2).
    regex: Option<String>,
}

/// A destination with its share.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteDestination {
    /// Where requests go to.
    destination: Destination,
    /// The share out of the sum of all weights.
    #[schemars(range(min = 0, max = 2147483647))]
    weight: Option<i64>,
    /// Header operations.
    headers: Option<Headers>,
}

/// A service, or a subset of it.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// The host.
    host: String,
    /// The subset.
    subset: Option<String>,
    /// The port, required where clusterName has {port}.
    port: Option<PortSelector>,
}

/// A port by its number.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortSelector {
    /// The number.
    #[schemars(range(min = 1))]
    number: u16,
}

/// A target of copies.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// Where copies go to.
    destination: Destination,
    /// How many requests are copied; all if absent.
    percentage: Option<Percent>,
}

/// A percentage.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Percent {
    /// 0 to 100, in steps of 0.0001.
    value: Option<Number>,
}

/// A number, which may be written as a string.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Number {
    /// As a number
    Number(f64),
    /// As a string
    Text(String),
}

/// Header operations.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Headers {
    /// Of the request.
    request: Option<HeaderOperations>,
    /// Of the response.
    response: Option<HeaderOperations>,
}

/// Operations on the headers of a message.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderOperations {
    /// Replaces values.
    set: Option<Map<String>>,
    /// Adds values.
    add: Option<Map<String>>,
    /// Removes headers.
    remove: Option<Vec<String>>,
}

/// A rewrite.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rewrite {
    /// Replaces the part of the path that was matched.
    uri: Option<String>,
    /// Replaces parts of the path by a regular expression.
    uri_regex_rewrite: Option<RegexRewrite>,
    /// Replaces the host.
    authority: Option<String>,
}

/// A rewrite by a regular expression.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegexRewrite {
    /// What is replaced.
    r#match: String,
    /// The replacement, with \1 for groups.
    rewrite: String,
}

/// A redirect.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redirect {
    /// The new path.
    uri: Option<String>,
    /// What replaces the prefix that was matched.
    prefix_rewrite: Option<String>,
    /// The new host.
    authority: Option<String>,
    /// The new scheme; that of the request if absent.
    scheme: Option<Scheme>,
    /// The new port.
    #[schemars(range(min = 1))]
    port: Option<u16>,
    /// Where the new port is from.
    derive_port: Option<DerivePort>,
    /// The status; 301 if absent or 0.
    redirect_code: Option<RedirectCode>,
}

/// The status of a redirect.
#[derive(JsonSchema)]
#[schemars(extend("enum" = [0, 301, 302, 303, 307, 308]))]
pub struct RedirectCode(u16);

/// A scheme.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub enum Scheme {
    /// Without TLS
    Http,
    /// With TLS
    Https,
}

/// Where the port of a redirect is from.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DerivePort {
    /// 80 or 443
    FromProtocolDefault,
    /// The port that the client called
    FromRequestPort,
}

/// A fixed response.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectResponse {
    /// The status.
    #[schemars(range(min = 200, max = 599))]
    status: u16,
    /// The body.
    body: Option<Body>,
}

/// The body of a fixed response: one of the two.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Body {
    /// As text.
    string: Option<String>,
    /// In base64.
    bytes: Option<String>,
}

/// Retries.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retries {
    /// How often a request is sent again.
    #[schemars(range(min = 0))]
    attempts: Option<i64>,
    /// How long one attempt may take.
    per_try_timeout: Option<String>,
    /// Conditions of Envoy and statuses, separated by commas.
    retry_on: Option<String>,
    /// Not carried out by the filters.
    retry_remote_localities: Option<bool>,
    /// Not carried out by the filters.
    retry_ignore_previous_hosts: Option<bool>,
    /// Not carried out by the filters.
    backoff: Option<String>,
}

/// Cross-origin requests.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct CorsPolicy {
    /// Deprecated, use allowOrigins.
    allow_origin: Option<Vec<String>>,
    /// The origins that are allowed.
    allow_origins: Option<Vec<StringMatch>>,
    /// The methods that are allowed.
    allow_methods: Option<Vec<String>>,
    /// The request headers that are allowed.
    allow_headers: Option<Vec<String>>,
    /// The response headers that a browser may read.
    expose_headers: Option<Vec<String>>,
    /// How long a browser may keep the answer to a preflight.
    max_age: Option<String>,
    /// Whether credentials are allowed.
    allow_credentials: Option<bool>,
    /// What becomes of preflights of origins that are not allowed.
    unmatched_preflights: Option<UnmatchedPreflights>,
}

/// What becomes of preflights of origins that are not allowed.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnmatchedPreflights {
    /// As FORWARD
    Unspecified,
    /// The service gets them.
    Forward,
    /// They are answered, without what would allow them.
    Ignore,
}
