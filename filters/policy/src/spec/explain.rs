//! `explain` of a document: who may ask a running filter why it decided as it did. Istio and Envoy
//! have nothing like it.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::json::Json;
use crate::document::node::Node;
use crate::document::report::{Kind, Reported};
use crate::spec::mirror::HEADER_PREFIX;
use crate::value::header::{CLUSTER, is_token};
use crate::value::percent::{Percent, read_mirror_percent};

/// The header if `explain.header` is absent.
const DEFAULT_HEADER: &str = "x-sluice-explain";

/// Lengths of a secret, in bytes. A longer value of a client is not read.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// Who gets an explanation of a decision.
#[derive(Clone, Debug)]
pub struct ExplainSettings {
    /// Header of the requests with the secret, and of the responses with the explanations
    pub header: Box<str>,
    /// Share of the requests that are explained in Envoy's log
    pub log_percentage: Percent,
    /// SHA-256 of the secret; `None` if no request can ask
    secret: Option<[u8; 32]>,
}

fields!(ExplainSettings as "Explain",
    "Who gets an explanation of a filter's decision. Requires secret, secretSha256 or \
     logPercentage.", {
    "header": Kind::Pattern("[Xx]-[-!#$%&'*+.^_`|~0-9A-Za-z]+") =>
        "Header with the secret in requests, and with the explanations in responses. Default: \
         x-sluice-explain.";
    "secret": Kind::Pattern("[!-~]{16,256}") =>
        "Value of the header in requests that are explained: 16 to 256 visible ASCII characters.";
    "secretSha256": Kind::Pattern("[0-9A-Fa-f]{64}") =>
        "SHA-256 of the secret in hexadecimal, in place of secret.";
    "logPercentage": Kind::Object(Percent::schema) =>
        "Share of the requests whose explanations are written to Envoy's log; none if absent.";
});

impl ExplainSettings {
    /// Reads `explain: { header, secret, secretSha256, logPercentage }`. Errors never show a
    /// secret.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        if !node.filters().need(&[Filter::Egress, Filter::Fault, Filter::Router]) {
            node.notice(Kind::NoEffect, "has no effect: this filter explains no decisions");
        }
        let object = node.object::<Self>()?;
        let header = object.optional("header", read_header);
        let secret = object.optional("secret", read_secret);
        let digest = object.optional("secretSha256", read_digest);
        let log_percentage = object.optional("logPercentage", read_mirror_percent);
        let (secret, digest, log_percentage) = (secret?, digest?, log_percentage?);
        if secret.is_some() && digest.is_some() {
            return Err(node.error("cannot have both secret and secretSha256"));
        }
        if secret.is_none() && digest.is_none() && log_percentage.is_none() {
            return Err(node.error("must have one of secret, secretSha256, logPercentage"));
        }
        Ok(Self {
            header: header?.unwrap_or_else(|| DEFAULT_HEADER.into()),
            log_percentage: log_percentage.unwrap_or(Percent::NONE),
            secret: secret.or(digest),
        })
    }

    /// Returns whether a value is the secret. The time that it takes says nothing about the secret.
    pub fn is_secret(&self, value: &[u8]) -> bool {
        let is_possible = SECRET_BYTES.contains(&value.len());
        let secret = self.secret.as_ref().filter(|_| is_possible);
        secret.is_some_and(|secret| digest(value).ct_eq(secret).into())
    }
}

fn digest(value: &[u8]) -> [u8; 32] {
    Sha256::digest(value).into()
}

/// A header that nothing else uses: the filter removes it from requests.
fn read_header(node: &Node<'_>) -> Result<Box<str>, Reported> {
    let name = node.string()?.to_ascii_lowercase();
    let is_used =
        name == CLUSTER || [HEADER_PREFIX, "x-envoy-"].iter().any(|own| name.starts_with(own));
    if !is_token(&name) || !name.starts_with("x-") || name.len() < 3 || is_used {
        return Err(node.invalid("is not a header name that starts with x- and is not in use"));
    }
    Ok(name.into())
}

