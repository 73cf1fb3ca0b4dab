//! JSON as it is written, in visible ASCII characters and of limited length. The serializer of
//! serde_json would make each module 30 kB larger.

use itoa::Buffer;

/// The longest string, in bytes with its escapes. A longer one ends with dots.
const MAX_STRING: usize = 200;

/// The members of an object.
#[derive(Default)]
pub(super) struct Members(String);

impl Members {
    /// Adds a string.
    pub(super) fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        push_string(&mut self.0, value);
    }

    /// Adds a number.
    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.0.push_str(Buffer::new().format(value));
    }

    /// Adds `true` or `false`.
    pub(super) fn flag(&mut self, name: &str, value: bool) {
        self.name(name);
        self.0.push_str(if value { "true" } else { "false" });
    }

    /// Adds a value that is JSON already.
    pub(super) fn json(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push_str(value);
    }

    /// Adds a list of values that are JSON already, up to about `max_bytes`. Returns the number of
    /// values that the list has.
    pub(super) fn list(
        &mut self,
        name: &str,
        max_bytes: usize,
        values: impl Iterator<Item = String>,
    ) -> usize {
        self.name(name);
        self.0.push('[');
        let (start, mut count) = (self.0.len(), 0);
        for value in values {
            if self.0.len().saturating_sub(start) >= max_bytes {
                break;
            }
            if count > 0 {
                self.0.push(',');
            }
            self.0.push_str(&value);
            count += 1;
        }
        self.0.push(']');
        count
    }

    /// The object.
    pub(super) fn object(self) -> String {
        ["{", &self.0, "}"].concat()
    }

    fn name(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        push_string(&mut self.0, name);
        self.0.push(':');
    }
}

/// A string as JSON.
pub(super) fn string(value: &str) -> String {
    let mut text = String::new();
    push_string(&mut text, value);
    text
}

fn push_string(text: &mut String, value: &str) {
    text.push('"');
    let start = text.len();
    for character in value.chars() {
        if text.len() - start >= MAX_STRING {
            text.push_str("...");
            break;
        }
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            ' '..='~' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    text.push_str("\\u");
                    let digit = |place: u32| char::from_digit(u32::from(*unit) >> place & 15, 16);
                    text.extend([12, 8, 4, 0].into_iter().filter_map(digit));
                }
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_visible_ascii_and_can_be_read_again() {
        let text = "\u{1f300} \u{e9} \u{7f} \n \" \\";
        let escaped = string(text);
        assert_eq!(escaped, r#""\ud83c\udf00 \u00e9 \u007f \u000a \" \\""#);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
    }

    #[test]
    fn strings_and_lists_are_cut() {
        assert_eq!(string(&"a".repeat(MAX_STRING)).len(), MAX_STRING + 2);
        assert_eq!(string(&"a".repeat(MAX_STRING + 1)), format!("\"{}...\"", "a".repeat(200)));
        let long = string(&"\u{1f300}".repeat(1_000));
        assert!(long.len() <= MAX_STRING + 12 + 5, "{} bytes", long.len());
        assert!(serde_json::from_str::<String>(&long).is_ok());

        let mut members = Members::default();
        members.flag("a", true);
        assert_eq!(members.list("b", 5, (10..1_000).map(|number| number.to_string())), 2);
        members.list("c", 5, std::iter::empty());
        assert_eq!(members.object(), r#"{"a":true,"b":[10,11],"c":[]}"#);
    }
}
