//! Hash of settings, to detect changed settings.

use xxhash_rust::xxh64::xxh64;

use crate::document::json::Json;

/// Returns the hash of a JSON value. `seed` is the hash of the values before it.
pub(super) fn hash(json: &Json, seed: u64) -> u64 {
    match json {
        Json::Null => xxh64(b"n", seed),
        Json::Bool(value) => xxh64(&[b'b', u8::from(*value)], seed),
        Json::Integer(value) => xxh64(&value.to_le_bytes(), seed),
        Json::Float(value) => xxh64(&value.to_bits().to_le_bytes(), seed),
        Json::String(value) => xxh64(value.as_bytes(), seed),
        Json::Array(values) => {
            values.iter().fold(xxh64(b"a", seed), |seed, value| hash(value, seed))
        }
        Json::Object(fields) => {
            // The sum does not depend on the order of fields, which varies in a protobuf `Struct`.
            let fields = fields.iter().map(|(key, value)| hash(value, xxh64(key.as_bytes(), seed)));
            xxh64(&fields.fold(0, u64::wrapping_add).to_le_bytes(), xxh64(b"o", seed))
        }
    }
}
