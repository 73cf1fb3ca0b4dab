//! Generates one test per row, named after the row, and embeds the files.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    let mut embedded = String::new();
    for folder in ["cases", "egress", "faults", "mirrors", "outliers", "rejections", "sni"] {
        println!("cargo::rerun-if-changed={folder}");
        let files = json_files(&root.join(folder));
        let mut tests = String::new();
        let constant = folder.to_uppercase();
        writeln!(embedded, "const {constant}: &[(&str, &str)] = &[").unwrap();
        for file in &files {
            let topic = file.file_stem().unwrap().to_str().unwrap();
            writeln!(embedded, "    ({topic:?}, include_str!({file:?})),").unwrap();
            write_tests(&mut tests, topic, file);
        }
        writeln!(embedded, "];").unwrap();
        fs::write(out.join(format!("{folder}.rs")), tests).unwrap();
    }
    fs::write(out.join("embedded.rs"), embedded).unwrap();
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().unwrap() == "json").collect();
    files.sort();
    files
}

/// Returns a module for the file, with one test function per row that calls `check(TOPIC, ID)`.
fn write_tests(tests: &mut String, topic: &str, file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let rows: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let rows = rows.as_array().unwrap_or_else(|| panic!("{} is not a list", file.display()));
    writeln!(tests, "mod {topic} {{").unwrap();
    for row in rows {
        let text = |field: &str| {
            row[field].as_str().unwrap_or_else(|| panic!("a row of {topic} has no {field}"))
        };
        let (id, name) = (text("id"), text("name"));
        writeln!(
            tests,
            "    #[cfg_attr(target_arch = \"wasm32\", wasm_bindgen_test::wasm_bindgen_test)]\n    \
                 #[cfg_attr(not(target_arch = \"wasm32\"), test)]\n    \
                 fn {}_{name}() {{\n        super::check({topic:?}, {id:?});\n    }}",
            id.to_lowercase()
        )
        .unwrap();
    }
    writeln!(tests, "}}").unwrap();
}
