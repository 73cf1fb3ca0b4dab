//! The policy that a filter compiles from a document.

use crate::document::filter::Filters;
use crate::document::json::Json;
use crate::document::report::{Finding, Rejection};
use crate::spec::document::Document;
use crate::spec::proxy::NodeMetadata;

/// The compiled policy of one module. Workers may share it.
pub trait Policy: Sized + Send + Sync + 'static {
    /// Returns the filters that a document is read for.
    fn filters(document: &Json) -> Filters;

    /// Creates the policy from the fields of a document that the module uses.
    fn new(document: &Document) -> Self;

    /// Compiles the bytes of a document: JSON, or a `google.protobuf.Struct`. Returns the notices
    /// too, see [`Document::parse`].
    ///
    /// # Errors
    /// Rejects a document with at least one error as a whole, and returns all errors.
    fn compile(
        document: &[u8],
        metadata: &dyn NodeMetadata,
    ) -> Result<(Self, Vec<Finding>), Rejection> {
        let (document, notices) = Document::parse_for(document, &Self::filters, metadata)?;
        Ok((Self::new(&document), notices))
    }
}
