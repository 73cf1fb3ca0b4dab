//! Log lines go to Envoy's log. The SDK's logger panics if Envoy refuses a line.

use std::panic;

use log::{Level, Log, Metadata, Record};
use proxy_wasm::types::LogLevel;

use crate::wasm::abi;

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        abi::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}

/// Sends log lines and the messages of panics to Envoy from now on.
pub(super) fn install() {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
        panic::set_hook(Box::new(|panic| abi::log(LogLevel::Critical, &panic.to_string())));
    }
}
