//! Rules for the documents of the workspace: links lead somewhere, and names exist.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use sluice_architecture::workspace::Workspace;

fn workspace() -> Workspace {
    Workspace::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The documents in Markdown, by their files.
fn documents(workspace: &Workspace) -> HashMap<PathBuf, String> {
    let files = workspace.files().unwrap();
    let files = files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "md"));
    files.filter_map(|file| Some((file.clone(), workspace.read(&file)?))).collect()
}

/// The lines of a document that are not code.
fn prose(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_fence && !is_code && !line.starts_with("    ")
    });
    lines.collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let workspace = workspace();
    let (documents, files) = (documents(&workspace), workspace.files().unwrap());
    let (mut problems, mut count) = (Vec::new(), 0);
    for (file, text) in &documents {
        let folder = file.parent().unwrap_or(Path::new(""));
        let prose = prose(text).join("\n");
        let targets = prose.split("](").skip(1).filter_map(|part| part.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            count += 1;
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { file.clone() } else { normal(&folder.join(path)) };
            let exists = files.iter().any(|own| own.starts_with(&path));
            let has_heading = heading.is_empty()
                || documents.get(&path).is_some_and(|text| anchors(text).contains(&heading.into()));
            if !exists || !has_heading {
                problems.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(count > 100, "{count} links");
    assert!(problems.is_empty(), "links to nothing:\n{}", problems.join("\n"));
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = normal.pop(),
            Component::CurDir => {}
            _ => normal.push(part),
        }
    }
    normal
}

/// The anchors of the headings, as GitHub makes them. Equal headings get numbers.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for heading in prose(text).into_iter().filter(|line| line.starts_with('#')) {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|own| own.is_alphanumeric() || " -_".contains(*own));
        let anchor = kept.collect::<String>().replace(' ', "-");
        let equal = anchors.iter().filter(|own| **own == anchor).count();
        anchors.push(if equal == 0 { anchor } else { format!("{anchor}-{equal}") });
    }
    anchors
}

/// The READMEs of the filters have a row for each statistic.
#[test]
fn the_page_for_operators_names_statistics_that_exist() {
    let documents = documents(&workspace());
    let page = &documents[Path::new("docs/operations.md")];
    let readmes = documents.iter().filter(|(file, _)| file.starts_with("filters"));
    let readmes: String = readmes.map(|(_, text)| text.as_str()).collect();
    let names: Vec<_> = page.split('`').filter(|part| part.starts_with("sluice.")).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(readmes.contains(&format!("`{name}`")), "no README of a filter has {name}");
    }
}
