//! Names of fields. Documents may write them in `snake_case`, as protobuf allows.

/// Returns whether `key` of a document is the field `name`, which is in `camelCase`.
pub fn is_field(key: &str, name: &str) -> bool {
    if !key.contains('_') || key.contains(|character: char| character.is_ascii_uppercase()) {
        return key == name;
    }
    let mut rest = name;
    for (index, part) in key.split('_').enumerate() {
        let mut characters = part.chars();
        let Some(first) = characters.next() else { return false };
        let first = if index == 0 { first } else { first.to_ascii_uppercase() };
        let tail = rest.strip_prefix(first).and_then(|tail| tail.strip_prefix(characters.as_str()));
        match tail {
            Some(tail) => rest = tail,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Returns whether two keys of documents are the same field, each in one of the spellings.
pub fn are_same_field(one: &str, other: &str) -> bool {
    is_field(one, other) || is_field(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_the_field() {
        for (key, name) in [
            ("http", "http"),
            ("virtualServices", "virtualServices"),
            ("virtual_services", "virtualServices"),
            ("consecutive_5xx_errors", "consecutive5xxErrors"),
        ] {
            assert!(is_field(key, name), "{key}");
            assert!(are_same_field(key, name) && are_same_field(name, key), "{key}");
        }
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
