//! Reading files and standard input.

use std::io::Read as _;

use sluice_policy::document::report::Kind;

use crate::finding::{Finding, Place};
use crate::tree::Tree;
use crate::yaml;

/// The maximum length of a file, in bytes. Ten thousand VirtualServices take a tenth of it.
const MAX_BYTES: u64 = 32 << 20;

/// The documents of a file.
#[derive(Debug)]
pub struct Source {
    /// The name of the file, as given
    pub file: String,
    /// Its documents, not empty
    pub documents: Vec<Tree>,
}

/// The error for which a file cannot be used.
pub type Unusable = Box<Finding>;

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// The file cannot be read, is not UTF-8 text, is empty, or is neither YAML nor JSON.
pub fn read(file: &str) -> Result<Source, Unusable> {
    let refuse = |line, reason| {
        let (object, path) = (String::new(), String::new());
        let place = Place { file: file.to_owned(), line, object, path };
        Box::new(Finding { kind: Kind::Error, place, value: None, reason, other: None })
    };
    let bytes = read_bytes(file).map_err(|error| refuse(0, format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refuse(0, format!("is longer than {MAX_BYTES} bytes; split it")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        refuse(line, "is not UTF-8 text; save it as UTF-8".to_owned())
    })?;
    // Some editors write a byte order mark first.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if let Some(place) = text.find('\0') {
        let before = text.get(..place).unwrap_or_default();
        return Err(refuse(
            before.lines().count().max(1),
            "has a NUL byte, which YAML and JSON do not allow".to_owned(),
        ));
    }
    let documents = yaml::parse(text).map_err(|error| refuse(error.line, error.reason))?;
    if documents.is_empty() {
        return Err(refuse(0, "has no document".to_owned()));
    }
    Ok(Source { file: file.to_owned(), documents })
}

fn read_bytes(file: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == "-" {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
