//! What a request carries to be explained by the filters.

use serde_json::Value;

/// The header, unless the rules name another one.
const HEADER: &str = "x-sluice-explain";

/// A header with the secret of `explain` in the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The name of the header, in requests and responses
    pub header: String,
    /// The secret
    pub value: String,
}

impl Secret {
    /// That of `explain`, unless it has only the digest of a secret, or none.
    pub fn of(explain: &Value) -> Option<Self> {
        let text = |name: &str| explain.get(name).and_then(Value::as_str).map(str::to_owned);
        let header = text("header").unwrap_or_else(|| HEADER.to_owned());
        Some(Self { header, value: text("secret")? })
    }
}
