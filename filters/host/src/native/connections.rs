//! The connections of a worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use crate::native::calls::network::{self, ConnectionHandle};
use crate::native::configurations::{self, Key, Worker};
use crate::native::current::{self, CurrentConnection};
use crate::native::ending::Ending;
use crate::native::filters::NativeConnection;
use crate::native::table::Table;
use crate::native::timer::Wake;

/// A connection.
pub struct Connection {
    pub current: CurrentConnection,
    pub worker: Worker,
    /// `None` if the plugin has no configuration
    pub filter: Option<Box<dyn NativeConnection>>,
    /// Whether a hook of the connection has panicked. It gets no other one then
    pub has_failed: Cell<bool>,
    /// Whether it waits until the filter resumes it
    pub is_paused: Cell<bool>,
    /// Whether the filter knows that the connection has ended
    pub ending: Ending,
    /// Whether it is closed
    is_closed: Cell<bool>,
    /// When the connection is woken, if it waits
    wake: RefCell<Option<Wake>>,
}

impl Connection {
    /// Returns whether the filter may still be called for the connection.
    pub fn is_open(&self) -> bool {
        !self.is_closed.get() && !self.has_failed.get()
    }

    /// Envoy has closed the connection, and does not wake it any more.
    pub fn close(&self) {
        self.is_closed.set(true);
        let wake = self.wake.take();
        drop(wake);
    }
}

thread_local! {
    static CONNECTIONS: Table<Connection> = const { Table::new() };
}

/// Makes a connection of a configuration, and returns its number.
pub fn add(key: Key, handle: ConnectionHandle) -> Option<u32> {
    let worker = configurations::worker(key)?;
    let id = CONNECTIONS.with(Table::next)?;
    let current = CurrentConnection { id, handle, is_reading: false };
    let filter = current::run_connection(current, || worker.plugin.connection(id));
    let connection = Connection {
        current,
        worker,
        filter,
        has_failed: Cell::default(),
        is_paused: Cell::default(),
        ending: Ending::default(),
        is_closed: Cell::default(),
        wake: RefCell::default(),
    };
    CONNECTIONS.with(|connections| connections.add(connection));
    Some(id)
}

/// Returns a connection of this worker.
pub fn get(id: u32) -> Option<Rc<Connection>> {
    CONNECTIONS.with(|connections| connections.get(id))
}

/// Returns the connection that calls into Envoy apply to.
pub fn current() -> Option<Rc<Connection>> {
    get(current::connection()?.id)
}

/// Makes another connection the current one, until the hook ends. Returns false if it has ended.
pub fn enter(id: u32) -> bool {
    let connection = get(id).filter(|connection| connection.is_open());
    if let Some(connection) = &connection {
        current::set_connection(connection.current);
    }
    connection.is_some()
}

/// Drops a connection.
pub fn remove(id: u32) {
    let removed = CONNECTIONS
        .with(|connections| connections.remove(id, |connection| !connection.ending.has_panicked()));
    drop(removed);
}

/// Wakes the current connection at this time, and at no other.
pub fn wake(time: Instant) {
    let Some(connection) = current().filter(|connection| connection.is_open()) else { return };
    let Some(scheduler) = network::scheduler(connection.current.handle) else { return };
    let previous = connection.wake.replace(Wake::at(time, scheduler));
    drop(previous);
}
