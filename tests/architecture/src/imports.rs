//! The imports between the files of a crate.
//!
//! Every path that names a module of the crate is an import: those of `use` items, `pub use` among
//! them, and those inside of expressions, types, patterns, attributes and macro calls. A path to an
//! item is an import of the item's module. A declaration `mod name;` alone is none.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use proc_macro2::{Span, TokenStream};
use syn::visit::{self, Visit};
use syn::{Block, ImplItem, Item, ItemMod, ItemUse, Stmt, TraitItem, VisRestricted};

use crate::modules::{
    Crate, ModuleId, attributes_of_impl_item, attributes_of_item, attributes_of_trait_item,
    is_test_only, plain_name,
};
use crate::names::{Names, Use, uses_of};
use crate::tokens::Paths;

/// An import of one module in another one, which is in another file.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    /// The module with the path.
    pub from: ModuleId,
    /// The module that the path names.
    pub to: ModuleId,
    /// The file with the path.
    pub file: PathBuf,
    /// The line of the path, from 1.
    pub line: usize,
    /// The path as it is written; groups are written out.
    pub path: String,
}

impl std::fmt::Display for Import {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}: {}", self.file.display(), self.line, self.path)
    }
}

/// Finds all imports of a crate, in the order of its modules.
///
/// # Errors
/// If a module is declared inside of a function, as then it is not known what `super` means.
pub fn imports(modules: &Crate) -> Result<Vec<Import>> {
    let names = Names::new(modules);
    let mut imports = Vec::new();
    for (id, module) in modules.modules.iter().enumerate() {
        let mut collector = Collector {
            modules,
            names: &names,
            from: id,
            file: &module.file,
            scopes: Vec::new(),
            imports: &mut imports,
            nested_module: None,
        };
        module.items.iter().for_each(|item| collector.visit_item(item));
        if let Some(span) = collector.nested_module {
            let (file, line) = (module.file.display(), span.start().line);
            bail!("{file}:{line}: a module is declared inside of a function, move it out of it");
        }
    }
    Ok(imports)
}

/// Finds the imports of one module.
struct Collector<'a> {
    modules: &'a Crate,
    names: &'a Names<'a>,
    from: ModuleId,
    file: &'a Path,
    /// The `use` items of the blocks around, the outermost first.
    scopes: Vec<Vec<Use>>,
    imports: &'a mut Vec<Import>,
    nested_module: Option<Span>,
}

impl Collector<'_> {
    fn add(&mut self, path: &[String], written: String, span: Span) {
        for to in self.names.resolve(self.from, &self.scopes, path) {
            if self.modules.modules[to].file != self.file {
                let (file, line) = (self.file.to_owned(), span.start().line);
                let path = written.clone();
                self.imports.push(Import { from: self.from, to, file, line, path });
            }
        }
    }

    fn add_path(&mut self, segments: &[&syn::Ident]) {
        // A single segment is an item, or a module that is only named to go on in it.
        let [first, _, ..] = segments else { return };
        let path: Vec<String> = segments.iter().map(|segment| plain_name(segment)).collect();
        self.add(&path, path.join("::"), first.span());
    }

    fn add_uses(&mut self, item: &ItemUse) {
        for import in uses_of(item) {
            let glob = if import.name.is_none() { "::*" } else { "" };
            self.add(&import.path, import.path.join("::") + glob, import.span);
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(attributes_of_item(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !is_test_only(attributes_of_impl_item(item)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        if !is_test_only(attributes_of_trait_item(item)) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.nested_module = Some(item.ident.span());
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_uses(item);
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let items = block.stmts.iter().filter_map(|statement| match statement {
            Stmt::Item(Item::Use(item)) if !is_test_only(&item.attrs) => Some(uses_of(item)),
            _ => None,
        });
        self.scopes.push(items.flatten().collect());
        visit::visit_block(self, block);
        self.scopes.pop();
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let segments: Vec<_> = path.segments.iter().map(|segment| &segment.ident).collect();
            self.add_path(&segments);
        }
        visit::visit_path(self, path);
    }

    /// `pub(in path)` names a module around this one and imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        let paths = Paths::of(tokens.clone());
        paths.uses.iter().for_each(|item| self.add_uses(item));
        for path in &paths.paths {
            self.add_path(&path.iter().collect::<Vec<_>>());
        }
    }
}
