//! The functions of Envoy for a bootstrap extension, all since Envoy 1.38.

use std::ffi::c_void;

use super::{Buffer, Header};

/// The type of the function by which Envoy is told that a shutdown may go on.
pub type Completed = Option<unsafe extern "C" fn(*mut c_void)>;

unsafe extern "C" {
    pub fn envoy_dynamic_module_callback_bootstrap_extension_config_signal_init_complete(
        extension: *mut c_void,
    );
    pub fn envoy_dynamic_module_callback_bootstrap_extension_config_scheduler_new(
        extension: *mut c_void,
    ) -> *mut c_void;
    pub fn envoy_dynamic_module_callback_bootstrap_extension_config_scheduler_commit(
        scheduler: *mut c_void,
        event: u64,
    );
    pub fn envoy_dynamic_module_callback_bootstrap_extension_config_scheduler_delete(
        scheduler: *mut c_void,
    );
    pub fn envoy_dynamic_module_callback_bootstrap_extension_config_define_counter(
        extension: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_bootstrap_extension_config_define_histogram(
        extension: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_bootstrap_extension_config_increment_counter(
        extension: *mut c_void,
        id: usize,
        labels: *const Buffer,
        label_count: usize,
        by: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_bootstrap_extension_config_record_histogram_value(
        extension: *mut c_void,
        id: usize,
        labels: *const Buffer,
        label_count: usize,
        value: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_bootstrap_extension_http_callout(
        extension: *mut c_void,
        call: *mut u64,
        cluster: Buffer,
        headers: *const Header,
        header_count: usize,
        body: Buffer,
        timeout_ms: u64,
    ) -> u32;
}
