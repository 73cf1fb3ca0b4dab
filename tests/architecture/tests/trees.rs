//! Imports, circles and layers in small made-up crates.

use std::path::Path;

use sluice_architecture::circles::Files;
use sluice_architecture::imports::imports;
use sluice_architecture::layers::upward_imports;
use sluice_architecture::modules::Crate;

/// Files of a crate with their texts.
type Sources<'a> = &'a [(&'a str, &'a str)];

fn read(sources: Sources<'_>) -> anyhow::Result<Crate> {
    let text = |file: &Path| {
        let mut sources = sources.iter();
        sources.find(|(name, _)| Path::new(name) == file).map(|(_, text)| (*text).to_owned())
    };
    Crate::read(Path::new(sources[0].0), &text)
}

/// Reads a crate of which `x.rs` has this text, beside modules `a`, `a::inner`, `b` and, in `x`,
/// `child`.
fn crate_with(text: &str) -> Crate {
    let sources = [
        ("lib.rs", "pub mod a; pub mod b; pub mod x;"),
        (
            "a.rs",
            "pub mod inner; pub struct Item; pub use crate::b as renamed; pub use crate::b::*;",
        ),
        ("a/inner.rs", "pub struct Item; pub fn function() {}"),
        ("b.rs", "pub mod below; pub struct Item;"),
        ("b/below.rs", "pub struct Item;"),
        ("x.rs", text),
        ("x/child.rs", "pub struct Item;"),
    ];
    read(&sources).unwrap()
}

/// The imports of `x.rs` with this text, as `LINE FILE`.
fn imported(text: &str) -> Vec<String> {
    let modules = crate_with(text);
    let imports = imports(&modules).unwrap();
    let own = imports.iter().filter(|import| import.file == Path::new("x.rs"));
    own.map(|import| format!("{} {}", import.line, modules.modules[import.to].file.display()))
        .collect()
}

fn circles(sources: Sources<'_>) -> Vec<String> {
    let modules = read(sources).unwrap();
    let imports = imports(&modules).unwrap();
    Files::new(&modules, &imports).circles().iter().map(ToString::to_string).collect()
}

fn upward(sources: Sources<'_>) -> Vec<String> {
    let modules = read(sources).unwrap();
    upward_imports(&modules, &imports(&modules).unwrap())
}

#[test]
fn use_items_import_the_longest_part_that_is_a_module() {
    assert_eq!(imported("use crate::a::Item;"), ["1 a.rs"]);
    assert_eq!(imported("use crate::a::inner::Item;"), ["1 a/inner.rs"]);
    assert_eq!(imported("use crate::a::inner;"), ["1 a/inner.rs"]);
    assert_eq!(imported("\nuse crate::a::*;"), ["2 a.rs"]);
    assert_eq!(imported("use crate::Item;"), ["1 lib.rs"]);
    assert_eq!(imported("use std::fmt; use a::Item; use ::b::Item; use anyhow as _;"), [""; 0]);
}

#[test]
fn groups_are_written_out() {
    let text = "use crate::{\n  a::{self, inner::{Item as I, function}},\n  b::below as deep,\n};";
    assert_eq!(imported(text), ["2 a.rs", "2 a/inner.rs", "2 a/inner.rs", "3 b/below.rs"]);
    let modules = crate_with(text);
    let imports = imports(&modules).unwrap();
    let written: Vec<_> = imports.iter().map(|import| import.path.as_str()).collect();
    assert!(written.contains(&"crate::a::inner::function"));
    assert!(written.contains(&"crate::b::below"));
}

#[test]
fn paths_begin_anywhere() {
    assert_eq!(imported("use super::a::Item;"), ["1 a.rs"]);
    assert_eq!(imported("pub mod child; use self::child::Item;"), ["1 x/child.rs"]);
    assert_eq!(imported("pub mod child; use child::Item;"), ["1 x/child.rs"]);
    assert_eq!(imported("pub mod child; use self::super::b::Item;"), ["1 b.rs"]);
    assert_eq!(imported("use self::Own; struct Own;"), [""; 0]);
}

#[test]
fn public_imports_count_and_declarations_do_not() {
    assert_eq!(imported("mod child; pub use child::Item;"), ["1 x/child.rs"]);
    assert_eq!(imported("pub(crate) use crate::a::Item as Other;"), ["1 a.rs"]);
    assert_eq!(imported("pub mod child; pub(in crate::x) struct Y;"), [""; 0]);
}

