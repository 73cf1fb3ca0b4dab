//! The calls into Envoy about connections.

use crate::native::abi::network::Close;
use crate::native::calls::network;
use crate::native::envoy::Envoy;
use crate::native::{connections, current};
use crate::network::NetworkHost;

/// The termination details of a connection that a filter closes.
const CLOSED: &str = "sluice_close";

impl NetworkHost for Envoy {
    fn downstream_data(&self, start: usize, length: usize) -> Vec<u8> {
        // Envoy keeps the bytes until the hook for them ends.
        let connection = current::connection().filter(|connection| connection.is_reading);
        let data = connection.map(|connection| network::data(connection.handle, start, length));
        data.unwrap_or_default()
    }

    fn close_downstream(&self) {
        if let Some(connection) = current::connection() {
            network::close(connection.handle, Close::FlushWrite, CLOSED);
        }
    }

    fn resume_downstream(&self) {
        let Some(connection) = connections::current() else { return };
        if connection.is_open() && connection.is_paused.take() {
            network::resume(connection.current.handle);
        }
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) -> bool {
        current::connection()
            .is_some_and(|connection| network::set_filter_state(connection.handle, key, value))
    }
}
