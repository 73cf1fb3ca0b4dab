//! The filters of the bundle.

/// A filter that reads documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// The filters that a document is read for, and whether they are in a dynamic module. A filter
/// reads it for itself alone, the command for several at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filters(u8);

impl Filters {
    /// No filter: nothing is required of the document, and nothing is said to a single filter.
    pub const NONE: Self = Self(0);

    /// The bit of filters in a dynamic module.
    const NATIVE: u8 = 1 << 7;

    /// The bit of filters in a dynamic module that can send no requests.
    const SILENT: u8 = 1 << 6;

    /// The same filters, in a dynamic module if `is_native`.
    #[must_use]
    pub fn in_module(self, is_native: bool) -> Self {
        Self(if is_native { self.0 | Self::NATIVE } else { self.0 })
    }

    /// Whether the filters are in a dynamic module, which cannot do all that a wasm module can. A
    /// wasm module contains nothing of what depends on this.
    #[inline]
    pub fn are_native(self) -> bool {
        cfg!(not(target_family = "wasm")) && self.0 & Self::NATIVE != 0
    }

    /// The same filters, which can send requests of their own if `can_call`.
    #[must_use]
    pub fn that_call(self, can_call: bool) -> Self {
        Self(if can_call { self.0 } else { self.0 | Self::SILENT })
    }

    /// Whether the filters can send requests of their own, as all wasm modules can.
    #[inline]
    pub fn can_call(self) -> bool {
        cfg!(target_family = "wasm") || self.0 & Self::SILENT == 0
    }

    /// Returns whether anything but the errors of a field matters that only `readers` use. Without
    /// filters, everything does.
    pub fn need(self, readers: &[Filter]) -> bool {
        self == Self::NONE || readers.iter().any(|filter| self.contains(*filter))
    }

    /// Whether `filter` is one of them.
    pub fn contains(self, filter: Filter) -> bool {
        self.0 & Self::from(filter).0 != 0
    }
}

impl From<Filter> for Filters {
    fn from(filter: Filter) -> Self {
        Self(1 << filter as u8)
    }
}

impl FromIterator<Filter> for Filters {
    fn from_iter<I: IntoIterator<Item = Filter>>(filters: I) -> Self {
        Self(filters.into_iter().fold(0, |bits, filter| bits | Self::from(filter).0))
    }
}
