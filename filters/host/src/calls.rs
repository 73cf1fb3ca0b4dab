//! Requests that a module sends itself.
//!
//! Not through the SDK, for three reasons. Its headers are strings, and those of a request need not be
//! UTF-8. It takes a token that it does not know for a bug, and panics. And a call that is sent from one
//! of its callbacks can make Envoy call the module again inside of it, when the cluster has an upstream
//! filter of the same module, while the SDK holds the plugin's state: a panic as well. So calls wait for
//! the next tick, whose callback here sends them once the SDK is done.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, Status};

use crate::envoy::{Envoy, buffer, encode_pairs, enter, set_timer};
use crate::http::{Call, CallAnswer, CallFailure, OnAnswer};

/// How many calls are sent in one tick; the others in the next. As with streams that are resumed, what
/// Envoy has to say about each of them at once is said on the VM's stack, one inside of the other.
const CALLS_PER_TICK: usize = 32;

/// As soon as possible.
const NEXT_TICK: Duration = Duration::from_millis(1);

/// The header that Envoy adds to the answers of upstreams, and not to its own.
const FROM_UPSTREAM: &str = "x-envoy-upstream-service-time";

/// The status with which Envoy itself answers when a call takes too long.
const TIMEOUT_STATUS: &[u8] = b"504";

#[derive(Default)]
struct Calls {
    /// By plugin, what it has yet to send
    waiting: HashMap<u32, VecDeque<Call<Envoy>>>,
    /// By token, what is sent
    sent: HashMap<u32, Sent>,
}

struct Sent {
    plugin: u32,
    max_answer_bytes: usize,
    on_answer: OnAnswer<Envoy>,
}

thread_local! {
    static CALLS: RefCell<Calls> = RefCell::default();
}

/// Has a call sent in the plugin's next tick.
pub(crate) fn enqueue(call: Call<Envoy>) {
    let is_first = CALLS.with_borrow_mut(|calls| {
        let queue = calls.waiting.entry(call.plugin).or_default();
        queue.push_back(call);
        queue.len() == 1
    });
    // Only once: arming it again and again would put the tick off for as long as there are requests.
    if is_first {
        set_timer(Some(NEXT_TICK));
    }
}

/// Forgets the calls of a plugin that is gone. Envoy has cancelled them.
pub fn forget(plugin: u32) {
    let forgotten = CALLS.with_borrow_mut(|calls| {
        let sent = std::mem::take(&mut calls.sent);
        let (gone, kept) = sent.into_iter().partition(|(_, sent)| sent.plugin == plugin);
        calls.sent = kept;
        let gone: HashMap<u32, Sent> = gone;
        (gone, calls.waiting.remove(&plugin))
    });
    // Outside of the borrow: what they hold may be anything.
    drop(forgotten);
}

unsafe extern "C" {
    safe fn proxy_on_tick(plugin: u32);
}

/// The tick of a plugin that makes calls. The build puts it in the place of the SDK's callback in modules
/// that list it. Such a plugin must leave the timer alone.
#[unsafe(no_mangle)]
pub extern "C" fn sluice_on_tick(plugin: u32) {
    proxy_on_tick(plugin);
    for _ in 0..CALLS_PER_TICK {
        let next = CALLS.with_borrow_mut(|calls| calls.waiting.get_mut(&plugin)?.pop_front());
        let Some(call) = next else { break };
        send(call);
    }
    let is_done =
        CALLS.with_borrow(|calls| calls.waiting.get(&plugin).is_none_or(|queue| queue.is_empty()));
    if is_done {
        enter(plugin);
        set_timer(None);
    }
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout_milliseconds: u32,
        token: *mut u32,
    ) -> Status;
}

fn send(call: Call<Envoy>) {
    enter(call.plugin);
    let headers: Vec<(&str, &[u8])> =
        call.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let headers = encode_pairs(&headers);
    let trailers = encode_pairs(&[]);
    let timeout = u32::try_from(call.timeout.as_millis()).unwrap_or(u32::MAX);
    let mut token = 0;
    // SAFETY: every pointer comes from a slice that outlives the call, with that slice's length, and
    // Envoy only reads from them; it writes the token.
    let status = unsafe {
        proxy_http_call(
            call.cluster.as_ptr(),
            call.cluster.len(),
            headers.as_ptr(),
            headers.len(),
            call.body.as_ptr(),
            call.body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout,
            &raw mut token,
        )
    };
    let Call { plugin, max_answer_bytes, on_answer, .. } = call;
    match status {
        Status::Ok => {
            let sent = Sent { plugin, max_answer_bytes, on_answer };
            CALLS.with_borrow_mut(|calls| calls.sent.insert(token, sent));
        }
        // The copy of a request that Envoy has accepted has the headers that a call needs.
        Status::BadArgument => on_answer(&Envoy, Err(CallFailure::UnknownCluster)),
        _ => on_answer(&Envoy, Err(CallFailure::Failed)),
    }
}

/// The answer to a call. The build puts it in the place of the SDK's callback in modules that list it.
#[unsafe(no_mangle)]
pub extern "C" fn sluice_on_http_call_response(
    plugin: u32,
    token: u32,
    headers: usize,
    body_size: usize,
    trailers: usize,
) {
    let Some(sent) = CALLS.with_borrow_mut(|calls| calls.sent.remove(&token)) else { return };
    enter(plugin);
    // Without headers the upstream broke off, and there is nothing that could be asked for.
    let map = |kind, size| match size > 0 && headers > 0 {
        true => hostcalls::get_map_bytes(kind).unwrap_or_default(),
        false => Vec::new(),
    };
    let answer = CallAnswer {
        headers: map(MapType::HttpCallResponseHeaders, headers),
        trailers: map(MapType::HttpCallResponseTrailers, trailers),
        body: match body_size.min(sent.max_answer_bytes) {
            0 => Vec::new(),
            size => buffer(BufferType::HttpCallResponseBody, size),
        },
        body_size,
    };
    let header = |wanted: &str| answer.headers.iter().find(|(name, _)| name == wanted);
    let result = if header(FROM_UPSTREAM).is_some() {
        Ok(answer)
    } else if header(":status").is_some_and(|(_, status)| status == TIMEOUT_STATUS) {
        Err(CallFailure::Timeout)
    } else {
        Err(CallFailure::Failed)
    };
    (sent.on_answer)(&Envoy, result);
}
