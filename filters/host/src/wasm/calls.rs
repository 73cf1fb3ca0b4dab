//! Requests that a module sends itself.
//!
//! The SDK's functions for them do not fit, for three reasons. Their headers are strings, but those
//! of a request need not be UTF-8. They panic on a token that the SDK does not know. And if a call
//! is sent in a callback of the SDK, Envoy may call the module again inside of that callback, when
//! the cluster has an upstream filter of the same module; the SDK then panics, as it holds the
//! plugin's state. So calls wait for the next tick and are sent after the SDK's callback.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use proxy_wasm::types::{BufferType, MapType};

use crate::host::PluginHost;
use crate::http::{Call, CallAnswer, CallFailure, OnAnswer};
use crate::wasm::envoy::{Envoy, encode, headers};
use crate::wasm::{abi, timer};

/// How many calls are sent in one tick; the others are sent in the next one. If Envoy fails a call
/// at once, it calls the module inside of the tick, so the limit bounds the stack of the VM.
const CALLS_PER_TICK: usize = 32;

#[derive(Default)]
struct Calls {
    /// The calls that each plugin has yet to send. A VM has few plugins
    waiting: Vec<(u32, VecDeque<Call<Envoy>>)>,
    /// The calls that are sent, by token
    sent: BTreeMap<u32, Sent>,
}

struct Sent {
    plugin: u32,
    max_answer_bytes: usize,
    on_answer: OnAnswer<Envoy>,
}

thread_local! {
    static CALLS: RefCell<Calls> = RefCell::default();
}

impl Calls {
    /// The calls that a plugin has yet to send.
    fn waiting(&mut self, plugin: u32) -> Option<&mut VecDeque<Call<Envoy>>> {
        self.waiting.iter_mut().find(|(id, _)| *id == plugin).map(|(_, queue)| queue)
    }
}

/// Sends a call in the next tick of its plugin, which has to set the timer in its own `on_tick`.
pub(crate) fn enqueue(call: Call<Envoy>) {
    timer::add_calls(1);
    let is_first = CALLS.with_borrow_mut(|calls| {
        if let Some(queue) = calls.waiting(call.plugin) {
            queue.push_back(call);
            queue.len() == 1
        } else {
            calls.waiting.push((call.plugin, VecDeque::from([call])));
            true
        }
    });
    // Only for the first one: each setting starts the timer anew, so under a constant load it would
    // never expire.
    if is_first {
        // The next tick, as a call is waiting.
        timer::set(None);
    }
}

/// Forgets the calls of a plugin that ends. Envoy has cancelled them.
pub(crate) fn forget(plugin: u32) {
    let forgotten = CALLS.with_borrow_mut(|calls| {
        let sent: Vec<_> = calls.sent.extract_if(.., |_, sent| sent.plugin == plugin).collect();
        let waiting: Vec<_> = calls.waiting.extract_if(.., |(id, _)| *id == plugin).collect();
        (sent, waiting)
    });
    let count = forgotten.1.iter().map(|(_, queue)| queue.len()).sum();
    timer::remove_calls(count);
    // Outside of the borrow, as their closures may own anything.
    drop(forgotten);
}

abi::callback! {
    /// The tick of a plugin that makes calls. The filter sets the timer anew in its own tick, and
    /// [`timer::set`] lets it expire early if calls are left.
    fn sluice_on_tick(plugin: u32) {
        for _ in 0..CALLS_PER_TICK {
            let next = CALLS.with_borrow_mut(|calls| calls.waiting(plugin)?.pop_front());
            let Some(call) = next else { break };
            timer::remove_calls(1);
            send(call);
        }
        Envoy.enter(plugin);
        abi::proxy_on_tick(plugin);
    }
}

fn send(call: Call<Envoy>) {
    Envoy.enter(call.plugin);
    let headers = call.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_slice()));
    let headers = encode(&headers.collect::<Vec<_>>());
    let trailers = encode(&[]);
    let timeout = u32::try_from(call.timeout.as_millis()).unwrap_or(u32::MAX);
    let sent = abi::http_call(&call.cluster, &headers, &call.body, &trailers, timeout);
    let Call { plugin, max_answer_bytes, on_answer, .. } = call;
    match sent {
        Ok(token) => {
            let sent = Sent { plugin, max_answer_bytes, on_answer };
            CALLS.with_borrow_mut(|calls| calls.sent.insert(token, sent));
        }
        // The headers come from a request that Envoy has accepted, so they have what a call needs.
        Err(abi::BAD_ARGUMENT) => on_answer(&Envoy, Err(CallFailure::UnknownCluster)),
        Err(_) => on_answer(&Envoy, Err(CallFailure::Failed)),
    }
}

abi::callback! {
    /// The answer to a call.
    fn sluice_on_http_call_response(
        plugin: u32,
        token: u32,
        header_count: usize,
        body_size: usize,
        trailer_count: usize,
    ) {
        let Some(sent) = CALLS.with_borrow_mut(|calls| calls.sent.remove(&token)) else { return };
        Envoy.enter(plugin);
        // Without headers the upstream has closed the connection, and there is nothing to read.
        let map = |kind, count| match count > 0 && header_count > 0 {
            true => headers(kind),
            false => Vec::new(),
        };
        let answer = CallAnswer {
            headers: map(MapType::HttpCallResponseHeaders, header_count),
            trailers: map(MapType::HttpCallResponseTrailers, trailer_count),
            body: match body_size.min(sent.max_answer_bytes) {
                0 => Vec::new(),
                size => abi::buffer(BufferType::HttpCallResponseBody, 0, size),
            },
            body_size,
        };
        (sent.on_answer)(&Envoy, answer.of_upstream());
    }
}
