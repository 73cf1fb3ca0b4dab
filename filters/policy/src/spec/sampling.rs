//! Sticky draws: the same user gets the same answer on every proxy and after every restart.
//!
//! The hash is XXH64 and part of the contract, so that it can be computed elsewhere:
//!
//! ```text
//! user(value)         = XXH64(value, seed = XXH64(salt, seed = 0))
//! point(value, name)  = (XXH64(name, seed = user(value)) >> 11 + 0.5) / 2^53        in (0, 1)
//! score(value, name)  = -ln(point(value, name)) / weight of name
//! ```
//!
//! Of the destinations of a split, the one with the lowest score is chosen. That is an exponential
//! race: each destination wins with the probability of its share of the weights, and raising one
//! weight lowers only that one's score, so it can only move users toward that destination. It
//! holds for any number of destinations, whose order does not matter. `name` is `HOST|PORT|SUBSET`
//! with the full host name; port and subset are empty when there is none.

use xxhash_rust::xxh64::xxh64;

use crate::document::fields::fields;
use crate::document::node::{Node, all};
use crate::document::report::Reported;
use crate::request::Request;
use crate::value::header::{check_name, is_token};

/// Where the key of a user is found, and what separates one experiment from the next.
#[derive(Clone, Debug, Default)]
pub struct Sampling {
    keys: Vec<SamplingKey>,
    salt_hash: u64,
}

/// One place to look for a user's key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SamplingKey {
    Cookie(String),
    Header(String),
    SourceAddress,
}

fields!(Sampling, "Draws that are sticky by user.", {
    "key" required: Kind::RequiredList(&Kind::Object(SamplingKey::schema)) =>
        "Where the key of a user is found. The first key that a request has counts.";
    "salt": Kind::Text => "Another salt gives other draws, for example for the next experiment.";
});

const KEYS: [&str; 3] = ["header", "cookie", "sourceAddress"];

fields!(SamplingKey, "One place to look for the key of a user: exactly one of the three.", {
    "header": Kind::Text => "The name of a header.";
    "cookie": Kind::Text => "The name of a cookie.";
    "sourceAddress": Kind::Boolean => "The address of the client; true or left out.";
});

impl Sampling {
    /// Reads `sampling: { key: [...], salt: "..." }`. Without it nothing is sticky.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let keys = object.required_elements("key").and_then(|keys| all(keys.iter().map(read_key)));
        let salt = object.string("salt");
        Ok(Self { keys: keys?, salt_hash: xxh64(salt?.unwrap_or_default().as_bytes(), 0) })
    }

    /// The hash of the request's user; `None` when it has none of the keys. An empty value counts
    /// as absent, or all requests with an empty one would share a fate.
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

    /// The hash of a connection's user, which only its address can tell: `None` where that is not one
    /// of the keys. Keys of requests are passed over.
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

/// How late the destination `name` arrives in the race for `user`: the lowest score wins.
/// `weight` is above 0.
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
    fn keys_are_tried_in_order_and_empty_ones_do_not_count() {
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

    /// These numbers are the contract: a change would move users between versions. They were computed
    /// with the Python package xxhash and Python's math.log.
    #[test]
    fn golden_values() {
        let sampling = read(r#"{"key": [{"header": "end-user"}], "salt": "2026"}"#).unwrap();
        let cheng = user(&sampling, &[("end-user", "cheng")]).unwrap();
        let jim = user(&sampling, &[("end-user", "jim")]).unwrap();
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999, "XXH64's own test vector");
        assert_eq!([cheng, jim], [0x32dc_37f8_d3f6_8ea7, 0x2bd1_17c6_112b_53da]);
        let scores = [(cheng, "payment||v1", 50), (cheng, "payment||v2", 50), (jim, "a|80|", 1)]
            .map(|(user, name, weight)| score(user, name, weight).to_bits());
        assert_eq!(scores, [0x3f93_8ae4_898d_d437, 0x3f72_dd2f_5940_4f4c, 0x3f63_583e_1944_1e50]);
    }

    #[test]
    fn refusals() {
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
