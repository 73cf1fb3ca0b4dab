//! What an HTTP filter asks of Envoy during a request.

use sluice_policy::header::HeaderEdit;

use crate::host::Host;
pub use crate::host::{Counter, Gauge};

/// An answer in the upstream's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply<'a> {
    /// The HTTP status. Envoy turns the answer to a gRPC request into HTTP 200 with a gRPC status.
    pub status: u16,
    /// The gRPC status of the answer to a gRPC request; without one Envoy derives it from `status`
    pub grpc_status: Option<u8>,
    /// Its headers
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// Its body
    pub body: &'a [u8],
    /// Why, for `%RESPONSE_CODE_DETAILS%` of an access log
    pub details: &'a str,
}

/// The calls into Envoy, of the stream whose callback runs. None of them panics.
///
/// Nothing here names the phase: the request's headers are there in `on_http_request_headers`, the
/// response's in `on_http_response_headers`. Out of phase, reads are empty and edits are lost.
pub trait HttpHost: Host {
    /// All request headers, pseudo-headers included, names in lower case.
    fn request_headers(&self) -> Vec<(String, Vec<u8>)>;

    /// Changes the request's headers. Envoy chooses its route again afterwards.
    fn edit_request_header(&self, edit: &HeaderEdit<'_>);

    /// Changes the response's headers.
    fn edit_response_header(&self, edit: &HeaderEdit<'_>);

    /// Answers in the upstream's place. At most once a stream.
    fn reply(&self, reply: &LocalReply<'_>);

    /// Lets a request go on that was paused in its headers.
    fn resume_request(&self);

    /// Lets a response go on that was paused in its body.
    fn resume_response(&self);

    /// Breaks off the stream while its response is sent.
    fn reset_response(&self);
}
