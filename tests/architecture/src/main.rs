//! Lists the imports that the architecture tests check: `cargo run --package sluice-architecture`.
//!
//! For each crate it prints its files by level, the circles of imports, and the imports that point
//! to a higher layer. The level of a file is one more than the highest one that it imports.

use std::path::Path;

use anyhow::{Context, Result};
use sluice_architecture::circles::Files;
use sluice_architecture::imports::imports;
use sluice_architecture::layers::{PACKAGES, upward_imports};
use sluice_architecture::modules::Crate;
use sluice_architecture::workspace::Workspace;

fn main() -> Result<()> {
    let workspace = Workspace::load(Path::new("."))?;
    for target in &workspace.targets {
        let modules = Crate::read(&target.root_file, &|file| workspace.read(file))?;
        let imports = imports(&modules)?;
        let files = Files::new(&modules, &imports);
        let source = target.root_file.parent().context("a file without a directory")?;

        println!("{} ({})", target.package, target.root_file.display());
        let levels = files.levels();
        for level in 0..=levels.values().copied().max().unwrap_or(0) {
            let names = levels.iter().filter(|(_, of_file)| **of_file == level);
            let names = names.map(|(file, _)| file.strip_prefix(source).unwrap_or(file));
            let names: Vec<_> = names.map(|name| name.display().to_string()).collect();
            println!("  level {level}: {}", names.join(" "));
        }
        for circle in files.circles() {
            println!("circle: {circle}");
        }
        if PACKAGES.contains(&target.package.as_str()) {
            upward_imports(&modules, &imports)
                .iter()
                .for_each(|import| println!("layers: {import}"));
        }
        println!();
    }
    Ok(())
}
