//! Reading files and standard input.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use sluice_policy::document::report::Kind;

use crate::collect::Foreign;
use crate::finding::{Finding, Place};
use crate::inputs::Input;
use crate::tree::Tree;
use crate::yaml;

/// The maximum length of a file, in bytes. Ten thousand VirtualServices take a tenth of it.
const MAX_BYTES: u64 = 32 << 20;

/// The documents of a file.
#[derive(Debug)]
pub struct Source {
    /// The file
    pub input: Input,
    /// Its documents, not empty
    pub documents: Vec<Tree>,
}

/// The error of a folder with nothing to read.
const NO_FILES: &str = "is a folder without files that end in .yaml, .yml or .json; with -R the \
    files in its subfolders are read too";

/// The error for which a file cannot be used.
pub type Unusable = Box<Finding>;

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// The file cannot be read, is not UTF-8 text, is empty, or is neither YAML nor JSON. Empty files
/// and templates that were found in a folder are skipped with a note.
pub fn read(input: &Input) -> Result<Source, Unusable> {
    let file = &*input.file;
    let report = |kind, line, reason| {
        let (object, path) = (String::new(), String::new());
        let place = Place { file: file.to_owned(), line, object, path };
        Box::new(Finding { kind, place, value: None, reason, other: None })
    };
    let refuse = |line, reason| report(Kind::Error, line, reason);
    if file != "-" && Path::new(file).is_dir() {
        let reason = match fs::read_dir(file) {
            Ok(_) => NO_FILES.to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        return Err(refuse(0, reason));
    }
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
    let documents = yaml::parse(text).map_err(|error| {
        if text.contains("{{") {
            let (kind, reason) = Foreign::Template.report(input.is_named);
            return report(kind, error.line, reason.to_owned());
        }
        refuse(error.line, error.reason)
    })?;
    if documents.is_empty() {
        let (kind, reason) = match input.is_named {
            true => (Kind::Error, "has no document"),
            false => (Kind::NotApplicable, "has no document, skipped"),
        };
        return Err(report(kind, 0, reason.to_owned()));
    }
    Ok(Source { input: input.clone(), documents })
}

fn read_bytes(file: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == "-" {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    } else {
        fs::File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
