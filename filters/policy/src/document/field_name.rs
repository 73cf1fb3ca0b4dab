//! Names of fields, which have two spellings.

use crate::bytes;

/// Whether two names of fields are the same.
pub fn is_same(name: &str, other: &str) -> bool {
    bytes::equal(name.as_bytes(), other.as_bytes())
}

/// Whether `key` of the document is the field that Istio calls `name` in `camelCase`.
pub fn is_field(key: &str, name: &str) -> bool {
    // Most fields are others, and most of these start with another letter.
    if key.as_bytes().first() != name.as_bytes().first() {
        return false;
    }
    if is_same(key, name) {
        return true;
    }
    let mut key = key.chars();
    for wanted in name.chars() {
        if wanted.is_ascii_uppercase() && key.next() != Some('_') {
            return false;
        }
        let mut next = key.next();
        // `consecutive_5xx_errors` is `consecutive5xxErrors`.
        if wanted.is_ascii_digit() && next == Some('_') {
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
