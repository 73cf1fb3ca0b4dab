//! The calls into Envoy that an HTTP filter makes during a request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sluice_policy::spec::mirror::compare::UPSTREAM_TIME;
use sluice_policy::value::header::HeaderEdit;

use crate::host::Host;

/// A response of the filter itself, in place of the upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply<'a> {
    /// The HTTP status. Envoy turns the reply to a gRPC request into HTTP 200 with a gRPC status.
    pub status: u16,
    /// The gRPC status of the reply to a gRPC request; without one Envoy derives it from `status`
    pub grpc_status: Option<u8>,
    /// The headers
    pub headers: Vec<(&'a [u8], &'a [u8])>,
    /// The body
    pub body: &'a [u8],
    /// The reason, for `%RESPONSE_CODE_DETAILS%` in access logs
    pub details: &'a str,
}

/// Header names in lower case with their values, in order.
pub type Headers = Vec<(String, Vec<u8>)>;

/// A request that a filter sends itself, beside the stream.
pub struct Call<H> {
    /// The context of the plugin that sends it
    pub plugin: u32,
    /// The name of Envoy's cluster
    pub cluster: Arc<str>,
    /// All headers, including `:method`, `:path` and `:authority`
    pub headers: Headers,
    /// The body; empty for none
    pub body: Vec<u8>,
    /// The longest time from sending the request to the end of the answer
    pub timeout: Duration,
    /// How much of the answer's body is read, in bytes
    pub max_answer_bytes: usize,
    /// Called with the answer
    pub on_answer: OnAnswer<H>,
}

/// Handles the answer to a call. The answer may arrive in another thread than the one that has sent
/// the call.
pub type OnAnswer<H> = Box<dyn FnOnce(&H, Result<CallAnswer, CallFailure>) + Send>;

impl<H> fmt::Debug for Call<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// The answer of an upstream to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallAnswer {
    /// All headers, including `:status`
    pub headers: Headers,
    /// The trailers
    pub trailers: Headers,
    /// The body, up to the call's `max_answer_bytes`
    pub body: Vec<u8>,
    /// The length of the whole body, in bytes
    pub body_size: usize,
}

/// The status of Envoy's own answer when a call takes too long.
const TIMEOUT_STATUS: &[u8] = b"504";

impl CallAnswer {
    /// Returns the answer if it is that of an upstream. Envoy answers itself, without this header,
    /// if there is none.
    pub fn of_upstream(self) -> Result<Self, CallFailure> {
        let header = |wanted: &str| self.headers.iter().find(|(name, _)| name == wanted);
        if header(UPSTREAM_TIME).is_some() {
            return Ok(self);
        }
        match header(":status") {
            Some((_, status)) if status == TIMEOUT_STATUS => Err(CallFailure::Timeout),
            _ => Err(CallFailure::Failed),
        }
    }
}

/// `%RESPONSE_CODE_DETAILS%` of a response that an upstream has sent, unless it broke off.
const VIA_UPSTREAM: &[u8] = b"via_upstream";

/// The reason why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The upstream could not be reached, or closed the connection before the end of its answer.
    Failed,
    /// The call took too long.
    Timeout,
    /// Envoy has no cluster of this name.
    UnknownCluster,
}

/// The calls into Envoy about the stream whose callback runs. None of them panics.
///
/// The headers of the request exist from `on_request_headers` on, those of the response from
/// `on_response_headers` on; all of them exist in `on_log`. Outside of these callbacks reads return
/// nothing, and edits have no effect.
pub trait HttpHost: Host {
    /// Returns all request headers, including pseudo-headers, with names in lower case.
    fn request_headers(&self) -> Headers;

    /// Returns the request headers in [the encoding](sluice_policy::request::header_map) in which
    /// Envoy passes them. This is the fastest way to read them.
    fn encoded_request_headers(&self) -> Vec<u8>;

    /// Returns the first value of the request header with this name, in lower case.
    fn request_header(&self, name: &str) -> Option<Vec<u8>>;

    /// Returns the first value of the response header with this name, in lower case.
    fn response_header(&self, name: &str) -> Option<Vec<u8>>;

    /// Returns all response headers, including `:status`, with names in lower case.
    fn response_headers(&self) -> Headers;

    /// Returns the trailers of the response.
    fn response_trailers(&self) -> Headers;

    /// Returns the piece of the request's body that has just arrived, of `size` bytes.
    fn request_body(&self, size: usize) -> Vec<u8>;

    /// Returns the piece of the response's body that has just arrived, of `size` bytes.
    fn response_body(&self, size: usize) -> Vec<u8>;

    /// Returns, in `on_log`, whether an upstream has answered, and the client has received all of
    /// the answer.
    fn is_answered(&self) -> bool {
        let flags = self.property(&["response", "flags"]).unwrap_or_default();
        let details = self.property(&["response", "code_details"]);
        details.as_deref() == Some(VIA_UPSTREAM) && flags.iter().all(|byte| *byte == 0)
    }

    /// Changes the request's headers. Envoy then chooses the route again.
    fn edit_request_header(&self, edit: &HeaderEdit<'_>);

    /// Changes the response's headers.
    fn edit_response_header(&self, edit: &HeaderEdit<'_>);

    /// Answers the request in the upstream's place, at most once per stream. The callback has to
    /// return [`Pause`](crate::filter::Action::Pause).
    fn reply(&self, reply: &LocalReply<'_>);

    /// Resumes a request that was paused in `on_request_headers`.
    fn resume_request(&self);

    /// Resumes a response that was paused in `on_response_body`.
    fn resume_response(&self);

    /// Resets the stream while its response is being sent.
    fn reset_response(&self);

    /// Sends a request of the filter's own after the current callback has returned. The call
    /// outlives the stream. A wasm module sends it in a tick of the plugin, so the filter must set
    /// the timer anew in `on_tick`, or turn it off.
    fn call(&self, call: Call<Self>)
    where
        Self: Sized;

    /// Forgets the calls of a plugin that ends, if Envoy has cancelled them. Their `on_answer` is
    /// dropped.
    fn forget_calls(&self, plugin: u32);
}
