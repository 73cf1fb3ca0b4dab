//! The lists are those of the table, and the configurations in `envoy/` have them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_policy::document::filter::Filter;

use super::*;
use crate::yaml;

const MODULES: [Module; 7] = [
    Module::Sluice,
    Module::Single(Filter::Egress),
    Module::Single(Filter::Fault),
    Module::Single(Filter::Mirror),
    Module::Single(Filter::Outlier),
    Module::Single(Filter::Router),
    Module::Single(Filter::Sni),
];

const FIELD: &str = "capability_restriction_config:";

/// Set it to write the lists into the configurations.
const UPDATE: &str = "UPDATE_GOLDEN";

#[test]
fn a_list_has_all_callbacks_and_the_imports_of_the_module() {
    for module in MODULES {
        let text = field(module);
        let tree = yaml::parse(&text).unwrap().remove(0);
        let list = tree.field("capability_restriction_config").unwrap();
        let allowed = list.field("allowed_capabilities").unwrap();
        let found: Vec<&str> = allowed.fields().iter().map(|(key, _)| &*key.text).collect();
        let expected: Vec<&str> =
            [CALLBACKS, module.name()].into_iter().flat_map(|line| names(line).unwrap()).collect();
        assert_eq!(found, expected);
        assert!(found.contains(&"proxy_on_request_headers") && found.contains(&"proxy_log"));
        assert!(allowed.fields().iter().all(|(_, value)| value.to_json() == "{}"), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH + 4), "{text}");
    }
}

/// Indented by `indent` spaces.
fn indented(lines: &[String], indent: usize) -> impl Iterator<Item = String> {
    lines.iter().map(move |line| format!("{:indent$}{line}", ""))
}

/// The column of a line's first key, behind the dash of a list.
fn column(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-']).len()
}

/// The length of the block that begins with the first line: the lines that are indented deeper.
fn block_length(lines: &[&str]) -> usize {
    let rest = lines.iter().skip(1);
    1 + rest.take_while(|line| column(line) > column(lines[0])).count()
}

/// The name between `start` and the next character that is not part of a name.
fn name_after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
}

/// The module that a `vm_config` loads, of which `anchors` has those with a name.
fn module(block: &str, anchors: &mut HashMap<String, Module>) -> Option<Module> {
    if let Some(alias) = name_after(block, "vm_config: *") {
        return anchors.get(alias).copied();
    }
    let has = |module: &&Module| block.contains(&format!("/{}.wasm", module.name()));
    let module = MODULES.iter().find(has).copied()?;
    anchors.extend(name_after(block, "vm_config: &").map(|anchor| (anchor.to_owned(), module)));
    Some(module)
}

/// The configuration with the list behind each `vm_config`, and their number. In a YAML document,
/// the second list of a module refers to the first one.
fn with_lists(text: &str) -> (String, usize) {
    let lines: Vec<&str> = text.lines().collect();
    let (mut written, mut count) = (Vec::<String>::new(), 0);
    let (mut anchors, mut named) = (HashMap::new(), Vec::<(Module, usize)>::new());
    let mut next = 0;
    while let Some(line) = lines.get(next) {
        if *line == "---" {
            (anchors, named) = (HashMap::new(), Vec::new());
        }
        if !line.trim_start_matches([' ', '-']).starts_with("vm_config:") {
            written.push((*line).to_owned());
            next += 1;
            continue;
        }
        let block = &lines[next..next + block_length(&lines[next..])];
        next += block.len();
        written.extend(block.iter().map(|line| (*line).to_owned()));
        // Leaves out the list that is there.
        let is_comment = |line: &&&str| line.trim_start().starts_with("# All callbacks, and");
        next += usize::from(lines.get(next).filter(is_comment).is_some());
        if lines.get(next).is_some_and(|line| line.trim_start().starts_with(FIELD)) {
            next += block_length(&lines[next..]);
        }
        let Some(module) = module(&block.join("\n"), &mut anchors) else { continue };
        count += 1;
        let name = format!("{}_capabilities", module.name());
        let indent = column(block[0]);
        if let Some((_, first)) = named.iter().find(|(own, _)| *own == module) {
            let first = &mut written[*first];
            if first.ends_with(FIELD) {
                *first = format!("{first} &{name}");
            }
            written.extend(indented(&[format!("{FIELD} *{name}")], indent));
        } else {
            named.push((module, written.len() + 1));
            let lines: Vec<_> = field(module).lines().map(str::to_owned).collect();
            written.extend(indented(&lines, indent));
        }
    }
    (written.join("\n") + "\n", count)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
}

#[test]
fn the_configurations_have_the_lists() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy"), &mut files);
    let mut all = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (expected, count) = with_lists(&text);
        all += count;
        assert_eq!(count, text.matches("vm_config:").count(), "{}: plugins", file.display());
        if text != expected && std::env::var_os(UPDATE).is_some() {
            fs::write(&file, expected).unwrap();
        } else {
            assert!(text == expected, "{}: run `make capabilities`", file.display());
        }
    }
    assert!(all > 60, "{all}");
}

#[test]
fn a_list_that_is_old_or_absent_is_replaced() {
    let plain = "\
config:
  vm_config: &own
    code: {local: {filename: dist/sni.wasm}}
  # Reloads the module.
  failure_policy: FAIL_RELOAD
more:
- vm_config: *own
  name: sni
";
    let (first, count) = with_lists(plain);
    assert_eq!(count, 2);
    assert_eq!(with_lists(&first).0, first, "a second time");
    assert!(first.contains("\n  capability_restriction_config: &sni_capabilities\n"), "{first}");
    assert!(first.contains("\n- vm_config: *own\n  capability_restriction_config: *sni_"));
    let old = first.replace("proxy_log: {}", "proxy_old: {}, proxy_log: {}");
    assert_eq!(with_lists(&old).0, first);
    assert_eq!(yaml::parse(&first).unwrap().len(), 1);
}
