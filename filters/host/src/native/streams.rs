//! The requests of a worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use crate::filter::HttpStream;
use crate::native::calls::{Handle, Scheduler};
use crate::native::configurations::{self, Key, Worker};
use crate::native::current::{self, Current};
use crate::native::ending::Ending;
use crate::native::table::Table;
use crate::native::timer::Wake;

/// A request.
pub struct Stream {
    pub current: Current,
    pub worker: Worker,
    /// `None` if the filter does nothing for the stream
    pub request: Option<Box<dyn HttpStream>>,
    /// Whether a hook of the stream has panicked. It gets no other one then
    pub has_failed: Cell<bool>,
    /// Whether the end of the response was seen, if the filter follows the stream
    pub has_response: Cell<bool>,
    /// Whether the filter knows that the stream has ended
    pub ending: Ending,
    /// When the stream is woken, if it waits
    wake: RefCell<Option<Wake>>,
}

thread_local! {
    static STREAMS: Table<Stream> = const { Table::new() };
}

/// Makes a stream of a configuration, and returns its number.
pub fn add(key: Key, handle: Handle) -> Option<u32> {
    let worker = configurations::worker(key)?;
    let id = STREAMS.with(Table::next)?;
    let current = Current::new(id, handle, worker.is_in_listener.get());
    let request = current::run(current, || worker.plugin.request(id));
    let stream = Stream {
        current,
        worker,
        request,
        has_failed: Cell::default(),
        has_response: Cell::default(),
        ending: Ending::default(),
        wake: RefCell::default(),
    };
    STREAMS.with(|streams| streams.add(stream));
    Some(id)
}

/// Returns a stream of this worker.
#[inline]
pub fn get(id: u32) -> Option<Rc<Stream>> {
    STREAMS.with(|streams| streams.get(id))
}

/// Returns the stream of a hook, unless it was removed meanwhile.
pub fn of(current: Current) -> Option<Rc<Stream>> {
    get(current.id).filter(|stream| stream.current.handle == current.handle)
}

/// Drops a stream.
pub fn remove(id: u32) {
    let removed =
        STREAMS.with(|streams| streams.remove(id, |stream| !stream.ending.has_panicked()));
    drop(removed);
}

/// Wakes the current stream at this time, and at no other.
pub fn wake(time: Instant) {
    let Some(current) = current::get() else { return };
    let Some(stream) = get(current.id) else { return };
    let wake = Wake::at(time, Scheduler::new(current.handle));
    let previous = stream.wake.replace(wake);
    drop(previous);
}
