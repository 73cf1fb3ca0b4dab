//! The kind of a stream: a request or a connection, in modules for both.
//!
//! Envoy does not say in which kind of filter the module is. A request has a protocol from its
//! start, and a connection never has one. But Envoy may refuse to tell: if the plugin's
//! `allowed_capabilities` lack `proxy_get_property`, for example. Then every stream looks like a
//! connection, and the SDK panics at the headers of a request. So the first callback of a stream
//! corrects its kind. Envoy makes it directly after the creation of the context.

use std::cell::Cell;

use crate::host::Host;
use crate::wasm::abi;
use crate::wasm::envoy::Envoy;

/// A context that was created.
#[derive(Clone, Copy)]
struct Created {
    context: u32,
    plugin: u32,
    is_request: bool,
}

thread_local! {
    /// The last context
    static LAST: Cell<Option<Created>> = const { Cell::new(None) };
    /// Whether the context that is created now is a request, if that is known
    static KNOWN: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Returns whether the context that is created now is a request.
pub(super) fn is_request() -> bool {
    KNOWN.get().unwrap_or_else(|| Envoy.property(&["request", "protocol"]).is_some())
}

/// Remembers a context that was created.
pub(super) fn created(context: u32, plugin: u32, is_request: bool) {
    LAST.set(Some(Created { context, plugin, is_request }));
}

/// Creates the last context anew if it is of the other kind.
fn correct(context: u32, is_request: bool) {
    let Some(last) = LAST.take() else { return };
    if last.context == context && last.is_request != is_request {
        abi::proxy_on_delete(context);
        KNOWN.set(Some(is_request));
        abi::proxy_on_context_create(context, last.plugin);
        KNOWN.set(None);
    }
}

abi::callback! {
    /// The headers of a request, in modules for connections too.
    fn sluice_on_request_headers(context: u32, count: usize, is_end: bool) -> u32 {
        correct(context, true);
        abi::proxy_on_request_headers(context, count, is_end) as u32
    }
}

abi::callback! {
    /// A connection has opened, in modules for requests too.
    fn sluice_on_new_connection(context: u32) -> u32 {
        correct(context, false);
        abi::proxy_on_new_connection(context) as u32
    }
}
