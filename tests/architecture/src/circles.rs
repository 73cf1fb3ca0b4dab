//! Circles of imports between files, and the levels of files without one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use crate::imports::Import;
use crate::modules::Crate;

/// The files of a crate and which of them import which.
#[derive(Debug)]
pub struct Files<'a> {
    /// Each file with the files that it imports, and the first of the imports.
    imports: BTreeMap<&'a Path, BTreeMap<&'a Path, &'a Import>>,
}

impl<'a> Files<'a> {
    /// The files of a crate with these imports.
    pub fn new(modules: &'a Crate, imports: &'a [Import]) -> Self {
        let files = modules.modules.iter().map(|module| (module.file.as_path(), BTreeMap::new()));
        let mut files = Self { imports: files.collect() };
        for import in imports {
            let to = modules.modules[import.to].file.as_path();
            let imported = files.imports.entry(import.file.as_path()).or_default();
            imported.entry(to).or_insert(import);
        }
        files
    }

    /// The groups of files that import each other, directly or through others. A file that is in no
    /// circle is in no group.
    pub fn circles(&self) -> Vec<Circle<'a>> {
        let reachable = self.reachable();
        let mut circles: Vec<Circle<'a>> = Vec::new();
        for (&file, reached) in &reachable {
            if !reached.contains(file) || circles.iter().any(|circle| circle.files.contains(file)) {
                continue;
            }
            let is_back = |other: &&Path| reachable[*other].contains(file);
            let files: BTreeSet<&Path> = reached.iter().copied().filter(is_back).collect();
            let imports = files.iter().flat_map(|file| &self.imports[file]);
            let imports = imports.filter(|(to, _)| files.contains(*to)).map(|(_, import)| *import);
            circles.push(Circle { imports: imports.collect(), files });
        }
        circles
    }

    /// The level of each file, from 0 for files that import no other. A file is one level above the
    /// highest one that it imports. The files of a circle have the same level.
    pub fn levels(&self) -> BTreeMap<&'a Path, usize> {
        let reachable = self.reachable();
        let mut levels: BTreeMap<&Path, usize> =
            self.imports.keys().map(|&file| (file, 0)).collect();
        loop {
            let mut is_changed = false;
            for (&file, reached) in &reachable {
                let below = reached.iter().map(|other| {
                    let is_circle = reachable[other].contains(file);
                    levels[other] + usize::from(!is_circle)
                });
                let level = below.max().unwrap_or(0);
                is_changed |= levels.insert(file, level) != Some(level);
            }
            if !is_changed {
                return levels;
            }
        }
    }

    /// Each file with all files that it imports, directly or through others.
    fn reachable(&self) -> BTreeMap<&'a Path, BTreeSet<&'a Path>> {
        let reachable = self.imports.keys().map(|&file| {
            let mut reached = BTreeSet::new();
            let mut waiting = vec![file];
            while let Some(file) = waiting.pop() {
                waiting.extend(self.imports[file].keys().filter(|&&to| reached.insert(to)));
            }
            (file, reached)
        });
        reachable.collect()
    }
}

/// Files that import each other.
#[derive(Debug, PartialEq, Eq)]
pub struct Circle<'a> {
    /// The files, in alphabetical order.
    pub files: BTreeSet<&'a Path>,
    /// One import for each two of the files of which one imports the other.
    pub imports: Vec<&'a Import>,
}

impl std::fmt::Display for Circle<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = format!("{} files import each other:", self.files.len());
        for file in &self.files {
            write!(text, "\n  {}", file.display())?;
        }
        text.push_str("\nby these imports:");
        for import in &self.imports {
            write!(text, "\n  {import}")?;
        }
        formatter.write_str(&text)
    }
}
