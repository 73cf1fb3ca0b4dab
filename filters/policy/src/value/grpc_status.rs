//! gRPC status codes.

use crate::document::json::Json;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::value::number::read_in;

/// The names of the gRPC status codes; the index is the code.
pub const GRPC_STATUS_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Reads a gRPC status, by name or by number (0 to 16), and returns its code.
pub fn read_grpc_status_or_code(node: &Node<'_>) -> Result<u8, Reported> {
    match node.json {
        Json::Integer(_) => {
            let code = read_in(node, 0..=GRPC_STATUS_NAMES.len() as u32 - 1)?;
            u8::try_from(code).map_err(|_| node.invalid("is not a gRPC status"))
        }
        _ => read_grpc_status(node),
    }
}

/// Reads the name of a gRPC status and returns its code.
pub fn read_grpc_status(node: &Node<'_>) -> Result<u8, Reported> {
    let name = node.string()?;
    let code = GRPC_STATUS_NAMES.iter().position(|known| *known == name);
    code.and_then(|code| u8::try_from(code).ok())
        .ok_or_else(|| node.invalid("is not the name of a gRPC status such as UNAVAILABLE"))
}
