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

/// The code of a document: lines of blocks, and spans in prose.
fn code(text: &str) -> Vec<String> {
    let prose = prose(text);
    let is_code = |line: &&str| !prose.contains(line) && !line.trim_start().starts_with("```");
    let lines = text.lines().filter(is_code).map(|line| line.trim().to_owned());
    let joined = prose.join(" ");
    let spans = joined.split('`').skip(1).step_by(2).map(str::to_owned);
    lines.chain(spans).collect()
}

/// The targets of make, the packages and the commands of `cargo xtask` that code names, each after
/// its kind. Capital letters stand for a name.
fn named(code: &str) -> Vec<(&'static str, String)> {
    let mut named = Vec::new();
    for command in code.split(['|', '&']) {
        let words = command.split_whitespace().skip_while(|word| *word == "$");
        let words = words.skip_while(|word| word.split('=').next().is_some_and(is_capital));
        let words: Vec<_> = words.take_while(|word| !word.starts_with('#')).collect();
        let is_name =
            |word: &&str| !word.contains(|own: char| !"-_".contains(own) && !is_word(own));
        match words.as_slice() {
            ["make", targets @ ..] => {
                let targets = targets.iter().take_while(|word| is_name(word));
                named.extend(targets.map(|word| ("target", (*word).to_owned())));
            }
            ["cargo", "xtask", name, ..] if is_name(name) => {
                named.push(("task", (*name).to_owned()));
            }
            ["cargo", arguments @ ..] => {
                let pairs = arguments.windows(2);
                let packages = pairs.filter(|pair| ["-p", "--package"].contains(&pair[0]));
                let packages = packages.map(|pair| pair[1]).filter(|word| is_name(word));
                named.extend(packages.map(|word| ("package", word.to_owned())));
            }
            _ => {}
        }
    }
    named
}

fn is_capital(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|own| own.is_ascii_uppercase() || own == '_')
}

fn is_word(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit()
}

#[test]
fn commands_name_targets_and_packages_that_exist() {
    let workspace = workspace();
    let read = |file: &str| workspace.read(Path::new(file)).unwrap();
    let makefile = read("Makefile");
    let rules = makefile.lines().filter_map(|line| line.split_once(':'));
    let targets = rules.filter(|(names, _)| !names.starts_with(['\t', '.']));
    let targets = targets.flat_map(|(names, _)| names.split(' '));
    let mut known: Vec<_> = targets.map(|name| ("target", name.to_owned())).collect();
    for file in workspace.files().unwrap() {
        if file.ends_with("Cargo.toml") {
            let manifest = workspace.read(&file).unwrap();
            let name = manifest.lines().find_map(|line| line.strip_prefix("name = "));
            known.extend(name.map(|name| ("package", name.trim_matches('"').to_owned())));
        }
    }
    let tasks = read("xtask/src/main.rs");
    let tasks = tasks.split("[\"").skip(1).filter_map(|part| part.split('"').next());
    known.extend(tasks.map(|name| ("task", name.to_owned())));
    let (mut count, mut unknown) = (0, Vec::new());
    for (file, text) in documents(&workspace) {
        for name in code(&text).iter().flat_map(|code| named(code)) {
            count += 1;
            if !known.contains(&name) {
                unknown.push(format!("{}: the {} {}", file.display(), name.0, name.1));
            }
        }
    }
    assert!(count > 100, "{count} names");
    assert!(unknown.is_empty(), "these do not exist:\n{}", unknown.join("\n"));
}

#[test]
fn names_are_found_in_commands() {
    let own = |kind, name: &str| (kind, name.to_owned());
    let found = named("$ ENVOY=x make build module targets=\"a b\"   # text");
    assert_eq!(found, [own("target", "build"), own("target", "module")]);
    let found =
        named("UPDATE_GOLDEN=1 cargo test -p sluice-cli --package sluice-NAME | cargo xtask x");
    assert_eq!(found, [own("package", "sluice-cli"), own("task", "x")]);
    assert_eq!(named("makes a cargo -p x"), []);
    let text = "Run `make a\nb`.\n\n    make c\n\n```yaml\nd: make\n```\n";
    let found: Vec<_> = code(text).iter().flat_map(|code| named(code)).collect();
    assert_eq!(found, ["c", "a", "b"].map(|name| own("target", name)));
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
