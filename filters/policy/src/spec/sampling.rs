//! Sticky draws: a user gets the same result on every proxy and after every restart.
//!
//! The hash function is XXH64. It is part of the interface, so that other programs can compute the
//! same results:
//!
//! ```text
//! user(value)         = XXH64(value, seed = XXH64(salt, seed = 0))
//! point(value, name)  = (XXH64(name, seed = user(value)) >> 11 + 0.5) / 2^53        in (0, 1)
//! score(value, name)  = -ln(point(value, name)) / weight of name
//! ```
//!
//! A split selects the destination with the lowest score. The probability of each destination is
//! its share of the weights (exponential race). A larger weight lowers only the score of its own
//! destination, so users can only move to that destination. This is true for any number of
//! destinations in any order. `name` is `HOST|PORT|SUBSET` with the full host name; port and subset
//! are empty if absent.

use xxhash_rust::xxh64::xxh64;

use crate::document::fields::fields;
use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::request::Request;
use crate::value::header::{check_name, is_token};

/// Sources of the user's key, and the salt.
#[derive(Clone, Debug, Default)]
pub struct Sampling {
    keys: Vec<SamplingKey>,
    salt_hash: u64,
}

/// One source of a user's key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SamplingKey {
    Cookie(String),
    Header(String),
    SourceAddress,
}

fields!(Sampling, "Random choices that are always the same for the same user.", {
    "key" required: Kind::RequiredList(&Kind::AnyOf(&Kind::Object(SamplingKey::schema), &KEYS)) =>
        "Sources of the key that identifies a user. The first source with a value is used.";
    "salt": Kind::Text =>
        "Any text; a new salt results in new choices, for example for another experiment. Empty \
         if absent.";
});

const KEYS: [&str; 3] = ["header", "cookie", "sourceAddress"];

fields!(SamplingKey, "One source of the key of a user: exactly one of the three fields.", {
    "header": Kind::TOKEN => "Name of the header that contains the key.";
    "cookie": Kind::TOKEN => "Name of the cookie that contains the key.";
    "sourceAddress": Kind::Boolean => "The key is the address of the client; must be true.";
});

impl Sampling {
    /// Reads `sampling: { key: [...], salt: "..." }`. Without `sampling`, draws are not sticky.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let keys = object.required_elements("key").and_then(|keys| all(keys.iter().map(read_key)));
        let salt = object.string("salt");
        Ok(Self { keys: keys?, salt_hash: xxh64(salt?.unwrap_or_default().as_bytes(), 0) })
    }

    /// Returns the hash of the request's user; `None` if the request has none of the keys. An empty
    /// value counts as absent, otherwise all requests with an empty value would get the same
    /// result.
    pub fn user(&self, request: &Request<'_>) -> Option<u64> {
        self.keys.iter().find_map(|key| {
            let hash = |value: &[u8]| (!value.is_empty()).then(|| xxh64(value, self.salt_hash));
            match key {
                SamplingKey::Cookie(name) => hash(&request.cookie(name)?),
                SamplingKey::Header(name) => hash(&request.header(name)?),
                SamplingKey::SourceAddress => hash(&request.source_address()?),
            }
        })
    }

    /// Returns the hash of a connection's user, which only the source address identifies. `None` if
    /// `sourceAddress` is not one of the keys. Ignores headers and cookies.
    pub fn user_at(&self, source_address: impl FnOnce() -> Option<Vec<u8>>) -> Option<u64> {
        let address = self.keys.contains(&SamplingKey::SourceAddress).then(source_address)??;
        (!address.is_empty()).then(|| xxh64(&address, self.salt_hash))
    }
}