#[test]
fn paths_in_code_are_imports() {
    for text in [
        "fn f() { crate::a::inner::function(); }",
        "fn f(x: crate::a::inner::Item) {}",
        "fn f() -> Vec<super::a::inner::Item> { vec![] }",
        "fn f(x: u8) { match x { crate::a::inner::MAX => {} _ => {} } }",
        "impl crate::a::inner::Trait for X {}",
        "fn f() { let x = crate::a::inner::Item { y: 1 }; }",
        "fn f() { <X as crate::a::inner::Trait>::g(); }",
        "fn f() { x::<crate::a::inner::Item>(); }",
        "fn f() { assert_eq!(1, [crate::a::inner::function()]); }",
        "macro_rules! m { () => { $crate::a::inner::function() } }",
        "macro_rules! m { () => { use $crate::a::inner::{function}; } }",
        "other! {{ use crate::a::{inner::Item}; }}",
        "#[derive(crate::a::inner::Derive)] struct X;",
        "struct X { y: [u8; crate::a::inner::LENGTH] }",
        "fn f() { use crate::a::inner::function; function(); }",
    ] {
        assert_eq!(imported(text), ["1 a/inner.rs"], "{text}");
    }
    assert_eq!(imported("fn f() { inner::function(); a::x(); ::a::x(); }"), [""; 0]);
}

#[test]
fn names_of_modules_are_followed() {
    let all = |text| imported(text).join(", ");
    assert_eq!(all("use crate::a;\nfn f() { a::inner::function(); }"), "1 a.rs, 2 a/inner.rs");
    assert_eq!(
        all("use crate::a as z;\nfn f() { z::inner::g(); a::b(); }"),
        "1 a.rs, 2 a/inner.rs"
    );
    assert_eq!(all("use super::*;\nfn f() { b::below::g(); }"), "1 lib.rs, 2 b/below.rs");
    assert_eq!(all("fn f() { use crate::a;\n a::inner::g(); }"), "1 a.rs, 2 a/inner.rs");
    // The name is only visible in the block.
    assert_eq!(all("fn f() { use crate::a; }\nfn g() { a::inner::g(); }"), "1 a.rs");
    // Two imports that depend on each other resolve to nothing.
    assert_eq!(all("use p::q; use q::p; fn f() { p::r(); }"), "");
}

#[test]
fn a_module_that_another_one_reexports_imports_both() {
    assert_eq!(imported("use crate::a::renamed::Item;"), ["1 a.rs", "1 b.rs"]);
    assert_eq!(imported("fn f() { crate::a::renamed::below::g(); }"), ["1 a.rs", "1 b/below.rs"]);
    // Through the glob.
    assert_eq!(imported("use crate::a::below::Item;"), ["1 a.rs", "1 b/below.rs"]);
    // An item is not looked for any further.
    assert_eq!(imported("use crate::a::Other;"), ["1 a.rs"]);
}

#[test]
fn only_code_of_tests_is_exempt() {
    assert_eq!(imported("#[cfg(test)] use crate::a::Item;"), [""; 0]);
    assert_eq!(imported("#[cfg(test)] mod tests { use crate::a::Item; }"), [""; 0]);
    assert_eq!(imported("#[cfg(test)] mod no_such_file;"), [""; 0]);
    assert_eq!(imported("#[cfg(all(unix, test))] fn f() { crate::a::g(); }"), [""; 0]);
    assert_eq!(imported("impl X { #[cfg(test)] fn f() { crate::a::g(); } }"), [""; 0]);
    assert_eq!(imported("trait X { #[cfg(test)] fn f() { crate::a::g(); } }"), [""; 0]);
    assert_eq!(imported("#![cfg(test)] use crate::a::Item;"), [""; 0]);
    for text in [
        "#[cfg(unix)] use crate::a::Item;",
        "#[cfg(not(test))] use crate::a::Item;",
        "#[cfg(any(test, unix))] use crate::a::Item;",
        "#[cfg(target_family = \"test\")] use crate::a::Item;",
        "mod tests { use crate::a::Item; }",
    ] {
        assert_eq!(imported(text), ["1 a.rs"], "{text}");
    }
}

#[test]
fn modules_are_found_where_the_compiler_finds_them() {
    let sources = [
        (
            "src/main.rs",
            "mod a; mod b { mod c; } #[path = \"else/where.rs\"] mod d; #[cfg(unix)] mod e;",
        ),
        ("src/a/mod.rs", "mod own;"),
        ("src/a/own.rs", "mod deep;"),
        ("src/a/own/deep.rs", "use crate::b::c::X;"),
        ("src/b/c.rs", "mod r#match; #[path = \"other.rs\"] mod g;"),
        ("src/b/c/match.rs", ""),
        ("src/b/other.rs", ""),
        ("src/else/where.rs", "mod beside;"),
        ("src/else/beside.rs", ""),
        ("src/e.rs", "mod h { #[path = \"i.rs\"] mod j; }"),
        ("src/e/h/i.rs", ""),
    ];
    let modules = read(&sources).unwrap();
    let mut files: Vec<_> =
        modules.modules.iter().map(|module| module.file.to_str().unwrap()).collect();
    files.sort_unstable();
    files.dedup();
    let mut expected: Vec<_> = sources.iter().map(|(file, _)| *file).collect();
    expected.sort_unstable();
    assert_eq!(files, expected);
    // Inside of an inline module, but in the same file as the root.
    assert_eq!(imports(&modules).unwrap()[0].to_string(), "src/a/own/deep.rs:1: crate::b::c::X");
}

