//! The macro that makes a dynamic module.

/// Makes an Envoy dynamic module of the crate, which contains the filters with these types.
#[macro_export]
macro_rules! native_module {
    ($($filter:ty),* $(,)?) => {
        $crate::native_network_hooks!();

        const _: () = {
            use ::std::ffi::{c_char, c_void};

            use $crate::native::extension::{self, Completed, Header};
            use $crate::native::hooks::{self, Buffer};
            use $crate::native::{FilterOf, NativeFilter};

            static FILTERS: &[&dyn NativeFilter] = &[$(&FilterOf::<$filter>::new()),*];

            $crate::native_hooks! {
                fn envoy_dynamic_module_on_program_init() -> *const c_char {
                    hooks::program_init(FILTERS)
                }
                fn envoy_dynamic_module_on_http_filter_config_new(
                    envoy: *mut c_void, name: Buffer, document: Buffer
                ) -> *const c_void {
                    hooks::config_new(envoy, name, document)
                }
                fn envoy_dynamic_module_on_http_filter_config_destroy(own: *const c_void) {
                    hooks::config_destroy(own);
                }
                fn envoy_dynamic_module_on_http_filter_new(
                    own: *const c_void, envoy: *mut c_void
                ) -> *const c_void {
                    hooks::filter_new(own, envoy)
                }
                fn envoy_dynamic_module_on_http_filter_request_headers(
                    envoy: *mut c_void, own: *const c_void, _is_end: bool
                ) -> u32 {
                    hooks::request_headers(envoy, own)
                }
                fn envoy_dynamic_module_on_http_filter_request_body(
                    _envoy: *mut c_void, own: *const c_void, _is_end: bool
                ) -> u32 {
                    hooks::request_body(own)
                }
                fn envoy_dynamic_module_on_http_filter_request_trailers(
                    _envoy: *mut c_void, _own: *const c_void
                ) -> u32 {
                    0
                }
                fn envoy_dynamic_module_on_http_filter_response_headers(
                    _envoy: *mut c_void, own: *const c_void, is_end: bool
                ) -> u32 {
                    hooks::response_headers(own, is_end)
                }
                fn envoy_dynamic_module_on_http_filter_response_body(
                    _envoy: *mut c_void, own: *const c_void, is_end: bool
                ) -> u32 {
                    hooks::response_body(own, is_end)
                }
                fn envoy_dynamic_module_on_http_filter_response_trailers(
                    _envoy: *mut c_void, own: *const c_void
                ) -> u32 {
                    hooks::response_trailers(own)
                }
                fn envoy_dynamic_module_on_http_filter_stream_complete(
                    _envoy: *mut c_void, own: *const c_void
                ) {
                    hooks::stream_complete(own);
                }
                fn envoy_dynamic_module_on_http_filter_destroy(own: *const c_void) {
                    hooks::filter_destroy(own);
                }
                fn envoy_dynamic_module_on_http_filter_scheduled(
                    _envoy: *mut c_void, own: *const c_void, _event: u64
                ) {
                    hooks::scheduled(own);
                }
                fn envoy_dynamic_module_on_http_filter_per_route_config_new(
                    _name: Buffer, _document: Buffer
                ) -> *const c_void {
                    hooks::per_route_config_new()
                }

                // The bootstrap extension.
                fn envoy_dynamic_module_on_bootstrap_extension_config_new(
                    envoy: *mut c_void, name: Buffer, _document: Buffer
                ) -> *const c_void {
                    extension::config_new(envoy, name)
                }
                fn envoy_dynamic_module_on_bootstrap_extension_config_destroy(
                    _own: *const c_void
                ) {
                    extension::config_destroy();
                }
                fn envoy_dynamic_module_on_bootstrap_extension_new(
                    _own: *const c_void, _envoy: *mut c_void
                ) -> *const c_void {
                    extension::new()
                }
                fn envoy_dynamic_module_on_bootstrap_extension_shutdown(
                    _envoy: *mut c_void, _own: *const c_void,
                    completed: Completed, context: *mut c_void
                ) {
                    extension::shutdown(completed, context);
                }
                fn envoy_dynamic_module_on_bootstrap_extension_config_scheduled(
                    envoy: *mut c_void, _own: *const c_void, _event: u64
                ) {
                    extension::scheduled(envoy);
                }
                fn envoy_dynamic_module_on_bootstrap_extension_http_callout_done(
                    envoy: *mut c_void, _own: *const c_void, call: u64, _result: u32,
                    headers: *const Header, header_count: usize,
                    body: *const Buffer, piece_count: usize
                ) {
                    extension::answered(
                        envoy, call, (headers, header_count), (body, piece_count),
                    );
                }

                // Envoy loads no module without these. The filters have no use for them.
                fn envoy_dynamic_module_on_bootstrap_extension_server_initialized(
                    _envoy: *mut c_void, _own: *const c_void
                ) {
                }
                fn envoy_dynamic_module_on_bootstrap_extension_worker_thread_initialized(
                    _envoy: *mut c_void, _own: *const c_void
                ) {
                }
                fn envoy_dynamic_module_on_bootstrap_extension_drain_started(
                    _envoy: *mut c_void, _own: *const c_void
                ) {
                }
                fn envoy_dynamic_module_on_bootstrap_extension_destroy(_own: *const c_void) {}
                fn envoy_dynamic_module_on_bootstrap_extension_timer_fired(
                    _envoy: *mut c_void, _own: *const c_void, _timer: *mut c_void
                ) {
                }
                fn envoy_dynamic_module_on_bootstrap_extension_file_changed(
                    _envoy: *mut c_void, _own: *const c_void, _path: Buffer, _events: u32
                ) {
                }
                fn envoy_dynamic_module_on_bootstrap_extension_admin_request(
                    _envoy: *mut c_void, _own: *const c_void,
                    _method: Buffer, _path: Buffer, _body: Buffer
                ) -> u32 {
                    404
                }
                fn envoy_dynamic_module_on_bootstrap_extension_cluster_add_or_update(
                    _envoy: *mut c_void, _own: *const c_void, _name: Buffer
                ) {
                }
                fn envoy_dynamic_module_on_bootstrap_extension_cluster_removal(
                    _envoy: *mut c_void, _own: *const c_void, _name: Buffer
                ) {
                }
                fn envoy_dynamic_module_on_bootstrap_extension_listener_add_or_update(
                    _envoy: *mut c_void, _own: *const c_void, _name: Buffer
                ) {
                }
                fn envoy_dynamic_module_on_bootstrap_extension_listener_removal(
                    _envoy: *mut c_void, _own: *const c_void, _name: Buffer
                ) {
                }
                fn envoy_dynamic_module_on_http_filter_config_scheduled(
                    _envoy: *mut c_void, _own: *const c_void, _event: u64
                ) {
                }
                fn envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
                    _envoy: *mut c_void, _own: *const c_void
                ) {
                }
                fn envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
                    _envoy: *mut c_void, _own: *const c_void
                ) {
                }
                fn envoy_dynamic_module_on_http_filter_http_callout_done(
                    _envoy: *mut c_void, _own: *const c_void, _call: u64, _result: u32,
                    _headers: *mut c_void, _header_count: usize,
                    _body: *mut c_void, _piece_count: usize
                ) {
                }
                fn envoy_dynamic_module_on_http_filter_http_stream_complete(
                    _envoy: *mut c_void, _own: *const c_void, _call: u64
                ) {
                }
                fn envoy_dynamic_module_on_http_filter_http_stream_data(
                    _envoy: *mut c_void, _own: *const c_void, _call: u64,
                    _body: *const c_void, _piece_count: usize, _is_end: bool
                ) {
                }
                fn envoy_dynamic_module_on_http_filter_http_stream_headers(
                    _envoy: *mut c_void, _own: *const c_void, _call: u64,
                    _headers: *mut c_void, _header_count: usize, _is_end: bool
                ) {
                }
                fn envoy_dynamic_module_on_http_filter_http_stream_reset(
                    _envoy: *mut c_void, _own: *const c_void, _call: u64, _reason: u32
                ) {
                }
                fn envoy_dynamic_module_on_http_filter_http_stream_trailers(
                    _envoy: *mut c_void, _own: *const c_void, _call: u64,
                    _trailers: *mut c_void, _trailer_count: usize
                ) {
                }
                fn envoy_dynamic_module_on_http_filter_local_reply(
                    _envoy: *mut c_void, _own: *const c_void, _status: u32, _details: Buffer,
                    _is_reset: bool
                ) -> u32 {
                    0
                }
                fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(
                    _own: *const c_void
                ) {
                }
            }
        };
    };
}

/// Exports the hooks of a dynamic module.
#[doc(hidden)]
#[macro_export]
macro_rules! native_hooks {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: $type),*) $(-> $result)? $body
        )*
    };
}
