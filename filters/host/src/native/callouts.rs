//! Requests that filters send themselves.
//!
//! An HTTP filter of a dynamic module can send requests too, but they end with the stream or with
//! the configuration, and filters compare answers that come after both. Envoy may end a
//! configuration in a worker thread, where it would cancel what the main thread sends. So requests
//! are sent by a bootstrap extension, which lives as long as Envoy. They are sent and answered in
//! Envoy's main thread.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::http::{Call, CallAnswer, CallFailure, OnAnswer};
use crate::native::abi::{Buffer, Header};
use crate::native::answers;
use crate::native::calls::{Handle, Scheduler, bootstrap};
use crate::native::configurations::Metrics;
use crate::native::envoy::Envoy;

/// The name of the extension in Envoy's configuration.
const NAME: &[u8] = b"calls";

/// How many requests are sent in one hook; the others are sent in the next one, so that Envoy's
/// main thread is not busy for long.
const CALLS_PER_HOOK: usize = 32;

/// A call with the metrics of the filter that sends it.
struct Waiting {
    call: Call<Envoy>,
    metrics: Metrics,
}

struct Sent {
    metrics: Metrics,
    max_answer_bytes: usize,
    on_answer: OnAnswer<Envoy>,
}

/// What workers share with the main thread.
struct Outbox {
    /// The scheduler of the extension, if Envoy's configuration has it
    scheduler: Option<Scheduler>,
    waiting: VecDeque<Waiting>,
}

static OUTBOX: Mutex<Outbox> = Mutex::new(Outbox { scheduler: None, waiting: VecDeque::new() });

fn outbox() -> MutexGuard<'static, Outbox> {
    // A panic leaves nothing half changed.
    OUTBOX.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The calls of the main thread that have no answer yet, by Envoy's number.
    static SENT: RefCell<HashMap<u64, Sent>> = RefCell::default();
}

/// Sends a call of the filter with these metrics.
pub fn send(call: Call<Envoy>, metrics: Metrics) {
    let mut outbox = outbox();
    outbox.waiting.push_back(Waiting { call, metrics });
    // Only for the first one: the hook takes all.
    if outbox.waiting.len() == 1
        && let Some(scheduler) = &outbox.scheduler
    {
        scheduler.commit();
    }
}

/// Envoy's configuration has an extension. Returns false if there is none of this name.
pub fn begin(extension: Handle, name: &[u8]) -> bool {
    bootstrap::complete_start(extension);
    if name != NAME {
        let name = String::from_utf8_lossy(name);
        log::error!("extension_name: {name:?} is not {}", String::from_utf8_lossy(NAME));
        return false;
    }
    outbox().scheduler = Some(bootstrap::scheduler(extension));
    true
}

/// Envoy ends.
pub fn end() {
    let ended = {
        let mut outbox = outbox();
        (outbox.scheduler.take(), std::mem::take(&mut outbox.waiting))
    };
    // Outside of the lock, as their closures may own anything.
    drop((ended, SENT.take()));
}

/// Sends the calls that wait.
pub fn scheduled(extension: Handle) {
    for _ in 0..CALLS_PER_HOOK {
        let next = outbox().waiting.pop_front();
        let Some(Waiting { call, metrics }) = next else { return };
        let timeout_ms = u64::try_from(call.timeout.as_millis()).unwrap_or(u64::MAX);
        let Call { cluster, mut headers, body, max_answer_bytes, on_answer, .. } = call;
        if !body.is_empty() {
            // Envoy adds it to the calls of wasm modules only.
            headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
        }
        let sent = Sent { metrics, max_answer_bytes, on_answer };
        match bootstrap::call(extension, &cluster, &headers, &body, timeout_ms) {
            Ok(number) => {
                SENT.with_borrow_mut(|all| all.insert(number, sent));
            }
            Err(failure) => answer(extension, sent, Err(failure)),
        }
    }
    let outbox = outbox();
    if let Some(scheduler) = outbox.scheduler.as_ref().filter(|_| !outbox.waiting.is_empty()) {
        scheduler.commit();
    }
}

/// A call has an answer, or none if it has no headers.
pub fn answered(
    extension: Handle,
    number: u64,
    (headers, header_count): (*const Header, usize),
    (body, piece_count): (*const Buffer, usize),
) {
    let Some(sent) = SENT.with_borrow_mut(|all| all.remove(&number)) else { return };
    let headers = bootstrap::copied_headers(headers, header_count);
    let (body, body_size) = bootstrap::copied_body(body, piece_count, sent.max_answer_bytes);
    // Envoy does not pass the trailers.
    let answer_of_call = CallAnswer { headers, trailers: Vec::new(), body, body_size };
    answer(extension, sent, answer_of_call.of_upstream());
}

fn answer(extension: Handle, sent: Sent, result: Result<CallAnswer, CallFailure>) {
    let Sent { metrics, on_answer, .. } = sent;
    answers::run(extension, metrics, || on_answer(&Envoy, result));
}
