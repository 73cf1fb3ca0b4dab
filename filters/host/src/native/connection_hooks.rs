//! The hooks of network filters, which Envoy calls for each connection.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::filter::Action;
use crate::native::abi::network::Close;
use crate::native::calls::network::{self, ConnectionHandle};
use crate::native::calls::{ConfigurationHandle, Handle};
use crate::native::configurations::{self, Key};
use crate::native::connections::{self, Connection};
use crate::native::current::{self, CurrentConnection};
use crate::native::filters::NativeConnection;
use crate::native::hooks::{self, Buffer, number};

/// `Continue`, in every hook.
const CONTINUE: u32 = 0;

/// `StopIteration`, in every hook.
const PAUSE: u32 = 1;

/// The client has closed the connection.
const REMOTE_CLOSE: u32 = 0;

/// Envoy has closed the connection.
const LOCAL_CLOSE: u32 = 1;

/// How often a tick is tried after panics. Each of them ends the wait of one connection.
const TICKS: usize = 32;

/// The termination details of a connection after a panic.
const PANIC: &str = "sluice_panic";

/// Envoy has a new configuration. Null refuses it.
pub fn config_new(configuration: *mut c_void, name: Buffer, document: Buffer) -> *const c_void {
    let configuration = ConfigurationHandle::Network(Handle::new(configuration));
    hooks::add_configuration(configuration, name, document)
}

/// A connection opens.
pub fn filter_new(configuration: *const c_void, connection: *mut c_void) -> *const c_void {
    let (key, handle) = (configuration.addr() as Key, ConnectionHandle::new(connection));
    let made = catch_unwind(AssertUnwindSafe(|| connections::add(key, handle)));
    hooks::address(made.unwrap_or_else(|_| {
        count_panic(handle, configurations::panics(key));
        None
    }))
}

/// Runs a hook of a connection. `None` if it must not pass: it could not be made, it has no filter,
/// or one of its hooks has panicked.
fn run<T>(
    connection: *const c_void,
    is_reading: bool,
    hook: impl FnOnce(&Connection, &dyn NativeConnection) -> T,
) -> Option<T> {
    let connection = connections::get(number(connection)).filter(|own| own.is_open())?;
    let filter = connection.filter.as_deref()?;
    current::run_connection(CurrentConnection { is_reading, ..connection.current }, || {
        let result = catch_unwind(AssertUnwindSafe(|| hook(&connection, filter)));
        result.map_err(|_| fail(&connection)).ok()
    })
}

/// Closes the current connection after a panic. `hook` is the connection whose hook has panicked,
/// in which a tick may have entered another one.
#[cold]
fn fail(hook: &Connection) {
    count_panic(hook.current.handle, hook.worker.panics);
    let Some(connection) = connections::current() else { return };
    // First, as Envoy calls other hooks while it closes the connection.
    connection.has_failed.set(true);
    network::close(connection.current.handle, Close::NoFlush, PANIC);
}

#[cold]
fn count_panic(connection: ConnectionHandle, counter: Option<u32>) {
    if let Some(counter) = counter {
        network::increment_counter(connection, counter);
    }
}

/// The status of a hook that lets a connection pass or pauses it. Without a result, the connection
/// is closed.
fn status(envoy: *mut c_void, result: Option<Action>) -> u32 {
    match result {
        Some(Action::Continue) => CONTINUE,
        Some(Action::Pause) => PAUSE,
        None => {
            // Has no effect if it is closed.
            network::close(ConnectionHandle::new(envoy), Close::NoFlush, PANIC);
            PAUSE
        }
    }
}

/// The filters of a connection begin.
pub fn new_connection(envoy: *mut c_void, connection: *const c_void) -> u32 {
    let result = run(connection, false, |connection, filter| {
        let action = filter.on_new_connection();
        connection.is_paused.set(action == Action::Pause);
        action
    });
    status(envoy, result)
}

/// Bytes have arrived from the client.
pub fn read(envoy: *mut c_void, connection: *const c_void, size: usize, is_end: bool) -> u32 {
    let result = run(connection, true, |connection, filter| {
        let action = filter.on_downstream_data(size, is_end);
        connection.is_paused.set(action == Action::Pause);
        action
    });
    status(envoy, result)
}

/// The time of a connection has come.
pub fn scheduled(connection: *const c_void) {
    for _ in 0..TICKS {
        let tick = run(connection, false, |own, _| own.worker.plugin.on_tick());
        let is_open = || connections::get(number(connection)).is_some_and(|own| own.is_open());
        // If the tick has panicked for another connection, this one may still wait.
        if tick.is_some() || !is_open() {
            return;
        }
    }
}

/// The state of a connection has changed.
pub fn event(connection: *const c_void, event: u32) {
    if let REMOTE_CLOSE | LOCAL_CLOSE = event
        && let Some(connection) = connections::get(number(connection))
    {
        connection.close();
        current::run_connection(connection.current, || end(&connection));
    }
}

/// A connection does not exist any more.
pub fn filter_destroy(connection: *const c_void) {
    let number = number(connection);
    if let Some(connection) = connections::get(number) {
        connection.close();
        // Envoy cannot be asked about it any more.
        current::run_alone(|| end(&connection));
    }
    let _ = catch_unwind(|| connections::remove(number));
}

/// Tells the filter once that a connection has ended, also if a hook has panicked before: the
/// filter has to forget the connection.
fn end(connection: &Connection) {
    let Some(filter) = connection.filter.as_deref().filter(|_| connection.ending.begin()) else {
        return;
    };
    let callback = || {
        filter.on_end();
        connection.ending.complete();
    };
    if catch_unwind(AssertUnwindSafe(callback)).is_err()
        && let Some(current) = current::connection()
    {
        count_panic(current.handle, connection.worker.panics);
    }
}
