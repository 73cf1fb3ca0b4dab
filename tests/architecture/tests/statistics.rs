//! `docs/statistics.md` has all statistics of the sources, and nothing else names others.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;

use sluice_architecture::statistics::{Statistic, of_source};
use sluice_architecture::workspace::Workspace;

const PAGE: &str = "docs/statistics.md";

/// The first lines of the table.
const HEAD: &str = "| name | kind | what |\n|---|---|---|\n";

/// Set this variable to write the table anew.
const UPDATE: &str = "UPDATE_GOLDEN";

/// The counters whose names come from the document: the source with the name, and the row.
const OF_DOCUMENTS: [(&str, &str, &str); 2] = [
    (
        "filters/policy/src/router/route_counters.rs",
        "sluice.router.requests;route=ROUTE;cluster=CLUSTER;",
        "A request of this route and destination, see \
         [Counters of routes](../filters/router/README.md#counters-of-routes).",
    ),
    (
        "filters/policy/src/router/route_counters.rs",
        "sluice.router.shadow;route=ROUTE;decision=DECISION;",
        "A request of this route about which the second policy decides in the `same` way, or in a \
         `different` one, see [A second policy](../filters/router/README.md#a-second-policy).",
    ),
];

fn workspace() -> Workspace {
    Workspace::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The statistics in the sources of the filters, by name.
fn statistics(workspace: &Workspace) -> Vec<Statistic> {
    let files = workspace.files().unwrap().into_iter();
    let is_source = |file: &std::path::PathBuf| {
        file.starts_with("filters") && file.extension().is_some_and(|end| end == "rs")
    };
    let texts = files.filter(is_source).filter_map(|file| workspace.read(&file));
    let mut found: Vec<_> = texts.flat_map(|text| of_source(&text)).collect();
    for (file, name, what) in OF_DOCUMENTS {
        let source = workspace.read(Path::new(file)).unwrap();
        let prefix = name.split("ROUTE").next().unwrap();
        assert!(source.contains(&format!("\"{prefix}\"")), "{file} has no {prefix}");
        let (name, what) = (name.to_owned(), what.to_owned());
        found.push(Statistic { name, kind: "counter", what });
    }
    found.sort();
    found
}

#[test]
fn the_page_has_the_statistics_of_the_sources() {
    let workspace = workspace();
    let statistics = statistics(&workspace);
    assert!(statistics.len() > 70, "{}", statistics.len());
    for own in &statistics {
        assert!(!own.what.is_empty(), "{} has no comment", own.name);
    }
    let rows: String = statistics.iter().map(|own| format!("{own}\n")).collect();
    let page = workspace.read(Path::new(PAGE)).unwrap();
    let (before, rest) = page.split_once(HEAD).unwrap();
    let (table, after) =
        rest.split_once("\n\n").map_or((rest, ""), |(table, after)| (table, after));
    if std::env::var_os(UPDATE).is_some() {
        let after = if after.is_empty() { String::new() } else { format!("\n{after}") };
        let page = format!("{before}{HEAD}{rows}{after}");
        return fs::write(workspace.root.join(PAGE), page).unwrap();
    }
    assert_eq!(table.trim_end(), rows.trim_end(), "{UPDATE}=1 writes the table anew");
}

/// Placeholders and endings, such as `ejections_detected_REASON` and `_header`, are no full names.
#[test]
fn documents_name_statistics_that_exist() {
    let workspace = workspace();
    let statistics = statistics(&workspace);
    let (mut count, mut unknown) = (0, Vec::new());
    for file in workspace.files().unwrap() {
        if file.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let text = workspace.read(&file).unwrap_or_default();
        for name in text.split('`').filter(|part| is_full_name(part)) {
            count += 1;
            // Without the labels.
            let is_own = |own: &Statistic| own.name.split(';').next() == Some(name);
            if !statistics.iter().any(is_own) {
                unknown.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(count > 100, "{count} names");
    assert!(unknown.is_empty(), "statistics that do not exist:\n{}", unknown.join("\n"));
}

/// Whether a text is `sluice.FILTER.NAME`.
fn is_full_name(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    let is_word = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
    };
    parts.len() == 3 && parts[0] == "sluice" && parts.iter().all(is_word)
}