/// The digest of a secret. Nothing else is kept of it, and errors do not show it.
fn read_secret(node: &Node<'_>) -> Result<[u8; 32], Reported> {
    let is_secret = |secret: &str| {
        SECRET_BYTES.contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match node.json {
        Json::String(secret) if is_secret(secret) => Ok(digest(secret.as_bytes())),
        _ => Err(node.error("is not a string of 16 to 256 visible ASCII characters")),
    }
}

fn read_digest(node: &Node<'_>) -> Result<[u8; 32], Reported> {
    let text = node.string()?;
    let mut digest = [0; 32];
    let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() != 2 * digest.len() || !is_hexadecimal {
        return Err(node.error("is not a SHA-256 of 64 hexadecimal digits"));
    }
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let value = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or_default() as u8;
        *byte = digits.iter().fold(0, |number, digit| number << 4 | value(digit));
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const SECRET: &str = "open-sesame-12345";

    /// `printf %s open-sesame-12345 | sha256sum`
    const DIGEST: &str = "3ad39f0021e8467ade9550ebb678666751f5c43ac9a3608271eeaabdd4fe0026";

    fn settings(text: &str) -> ExplainSettings {
        testing::read(text, ExplainSettings::read).unwrap()
    }

    #[test]
    fn only_the_secret_is_the_secret() {
        let upper = DIGEST.to_uppercase();
        for own in [("secret", SECRET), ("secretSha256", DIGEST), ("secretSha256", &upper)] {
            let settings = settings(&format!(r#"{{"{}": "{}"}}"#, own.0, own.1));
            assert_eq!(&*settings.header, "x-sluice-explain");
            assert!(settings.is_secret(SECRET.as_bytes()), "{own:?}");
            for other in ["", "open-sesame-1234", "open-sesame-123456", "Open-sesame-12345", DIGEST]
            {
                assert!(!settings.is_secret(other.as_bytes()), "{own:?} {other:?}");
            }
            assert!(!settings.is_secret(&[b'a'; 100_000]));
        }
        let logs = settings(r#"{"logPercentage": {"value": 1}, "header": "X-Why"}"#);
        assert_eq!((&*logs.header, logs.log_percentage.per_million()), ("x-why", 10_000));
        assert!(!logs.is_secret(b"") && !logs.is_secret(&[0; 32]));
    }

    #[test]
    fn errors_do_not_show_secrets() {
        let error = |text: &str| testing::read(text, ExplainSettings::read).unwrap_err();
        let reason = "secret: is not a string of 16 to 256 visible ASCII characters";
        let long = "x".repeat(257);
        for secret in [r#""tooshort""#, r#""with a space in it""#, "1234567890123456", "{}"] {
            assert_eq!(error(&format!(r#"{{"secret": {secret}}}"#)), reason);
        }
        assert_eq!(error(&format!(r#"{{"secret": "{long}"}}"#)), reason);
        let reason = "secretSha256: is not a SHA-256 of 64 hexadecimal digits";
        for digest in ["", "12", &DIGEST.replace('a', "g"), &["+1", &DIGEST[2..]].concat()] {
            assert_eq!(error(&format!(r#"{{"secretSha256": "{digest}"}}"#)), reason);
        }
        let one_of = "configuration: must have one of secret, secretSha256, logPercentage";
        assert_eq!(error("{}"), one_of);
        assert_eq!(error(r#"{"header": "x-why"}"#), one_of);
        let both = format!(r#"{{"secret": "{SECRET}", "secretSha256": "{DIGEST}"}}"#);
        assert_eq!(error(&both), "configuration: cannot have both secret and secretSha256");
    }

    #[test]
    fn the_header_is_one_that_nothing_else_uses() {
        let names = ["why", "host", ":path", "x-", "x- y", "X-Sluice-Cluster", "x-envoy-why"];
        for name in [&names[..], &["x-sluice-mirror-0"]].concat() {
            let text = format!(r#"{{"secret": "{SECRET}", "header": "{name}"}}"#);
            let error = testing::read(&text, ExplainSettings::read).unwrap_err();
            let reason = "is not a header name that starts with x- and is not in use";
            assert_eq!(error, format!("header: {name:?} {reason}"));
        }
    }
}
