//! The filters of the bundle.

/// The filters that read documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `egress.wasm`
    Egress,
    /// `fault.wasm`
    Fault,
    /// `mirror.wasm`
    Mirror,
    /// `outlier.wasm`
    Outlier,
    /// `router.wasm`
    Router,
    /// `sni.wasm`
    Sni,
}
