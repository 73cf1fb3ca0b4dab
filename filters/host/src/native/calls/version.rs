//! What the Envoy that has loaded the module can do.

use std::ffi::CStr;

/// Returns the version of the ABI. What the module uses of it is the same in all versions, so it
/// reports that of the Envoy which loads it: Envoy warns about any other.
pub fn abi() -> &'static CStr {
    // A function that is new in Envoy 1.40.
    match has_function(c"envoy_dynamic_module_callback_get_runtime_bool") {
        true => c"v0.2.0",
        false => c"v0.1.0",
    }
}

/// Returns whether Envoy tells a filter of requests the server name of their connection. Envoy 1.38
/// does not, although it has the attribute.
pub fn has_server_name_of_requests() -> bool {
    // A function that is new in Envoy 1.39.
    has_function(c"envoy_dynamic_module_callback_network_filter_get_attribute_string")
}

fn has_function(name: &CStr) -> bool {
    // SAFETY: the name ends with a zero byte, and the function is not called.
    !unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.is_null()
}
