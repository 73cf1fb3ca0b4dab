//! All calls of Sluice into Envoy, behind traits that a fake implements for tests, and the plugin
//! shell that all filters share.
//!
//! A filter implements [`filter`]'s traits for any host with the traits of [`host`], [`http`],
//! [`network`] and [`shared_data`]. `wasm` is the host in a proxy-wasm module, of which [`module!`]
//! makes one of a filter; `native` is the host in an Envoy dynamic module, of which
//! [`native_module!`] makes one of several filters.

pub mod host;
pub mod http;
pub mod network;
pub mod shared_data;
pub mod attributes;
pub mod counters;
pub mod random;
pub mod log_rate;
pub mod explained;
pub mod delay;
pub mod followed;
pub mod foreign;
pub mod fake;
pub mod filter;
mod documents;
mod notices;
mod policies;
pub mod plugin;
#[cfg(not(target_family = "wasm"))]
pub mod native;
#[cfg(target_family = "wasm")]
pub mod wasm;

/// Makes a proxy-wasm module of the crate, which runs the filter with this type.
#[macro_export]
macro_rules! module {
    ($filter:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            $crate::wasm::sdk::main! {{ $crate::wasm::start::<$filter>(); }}
        };
    };
}
