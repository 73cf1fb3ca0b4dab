//! What is left to do for a stream when its hook, or what it does in another one, is over.

use std::cell::RefCell;

use sluice_policy::value::header::{HeaderEdit, HeaderOperation};

use crate::http::LocalReply;
use crate::native::abi::Map;
use crate::native::calls::{self, Handle};
use crate::native::current::{self, Current};
use crate::native::streams;

/// A reply of the current stream.
///
/// Envoy does not call the hook for the response of the filter that replies. So the reply waits
/// until the filter's own callback is over, and gets the edits of the filter's callback for the
/// response.
struct Reply {
    status: u16,
    grpc_status: Option<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    details: String,
}

thread_local! {
    static REPLY: RefCell<Option<Reply>> = const { RefCell::new(None) };
}

/// Replies to the current stream's request when the stream is settled.
pub fn reply(reply: &LocalReply<'_>) {
    let headers = reply.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec()));
    REPLY.set(Some(Reply {
        status: reply.status,
        grpc_status: reply.grpc_status,
        headers: headers.collect(),
        body: reply.body.to_vec(),
        details: reply.details.to_owned(),
    }));
}

/// Drops a reply that cannot be sent, so that no other stream gets it.
pub fn forget_reply() {
    REPLY.set(None);
}

/// Edits the headers of the reply. Returns false if there is none.
pub fn edit_reply(edit: &HeaderEdit<'_>) -> bool {
    REPLY.with_borrow_mut(|reply| {
        let Some(Reply { headers, .. }) = reply else { return false };
        let name = edit.name.as_bytes();
        if edit.operation != HeaderOperation::Add {
            headers.retain(|(own, _)| own != name);
        }
        if edit.operation != HeaderOperation::Remove {
            headers.push((name.to_vec(), edit.value.to_vec()));
        }
        true
    })
}

/// Settles the current stream: sends its reply, or makes Envoy choose the route of an edited
/// request, which Envoy does not do by itself. Once for all edits, as choosing a route takes longer
/// than an edit.
#[inline]
pub fn settle() {
    let is_edited = current::set_edited(false);
    if REPLY.with_borrow(Option::is_some) {
        send_reply();
    } else if is_edited
        && let Some(stream) = current::get()
        && (stream.is_in_listener || find_listener(stream))
    {
        calls::clear_route(stream.handle);
    }
}

/// Returns whether a stream is in a listener. If it is, so are all others of its plugin.
#[cold]
fn find_listener(current: Current) -> bool {
    let is_in_listener = !calls::is_in_cluster(current.handle);
    if is_in_listener && let Some(stream) = streams::of(current) {
        stream.worker.is_in_listener.set(true);
    }
    is_in_listener
}

#[cold]
fn send_reply() {
    let Some(current) = current::get() else { return };
    let stream = streams::get(current.id);
    if let Some(request) = stream.as_ref().and_then(|stream| stream.request.as_deref()) {
        let is_end =
            REPLY.with_borrow(|reply| reply.as_ref().is_none_or(|own| own.body.is_empty()));
        request.on_response_headers(is_end);
    }
    if let Some(reply) = REPLY.take() {
        send(current.handle, &reply);
    }
}

/// Answers the request of a stream that has failed.
#[cold]
pub fn fail(stream: Handle) {
    let details = "sluice_panic".to_owned();
    let (headers, body) = (Vec::new(), Vec::new());
    send(stream, &Reply { status: 500, grpc_status: None, headers, body, details });
}

fn send(stream: Handle, reply: &Reply) {
    let headers = reply.headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    let mut headers: Vec<_> = headers.collect();
    // Envoy itself would say that a gRPC request has succeeded.
    let grpc_status = reply.grpc_status.unwrap_or_else(|| grpc_status(reply.status)).to_string();
    if is_grpc(stream) {
        headers.push((b"grpc-status", grpc_status.as_bytes()));
    }
    calls::reply(stream, reply.status, &headers, &reply.body, &reply.details);
}

/// Whether the request is a gRPC request, as Envoy decides it (`Grpc::Common::hasGrpcContentType`).
fn is_grpc(stream: Handle) -> bool {
    let content_type = calls::header(stream, Map::Request, "content-type");
    let rest = content_type.as_deref().and_then(|text| text.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest, [] | [b'+', ..]))
}

/// The gRPC status for an HTTP status, as Envoy maps it (`Grpc::Utility::httpToGrpcStatus`).
fn grpc_status(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_edited_like_a_response() {
        let set = HeaderEdit::set("a", b"2".as_slice());
        assert!(!edit_reply(&set), "there is none");
        reply(&LocalReply {
            status: 200,
            grpc_status: None,
            headers: vec![(b"a", b"0"), (b"a", b"1"), (b"b", b"0"), (b"c", b"0")],
            body: b"",
            details: "",
        });
        assert!(edit_reply(&set));
        assert!(edit_reply(&HeaderEdit::remove("b")));
        let added = HeaderEdit {
            operation: HeaderOperation::Add,
            name: "c",
            value: b"1".as_slice().into(),
        };
        assert!(edit_reply(&added));
        let reply = REPLY.take().unwrap();
        assert!(!edit_reply(&set), "it was taken");
        let shown = |(name, value): &(Vec<u8>, Vec<u8>)| {
            format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        };
        let headers: Vec<_> = reply.headers.iter().map(shown).collect();
        assert_eq!(headers, ["c: 0", "a: 2", "c: 1"]);
    }
}
