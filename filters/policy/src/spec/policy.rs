//! What a filter makes of a document.

use crate::document::filter::Filter;
use crate::document::report::{Finding, Rejection};
use crate::spec::document::Document;
use crate::spec::proxy::NodeMetadata;

/// The compiled policy of one filter.
pub trait Policy: Sized {
    /// The filter
    const FILTER: Filter;

    /// The filter's part of a document.
    fn new(document: &Document) -> Self;

    /// Compiles the bytes of a document: JSON, or a `google.protobuf.Struct`. Returns the notices as
    /// well, see [`Document::parse`].
    ///
    /// # Errors
    /// A document with any error is rejected as a whole, with all of its errors.
    fn compile(
        document: &[u8],
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let (document, notices) = Document::parse(document, Self::FILTER, metadata)?;
        Ok((Self::new(&document), notices))
    }
}