#[test]
fn unreadable_sources_are_errors() {
    let error = |sources: Sources<'_>| read(sources).err().unwrap().to_string();
    assert_eq!(error(&[("lib.rs", "\nmod a;")]), "lib.rs:2: module a has no file");
    let twice = "#[cfg(unix)] mod a {}\n#[cfg(not(unix))] mod a {}";
    assert_eq!(error(&[("lib.rs", twice)]), "lib.rs:2: module a is declared twice");
    assert_eq!(
        error(&[("lib.rs", "mod a;"), ("a.rs", "\nfn () {}")]),
        "a.rs:2: expected identifier"
    );
    let modules = read(&[("lib.rs", "fn f() {\n mod a {}\n}")]).unwrap();
    assert_eq!(
        imports(&modules).unwrap_err().to_string(),
        "lib.rs:2: a module is declared inside of a function, move it out of it"
    );
}

#[test]
fn a_circle_is_shown_with_its_imports() {
    let circles = circles(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B;\nuse crate::b::C;\nuse crate::d::D;"),
        ("b.rs", "fn f() {\n  super::c::f();\n}"),
        ("c.rs", "use crate::{d::D,\n  a::A};"),
        ("d.rs", ""),
    ]);
    let message = "\
3 files import each other:
  a.rs
  b.rs
  c.rs
by these imports:
  a.rs:1: crate::b::B
  b.rs:2: super::c::f
  c.rs:2: crate::a::A";
    assert_eq!(circles, [message]);
}

#[test]
fn two_circles_are_two() {
    let circles = circles(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::X;"),
        ("b.rs", "use crate::a::X; use crate::c::X;"),
        ("c.rs", "use crate::d::X;"),
        ("d.rs", "use crate::c::X;"),
    ]);
    let files: Vec<_> = circles.iter().map(|circle| circle.lines().nth(1).unwrap()).collect();
    assert_eq!(files, ["  a.rs", "  c.rs"]);
}

#[test]
fn a_parent_that_uses_its_child_is_in_a_circle_if_the_child_uses_it() {
    let child = "use super::X;";
    let sources = |parent| [("lib.rs", "mod a;"), ("a.rs", parent), ("a/b.rs", child)];
    assert_eq!(circles(&sources("mod b; pub use b::Y;")).len(), 1);
    assert_eq!(circles(&sources("pub mod b; fn f() { b::g() }")).len(), 1);
    assert_eq!(circles(&sources("pub mod b; struct X;")), [""; 0]);
}

#[test]
fn the_root_and_inline_modules_are_in_circles_too() {
    assert_eq!(circles(&[("main.rs", "mod a; use a::X;"), ("a.rs", "use crate::Y;")]).len(), 1);
    // Modules of one file may use each other.
    let inline = "mod a { use super::b::X; } mod b { use super::a::Y; }";
    assert_eq!(circles(&[("lib.rs", inline)]), [""; 0]);
    let through = "mod a { use super::b::X; } mod b;";
    assert_eq!(circles(&[("lib.rs", through), ("b.rs", "use crate::a::Y;")]).len(), 1);
}

#[test]
fn levels_count_from_the_files_that_import_none() {
    let sources = [
        ("lib.rs", "pub mod a; mod b; mod c; mod d; use d::X;"),
        ("a.rs", ""),
        ("b.rs", "use crate::a::X; use crate::c::X;"),
        ("c.rs", "use crate::b::X;"),
        ("d.rs", "use crate::c::X; use crate::a::X;"),
    ];
    let modules = read(&sources).unwrap();
    let imports = imports(&modules).unwrap();
    let levels = Files::new(&modules, &imports).levels();
    let levels: Vec<_> =
        levels.iter().map(|(file, level)| (file.to_str().unwrap(), *level)).collect();
    assert_eq!(levels, [("a.rs", 0), ("b.rs", 1), ("c.rs", 1), ("d.rs", 2), ("lib.rs", 3)]);
}

#[test]
fn imports_point_to_layers_that_are_declared_before() {
    let sources = |low: &'static str, deep: &'static str| {
        [
            ("lib.rs", "pub mod low;\npub mod high;\npub use high::X;\nstruct Root;"),
            ("low.rs", low),
            ("low/deep.rs", deep),
            ("high.rs", "use crate::low::deep::X;\nuse crate::low::Y;"),
        ]
    };
    assert_eq!(upward(&sources("pub mod deep;", "use crate::low::Y;")), [""; 0]);
    assert_eq!(
        upward(&sources("pub mod deep;\nuse crate::high;", "\nfn f() { super::super::high::f() }")),
        [
            "low.rs:2: crate::high: low must not import from high, a layer above it",
            "low/deep.rs:2: super::super::high::f: low must not import from high, a layer above it",
        ]
    );
    assert_eq!(
        upward(&sources("pub mod deep;", "use crate::Root;")),
        ["low/deep.rs:1: crate::Root: low must not import from the root, a layer above it"]
    );
    assert_eq!(upward(&sources("pub mod deep;", "#[cfg(test)] use crate::Root;")), [""; 0]);
}