fn read_key(node: &Node<'_>) -> Result<SamplingKey, Reported> {
    let object = node.object::<SamplingKey>()?;
    let given = KEYS.iter().filter_map(|name| Some((*name, object.field(name)?)));
    let given: Vec<_> = given.collect();
    let [(name, value)] = given.as_slice() else {
        let names = KEYS.join(", ");
        return Err(node.error(format_args!("must have exactly one of {names}")));
    };
    match *name {
        "header" => {
            check_name(value, value.string()?, &[":authority", ":path"]).map(SamplingKey::Header)
        }
        "cookie" => {
            let text = value.string()?;
            if !is_token(text) {
                return Err(value.invalid("is not a cookie name"));
            }
            Ok(SamplingKey::Cookie(text.to_owned()))
        }
        _ => {
            if !value.boolean()? {
                return Err(value.error("must be true or left out"));
            }
            Ok(SamplingKey::SourceAddress)
        }
    }
}

/// Returns the score of the destination `name` for `user`; the lowest score is selected. `weight`
/// must be above 0.
pub fn score(user: u64, name: &str, weight: u32) -> f64 {
    let point = ((xxh64(name.as_bytes(), user) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -libm::log(point) / f64::from(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FixedAttributes, pairs};

    fn read(text: &str) -> Result<Sampling, String> {
        testing::read(text, Sampling::read)
    }

    fn user(sampling: &Sampling, headers: &[(&str, &str)]) -> Option<u64> {
        let headers = pairs(headers);
        let attributes =
            FixedAttributes { source: Some(b"10.0.0.7".to_vec()), ..Default::default() };
        sampling.user(&Request::new(&headers, &attributes))
    }

    #[test]
    fn the_first_key_with_a_value_is_used() {
        let text = r#"{"key": [{"header": "End-User"}, {"cookie": "uid"}], "salt": "2026"}"#;
        let sampling = read(text).unwrap();
        let cheng = user(&sampling, &[("end-user", "cheng")]);
        assert!(cheng.is_some());
        assert_eq!(user(&sampling, &[("cookie", "uid=cheng")]), cheng);
        assert_eq!(user(&sampling, &[("end-user", ""), ("cookie", "uid=cheng")]), cheng);
        assert_eq!(user(&sampling, &[("cookie", "uid=")]), None);
        assert_eq!(user(&sampling, &[]), None);
        let by_address = read(r#"{"key": [{"sourceAddress": true}], "salt": "2026"}"#).unwrap();
        assert_eq!(user(&by_address, &[]), user(&sampling, &[("end-user", "10.0.0.7")]));
    }

    /// These numbers must not change, because a change would move users to other destinations. They
    /// were computed with the Python package xxhash and Python's math.log.
    #[test]
    fn golden_values() {
        let sampling = read(r#"{"key": [{"header": "end-user"}], "salt": "2026"}"#).unwrap();
        let cheng = user(&sampling, &[("end-user", "cheng")]).unwrap();
        let jim = user(&sampling, &[("end-user", "jim")]).unwrap();
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999, "test vector of XXH64");
        assert_eq!([cheng, jim], [0x32dc_37f8_d3f6_8ea7, 0x2bd1_17c6_112b_53da]);
        let scores = [(cheng, "payment||v1", 50), (cheng, "payment||v2", 50), (jim, "a|80|", 1)]
            .map(|(user, name, weight)| score(user, name, weight).to_bits());
        assert_eq!(scores, [0x3f93_8ae4_898d_d437, 0x3f72_dd2f_5940_4f4c, 0x3f63_583e_1944_1e50]);
    }

    #[test]
    fn rejects_invalid_fields() {
        let text = r#"{"key": [{}, {"header": "a", "cookie": "b"}, {"cookie": "a b"},
            {"sourceAddress": false}, {"header": ":method"}], "sald": "x"}"#;
        assert_eq!(
            read(text).unwrap_err(),
            "key[0]: must have exactly one of header, cookie, sourceAddress\n\
             key[1]: must have exactly one of header, cookie, sourceAddress\n\
             key[2].cookie: \"a b\" is not a cookie name\n\
             key[3].sourceAddress: must be true or left out\n\
             key[4].header: \":method\" is a pseudo-header that cannot be used here\n\
             sald: unknown field, did you mean \"salt\"?"
        );
        assert_eq!(read("{}").unwrap_err(), "key: is required");
    }
}
