//! The functions of Envoy about connections, for network filters
//! (`envoy_dynamic_module_callback_network_*`).

use std::ffi::c_void;

use super::Buffer;

/// The type of the functions that define a metric.
pub type Define = unsafe extern "C" fn(*mut c_void, Buffer, *mut usize) -> u32;

/// The type of the functions that change a metric.
pub type Increment = unsafe extern "C" fn(*mut c_void, usize, u64) -> u32;

/// The type of the functions that return an address.
pub type Address = unsafe extern "C" fn(*mut c_void, *mut Buffer, *mut u32) -> bool;

/// How a connection is closed.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum Close {
    /// After all data for the client is sent
    FlushWrite = 0,
    /// At once
    NoFlush = 1,
}

unsafe extern "C" {
    pub fn envoy_dynamic_module_callback_network_filter_config_define_counter(
        configuration: *mut c_void,
        name: Buffer,
        id: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_network_filter_config_define_gauge(
        configuration: *mut c_void,
        name: Buffer,
        id: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_network_filter_config_define_histogram(
        configuration: *mut c_void,
        name: Buffer,
        id: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_network_filter_increment_counter(
        connection: *mut c_void,
        id: usize,
        by: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_network_filter_increment_gauge(
        connection: *mut c_void,
        id: usize,
        by: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_network_filter_decrement_gauge(
        connection: *mut c_void,
        id: usize,
        by: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_network_filter_record_histogram_value(
        connection: *mut c_void,
        id: usize,
        value: u64,
    ) -> u32;

    pub fn envoy_dynamic_module_callback_network_filter_get_remote_address(
        connection: *mut c_void,
        ip: *mut Buffer,
        port: *mut u32,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_network_filter_get_local_address(
        connection: *mut c_void,
        ip: *mut Buffer,
        port: *mut u32,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_network_filter_get_requested_server_name(
        connection: *mut c_void,
        name: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_network_filter_is_ssl(connection: *mut c_void) -> bool;
    pub fn envoy_dynamic_module_callback_network_filter_get_read_buffer_chunks_size(
        connection: *mut c_void,
    ) -> usize;
    pub fn envoy_dynamic_module_callback_network_filter_get_read_buffer_chunks(
        connection: *mut c_void,
        pieces: *mut Buffer,
    ) -> bool;

    pub fn envoy_dynamic_module_callback_network_set_filter_state_bytes(
        connection: *mut c_void,
        key: Buffer,
        value: Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_network_get_filter_state_bytes(
        connection: *mut c_void,
        key: Buffer,
        value: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_network_set_filter_state_typed(
        connection: *mut c_void,
        key: Buffer,
        value: Buffer,
    ) -> bool;

    pub fn envoy_dynamic_module_callback_network_filter_close_with_details(
        connection: *mut c_void,
        close: Close,
        details: Buffer,
    );
    pub fn envoy_dynamic_module_callback_network_filter_continue_reading(connection: *mut c_void);
    pub fn envoy_dynamic_module_callback_network_filter_scheduler_new(
        connection: *mut c_void,
    ) -> *mut c_void;
    pub fn envoy_dynamic_module_callback_network_filter_scheduler_commit(
        scheduler: *mut c_void,
        event: u64,
    );
    pub fn envoy_dynamic_module_callback_network_filter_scheduler_delete(scheduler: *mut c_void);
}
