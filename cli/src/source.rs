//! Reading files and standard input.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use sluice_policy::document::report::Kind;

use crate::columns::Position;
use crate::finding::{Finding, Place};
use crate::foreign::{BRACES, Foreign};
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
    /// Whether its text has what expressions of templates start with
    pub may_be_template: bool,
}

/// The error of a folder with nothing to read.
const NO_FILES: &str = "is a folder without files that end in .yaml, .yml or .json; with -R the \
    files in its subfolders are read too";

/// The texts of files, to show lines of them.
#[derive(Debug, Default)]
pub struct Texts(HashMap<String, Text>);

#[derive(Debug)]
struct Text {
    text: String,
    /// Where its lines start, after the first time that one is shown
    starts: OnceCell<Vec<usize>>,
}

impl Texts {
    fn add(&mut self, file: &str, text: String) {
        self.0.insert(file.to_owned(), Text { text, starts: OnceCell::new() });
    }

    /// A line of a file, counted from 1, without the line break. `None` if there is no such line.
    pub fn line(&self, file: &str, line: usize) -> Option<&str> {
        let Text { text, starts } = self.0.get(file)?;
        let starts = starts.get_or_init(|| {
            // A line ends as in YAML: with \n, with \r, or with both.
            let ends = text.match_indices(['\n', '\r']).map(|(place, _)| place);
            let is_first_half =
                |end: &usize| text.get(*end..).is_some_and(|own| own.starts_with("\r\n"));
            let starts = ends.filter(|end| !is_first_half(end)).map(|end| end + 1);
            std::iter::once(0).chain(starts).collect()
        });
        let start = *starts.get(line.checked_sub(1)?)?;
        let end = starts.get(line).copied().unwrap_or(text.len());
        Some(text.get(start..end)?.trim_end_matches(['\n', '\r']))
    }
}

/// The error for which a file cannot be used.
pub type Unusable = Box<Finding>;

/// Reads a file, or standard input for `-`, unless the input is in memory.
///
/// # Errors
/// The file cannot be read, is not UTF-8 text, is empty, or is neither YAML nor JSON. Empty files
/// and templates that were found in a folder are skipped with a note. Adds the text to `texts`.
pub fn read(input: &Input, texts: &mut Texts) -> Result<Source, Unusable> {
    let file = &*input.file;
    let report = |kind, at: Position, reason| {
        let (object, path) = (String::new(), String::new());
        let Position { line, columns } = at;
        let place = Place { file: file.to_owned(), line, columns, object, path };
        Box::new(Finding { kind, place, value: None, reason, other: None })
    };
    let refuse = |line: usize, reason| report(Kind::Error, line.into(), reason);
    let is_file = file != "-" && input.text.is_none();
    if is_file && Path::new(file).is_dir() {
        let reason = match fs::read_dir(file) {
            Ok(_) => NO_FILES.to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        return Err(refuse(0, reason));
    }
    let bytes = match &input.text {
        Some(text) => Ok(text.clone().into_bytes()),
        None => read_bytes(file),
    };
    let bytes = bytes.map_err(|error| refuse(0, format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refuse(0, format!("is longer than {MAX_BYTES} bytes; split it")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        refuse(line, "is not UTF-8 text; save it as UTF-8".to_owned())
    })?;
    // Some editors write a byte order mark first.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    if let Some(place) = text.find('\0') {
        let before = text.get(..place).unwrap_or_default();
        return Err(refuse(
            before.lines().count().max(1),
            "has a NUL byte, which YAML and JSON do not allow".to_owned(),
        ));
    }
    let parsed = yaml::parse(&text);
    let may_be_template = text.contains(BRACES);
    texts.add(file, text);
    let documents = parsed.map_err(|error| {
        if may_be_template {
            let (kind, reason) = Foreign::Template.report(input.is_named);
            return report(kind, error.at, reason.to_owned());
        }
        report(Kind::Error, error.at, error.reason)
    })?;
    if documents.is_empty() {
        let (kind, reason) = match input.is_named {
            true => (Kind::Error, "has no document"),
            false => (Kind::NotApplicable, "has no document, skipped"),
        };
        return Err(report(kind, Position::default(), reason.to_owned()));
    }
    Ok(Source { input: input.clone(), documents, may_be_template })
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
