//! The files that the arguments name, as `kubectl apply -f` takes them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use clap::Args;

/// The ends of the names of the files that are read in a folder.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Arguments that name files and folders.
#[derive(Args, Default)]
pub struct InputFiles {
    /// Files, and folders with YAML or JSON files; - for standard input
    #[arg(value_name = "FILE", required_unless_present = "filenames")]
    files: Vec<String>,
    /// A file or folder, as for kubectl; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filenames: Vec<String>,
    /// Read the subfolders of folders too
    #[arg(short = 'R', long)]
    recursive: bool,
}

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The path, or `-` for standard input
    pub file: String,
    /// Whether an argument is this path; otherwise it was found in a folder
    pub is_named: bool,
    /// The content, if it is already in memory; otherwise it is read from `file`
    pub text: Option<String>,
}

impl Input {
    /// A text in memory, which findings name `file`.
    pub fn in_memory(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), is_named: true, text: Some(text.to_owned()) }
    }

    /// The file `path`, or all files to read in the folder `path` and its subfolders.
    pub fn all_of(path: &str) -> Vec<Self> {
        InputFiles { files: vec![path.to_owned()], filenames: Vec::new(), recursive: true }.expand()
    }
}

impl InputFiles {
    /// The files, each once, in the order of the arguments and by name in a folder. A folder
    /// without files to read stands for itself, and [`crate::source::read`] reports it.
    pub fn expand(&self) -> Vec<Input> {
        let mut inputs: Vec<Input> = Vec::new();
        let mut places = HashMap::new();
        for file in self.files.iter().chain(&self.filenames) {
            let found = if file == "-" { Vec::new() } else { self.find(file) };
            let is_named = found.is_empty();
            let found = if is_named { vec![file.clone()] } else { found };
            for file in found {
                let place: Option<usize> = places.get(&file).copied();
                match place.and_then(|place| inputs.get_mut(place)) {
                    Some(known) => known.is_named |= is_named,
                    None => {
                        places.insert(file.clone(), inputs.len());
                        inputs.push(Input { file, is_named, text: None });
                    }
                }
            }
        }
        inputs
    }

    /// The files to read in a folder, sorted; none for a file.
    fn find(&self, folder: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(Path::new(folder), &mut found);
        found
    }

    /// Adds the files of a folder. Links to folders are not followed, so that there is no circle.
    fn walk(&self, folder: &Path, found: &mut Vec<String>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if self.recursive {
                    self.walk(&path, found);
                }
            } else if path.is_file()
                && path.extension().is_some_and(|own| EXTENSIONS.iter().any(|known| own == *known))
            {
                found.extend(path.to_str().map(str::to_owned));
            }
        }
    }
}
