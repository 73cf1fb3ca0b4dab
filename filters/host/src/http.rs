//! What an HTTP filter asks of Envoy during a request.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use sluice_policy::value::header::HeaderEdit;

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

/// Header names in lower case with their values, in order.
pub type Headers = Vec<(String, Vec<u8>)>;

/// A request that a filter sends itself, beside the stream.
pub struct Call<H> {
    /// The plugin that sends it, by its context
    pub plugin: u32,
    /// The name of Envoy's cluster
    pub cluster: Rc<str>,
    /// All headers, `:method`, `:path` and `:authority` among them
    pub headers: Headers,
    /// The body; none when empty
    pub body: Vec<u8>,
    /// How long it may take, from sending it to the end of the answer
    pub timeout: Duration,
    /// How much of the answer's body is read, in bytes
    pub max_answer_bytes: usize,
    /// What is done then
    pub on_answer: OnAnswer<H>,
}

/// What is done with the answer to a call.
pub type OnAnswer<H> = Box<dyn FnOnce(&H, Result<CallAnswer, CallFailure>)>;

impl<H> fmt::Debug for Call<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// What an upstream answered to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallAnswer {
    /// All headers, `:status` among them
    pub headers: Headers,
    /// The trailers
    pub trailers: Headers,
    /// The body, up to the call's `max_answer_bytes`
    pub body: Vec<u8>,
    /// The length of the whole body, in bytes
    pub body_size: usize,
}

/// Why there is no answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The upstream could not be reached, or broke off.
    Failed,
    /// It took too long.
    Timeout,
    /// Envoy has no cluster of this name.
    UnknownCluster,
}

/// The calls into Envoy, of the stream whose callback runs. None of them panics.
///
/// Nothing here names the phase: the request's headers are there in `on_http_request_headers`, the
/// response's in `on_http_response_headers`, and all of them in `on_log`. Reads out of phase are a fault
/// of the filter, which the SDK answers with a panic.
pub trait HttpHost: Host {
    /// All request headers, pseudo-headers included, names in lower case.
    fn request_headers(&self) -> Headers;

    /// The same in [one piece](sluice_policy::request::header_map), which takes the least time.
    fn encoded_request_headers(&self) -> Vec<u8>;

    /// The first value of a request header, given in lower case.
    fn request_header(&self, name: &str) -> Option<Vec<u8>>;

    /// The first value of a response header, given in lower case.
    fn response_header(&self, name: &str) -> Option<Vec<u8>>;

    /// All response headers, `:status` included, names in lower case.
    fn response_headers(&self) -> Headers;

    /// The trailers of the response.
    fn response_trailers(&self) -> Headers;

    /// The piece of the request's body that has just come, of `size` bytes.
    fn request_body(&self, size: usize) -> Vec<u8>;

    /// The piece of the response's body that has just come, of `size` bytes.
    fn response_body(&self, size: usize) -> Vec<u8>;

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

    /// Sends a request of the filter's own, once the current callback is over. It survives the stream, and
    /// is given up, without an answer, when the plugin is.
    fn call(&self, call: Call<Self>)
    where
        Self: Sized;
}
