//! Reading the files that a command is given.

use std::io::Read as _;

use crate::finding::{Finding, Severity};
use crate::tree::Tree;
use crate::yaml;

/// The longest file, in bytes: more than what ten thousand VirtualServices take, and little enough for the memory.
const MAX_BYTES: u64 = 32 << 20;

/// A file's documents.
#[derive(Debug)]
pub struct Source {
    /// The file as it was named
    pub file: String,
    /// Its documents; none after an error
    pub documents: Vec<Tree>,
}

/// Why a file cannot be used.
pub type Unusable = Box<Finding>;

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// A file that cannot be read, is not text, is empty, or is neither YAML nor JSON.
pub fn read(file: &str) -> Result<Source, Unusable> {
    let refuse = |line, reason| {
        Box::new(Finding {
            severity: Severity::Error,
            file: file.to_owned(),
            line,
            object: String::new(),
            path: String::new(),
            value: None,
            reason,
        })
    };
    let bytes = read_bytes(file).map_err(|error| refuse(0, format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refuse(0, format!("is longer than {MAX_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        refuse(line, "is not text in UTF-8".to_owned())
    })?;
    // Some editors put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if let Some(place) = text.find('\0') {
        let before = text.get(..place).unwrap_or_default();
        return Err(refuse(before.lines().count().max(1), "is not text".to_owned()));
    }
    let documents = yaml::parse(text).map_err(|error| refuse(error.line, error.reason))?;
    if documents.is_empty() {
        return Err(refuse(0, "is empty".to_owned()));
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
