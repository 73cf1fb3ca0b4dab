//! Names of fields, which have two spellings.

use crate::bytes;

/// Returns whether `key` of the document is the field that Istio calls `name` in `camelCase`.
#[inline]
pub fn is_field(key: &str, name: &str) -> bool {
    let (key, name) = (key.as_bytes(), name.as_bytes());
    // Most names are other names, and most of these start with another letter. A key in
    // `snake_case` is longer by its underscores.
    key.first() == name.first()
        && (bytes::equal(key, name) || key.len() > name.len() && is_in_snake_case(key, name))
}

/// Returns whether `key` is `name` in `snake_case`.
#[inline(never)]
fn is_in_snake_case(key: &[u8], name: &[u8]) -> bool {
    let mut key = key.iter().copied();
    for wanted in name {
        if wanted.is_ascii_uppercase() && key.next() != Some(b'_') {
            return false;
        }
        let mut next = key.next();
        // `consecutive_5xx_errors` is `consecutive5xxErrors`.
        if wanted.is_ascii_digit() && next == Some(b'_') {
            next = key.next();
        }
        if next != Some(wanted.to_ascii_lowercase()) {
            return false;
        }
    }
    key.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_digits_have_two_spellings_too() {
        for name in ["consecutive5xxErrors", "consecutive_5xx_errors", "consecutive5xx_errors"] {
            assert!(is_field(name, "consecutive5xxErrors"), "{name}");
        }
        assert!(!is_field("consecutive__5xx_errors", "consecutive5xxErrors"));
    }

    #[test]
    fn other_names_are_other_fields() {
        assert!(is_field("virtual_services", "virtualServices"));
        for key in [
            "",
            "virtual",
            "virtualservices",
            "VirtualServices",
            "virtual_Services",
            "virtual__services",
            "_virtual_services",
            "virtual_services_",
            "virtual_service",
            "virtual_services_more",
        ] {
            assert!(!is_field(key, "virtualServices"), "{key}");
        }
    }
}
