//! Log lines go to Envoy's log, to its logger `dynamic_modules`.

use std::panic::{self, PanicHookInfo};

use log::{Log, Metadata, Record};

use crate::native::calls;

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            calls::log(record.level(), &format!("sluice: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Sends log lines and the messages of panics to Envoy from now on.
pub fn install() {
    // Envoy may load the module again: it has the logger then.
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(calls::log_level());
        panic::set_hook(Box::new(log_panic));
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    log::error!("panicked at {place}: {}", panic.payload_as_str().unwrap_or("unknown"));
}
