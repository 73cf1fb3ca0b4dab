//! Small value types, each with its syntax and its errors.

pub mod address;
pub mod budget;
pub mod duration;
pub mod gateway_duration;
pub mod grpc_status;
pub mod header;
pub mod host_name;
pub mod http_status;
pub mod method;
pub mod number;
pub mod pattern;
pub mod percent;
pub mod server_name;
pub mod url;
