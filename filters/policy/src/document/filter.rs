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

/// The filters that a document is read for. A filter reads it for itself alone, the command for
/// several at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filters(u8);

impl Filters {
    /// No filter: nothing is required of the document, and nothing is said to a single filter.
    pub const NONE: Self = Self(0);

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
