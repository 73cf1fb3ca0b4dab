//! The hooks of network filters in a dynamic module.

/// Exports the hooks of network filters. `native_module!` uses it.
#[doc(hidden)]
#[macro_export]
macro_rules! native_network_hooks {
    () => {
        const _: () = {
            use ::std::ffi::c_void;

            use $crate::native::connection_hooks;
            use $crate::native::hooks::{self, Buffer};

            $crate::native_hooks! {
                fn envoy_dynamic_module_on_network_filter_config_new(
                    envoy: *mut c_void, name: Buffer, document: Buffer
                ) -> *const c_void {
                    connection_hooks::config_new(envoy, name, document)
                }
                fn envoy_dynamic_module_on_network_filter_config_destroy(own: *const c_void) {
                    hooks::config_destroy(own);
                }
                fn envoy_dynamic_module_on_network_filter_new(
                    own: *const c_void, envoy: *mut c_void
                ) -> *const c_void {
                    connection_hooks::filter_new(own, envoy)
                }
                fn envoy_dynamic_module_on_network_filter_new_connection(
                    envoy: *mut c_void, own: *const c_void
                ) -> u32 {
                    connection_hooks::new_connection(envoy, own)
                }
                fn envoy_dynamic_module_on_network_filter_read(
                    envoy: *mut c_void, own: *const c_void, size: usize, is_end: bool
                ) -> u32 {
                    connection_hooks::read(envoy, own, size, is_end)
                }
                fn envoy_dynamic_module_on_network_filter_write(
                    _envoy: *mut c_void, _own: *const c_void, _size: usize, _is_end: bool
                ) -> u32 {
                    0
                }
                fn envoy_dynamic_module_on_network_filter_event(
                    _envoy: *mut c_void, own: *const c_void, event: u32
                ) {
                    connection_hooks::event(own, event);
                }
                fn envoy_dynamic_module_on_network_filter_destroy(own: *const c_void) {
                    connection_hooks::filter_destroy(own);
                }
                fn envoy_dynamic_module_on_network_filter_scheduled(
                    _envoy: *mut c_void, own: *const c_void, _event: u64
                ) {
                    connection_hooks::scheduled(own);
                }

                // The filters have no use for these.
                fn envoy_dynamic_module_on_network_filter_config_scheduled(
                    _own: *const c_void, _event: u64
                ) {
                }
                fn envoy_dynamic_module_on_network_filter_http_callout_done(
                    _envoy: *mut c_void, _own: *const c_void, _call: u64, _result: u32,
                    _headers: *mut c_void, _header_count: usize,
                    _body: *mut c_void, _piece_count: usize
                ) {
                }
                fn envoy_dynamic_module_on_network_filter_above_write_buffer_high_watermark(
                    _envoy: *mut c_void, _own: *const c_void
                ) {
                }
                fn envoy_dynamic_module_on_network_filter_below_write_buffer_low_watermark(
                    _envoy: *mut c_void, _own: *const c_void
                ) {
                }
            }
        };
    };
}
