//! Which module a path in the code names.
//!
//! A path is resolved as the compiler does it, as far as modules go: along declarations, `use`
//! items with their new names, and globs. Visibility is ignored, as code that compiles only uses
//! what it may see.

use proc_macro2::Span;
use syn::{Item, ItemUse, UseTree};

use crate::modules::{Crate, ModuleId, ROOT, plain_name};

/// One name, or all names of a module, that a `use` item imports.
#[derive(Debug)]
pub struct Use {
    /// The name in the importing code; a glob has none.
    pub name: Option<String>,
    /// The segments of the path; that of a glob names the module.
    pub path: Vec<String>,
    /// Where the last segment is.
    pub span: Span,
}

/// All imports of a `use` item. A path of another crate that begins with `::` is left out.
pub fn uses_of(item: &ItemUse) -> Vec<Use> {
    let mut uses = Vec::new();
    if item.leading_colon.is_none() {
        collect_uses(&item.tree, &[], &mut uses);
    }
    uses
}

fn collect_uses(tree: &UseTree, prefix: &[String], uses: &mut Vec<Use>) {
    let mut add = |ident: &syn::Ident, name: &syn::Ident| {
        let mut path = prefix.to_vec();
        // In braces, `self` is the module before the braces.
        if prefix.is_empty() || ident != "self" {
            path.push(plain_name(ident));
        }
        let name = if name == "self" { path.last().cloned() } else { Some(plain_name(name)) };
        uses.push(Use { name, path, span: ident.span() });
    };
    match tree {
        UseTree::Path(part) => {
            let prefix = [prefix, &[plain_name(&part.ident)]].concat();
            collect_uses(&part.tree, &prefix, uses);
        }
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| collect_uses(tree, prefix, uses));
        }
        UseTree::Name(name) => add(&name.ident, &name.ident),
        UseTree::Rename(rename) => add(&rename.ident, &rename.rename),
        UseTree::Glob(glob) => {
            let span = glob.star_token.spans[0];
            uses.push(Use { name: None, path: prefix.to_vec(), span });
        }
    }
}

/// The modules of a crate with what each one imports.
pub struct Names<'a> {
    modules: &'a Crate,
    uses: Vec<Vec<Use>>,
}

impl<'a> Names<'a> {
    /// Collects the `use` items of the modules.
    pub fn new(modules: &'a Crate) -> Self {
        let uses = modules.modules.iter().map(|module| {
            let items = module.items.iter().filter_map(|item| match item {
                Item::Use(item) => Some(uses_of(item)),
                _ => None,
            });
            items.flatten().collect()
        });
        Self { modules, uses: uses.collect() }
    }

    /// The modules that a path in the module `from` leads to: the last one is the longest part of
    /// the path that is a module, those before it re-export a part. Without any, the path is not
    /// one of this crate's modules. `scopes` are the `use` items of the blocks around the path, the
    /// outermost first.
    pub fn resolve(&self, from: ModuleId, scopes: &[Vec<Use>], path: &[String]) -> Vec<ModuleId> {
        let mut search = Search { names: self, active: Vec::new() };
        search.resolve(from, scopes, path).map(|found| found.modules).unwrap_or_default()
    }
}

struct Found {
    modules: Vec<ModuleId>,
    /// Whether the whole path is a module.
    is_whole: bool,
}

struct Search<'n> {
    names: &'n Names<'n>,
    /// The imports that are being resolved. None of them is resolved by itself.
    active: Vec<*const Use>,
}

impl Search<'_> {
    fn resolve(&mut self, from: ModuleId, scopes: &[Vec<Use>], path: &[String]) -> Option<Found> {
        let (first, rest) = path.split_first()?;
        let mut modules = match first.as_str() {
            "crate" => vec![ROOT],
            "self" => vec![from],
            "super" => vec![self.parent(from)?],
            name => self.find_in_scopes(from, scopes, name)?,
        };
        let mut remaining = rest.len();
        for segment in rest {
            let current = *modules.last()?;
            let next = match segment.as_str() {
                "super" => self.parent(current).map(|parent| vec![parent]),
                name => self.find(current, name),
            };
            let Some(next) = next else { break };
            modules.pop();
            modules.extend(next);
            remaining -= 1;
        }
        Some(Found { modules, is_whole: remaining == 0 })
    }

    fn parent(&self, module: ModuleId) -> Option<ModuleId> {
        self.names.modules.modules[module].parent
    }

    /// Finds the first segment of a path.
    fn find_in_scopes(
        &mut self,
        from: ModuleId,
        scopes: &[Vec<Use>],
        name: &str,
    ) -> Option<Vec<ModuleId>> {
        let mut inner_first = scopes.iter().rev();
        inner_first
            .find_map(|uses| self.find_in_uses(from, scopes, uses, name))
            .or_else(|| self.find(from, name))
    }

    /// Finds a module by its name in another one.
    fn find(&mut self, module: ModuleId, name: &str) -> Option<Vec<ModuleId>> {
        let names = self.names;
        let mut children = names.modules.modules[module].children.iter();
        match children.find(|(child, _)| child == name) {
            Some((_, child)) => Some(vec![*child]),
            None => self.find_in_uses(module, &[], &names.uses[module], name),
        }
    }

    fn find_in_uses(
        &mut self,
        module: ModuleId,
        scopes: &[Vec<Use>],
        uses: &[Use],
        name: &str,
    ) -> Option<Vec<ModuleId>> {
        let named = uses.iter().filter(|import| import.name.as_deref() == Some(name));
        let globs = uses.iter().filter(|import| import.name.is_none());
        named.chain(globs).find_map(|import| {
            if self.active.contains(&std::ptr::from_ref(import)) {
                return None;
            }
            self.active.push(import);
            let found = self.resolve(module, scopes, &import.path).filter(|found| found.is_whole);
            let found = found.and_then(|found| {
                let mut modules = found.modules;
                if import.name.is_none() {
                    let glob = modules.pop()?;
                    modules.extend(self.find(glob, name)?);
                }
                modules.insert(0, module);
                Some(modules)
            });
            self.active.pop();
            found
        })
    }
}
