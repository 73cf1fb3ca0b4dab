//! The modules of a crate: which there are, in which file each one is, and what is in it.
//!
//! They are found as the compiler finds them, from the root file along the `mod` declarations. Code
//! that only tests compile is left out; code under any other `cfg` is not.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use syn::parse::Parser;
use syn::{Attribute, Expr, ImplItem, Item, ItemMod, Lit, Meta, Token, TraitItem};

/// A crate as a tree of modules.
pub struct Crate {
    /// All modules. The first one is the root.
    pub modules: Vec<Module>,
}

/// Place of a module in [`Crate::modules`].
pub type ModuleId = usize;

/// The root module of every crate.
pub const ROOT: ModuleId = 0;

/// One module.
pub struct Module {
    /// The file in which the module's items are.
    pub file: PathBuf,
    /// The module that declares this one; the root has none.
    pub parent: Option<ModuleId>,
    /// Modules that this one declares, in this order, with their names.
    pub children: Vec<(String, ModuleId)>,
    /// All other items, without those that only tests compile.
    pub items: Vec<Item>,
}

impl Crate {
    /// Reads the crate with this root file. `read` returns the text of a file, or [`None`] where
    /// there is no such file.
    ///
    /// # Errors
    /// If a file is missing or is not Rust, and if two modules have the same name.
    pub fn read(root_file: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Result<Self> {
        let mut reader = Reader { read, modules: Vec::new() };
        let root = Place::new(root_file.to_owned(), IsModRs::Yes);
        reader.read_file(root, None)?;
        Ok(Self { modules: reader.modules })
    }

    /// The module of the crate's root that a module is or is in; the root is in none.
    pub fn top_level(&self, mut module: ModuleId) -> Option<ModuleId> {
        loop {
            match self.modules[module].parent {
                None => return None,
                Some(ROOT) => return Some(module),
                Some(parent) => module = parent,
            }
        }
    }
}

/// Whether the modules that a file declares are in the directory of the file itself, as for
/// `lib.rs`, `main.rs`, `mod.rs` and files named by a `path` attribute, or in a directory with the
/// file's name.
#[derive(Clone, Copy, PartialEq)]
enum IsModRs {
    Yes,
    No,
}

/// The surroundings of a module declaration.
#[derive(Clone)]
struct Place {
    file: PathBuf,
    /// Directory in which a module `name` has the file `name.rs` or `name/mod.rs`.
    directory: PathBuf,
    /// Directory that `path` attributes are relative to.
    path_directory: PathBuf,
}

impl Place {
    fn new(file: PathBuf, is_mod_rs: IsModRs) -> Self {
        let parent = file.parent().unwrap_or(Path::new("")).to_owned();
        let directory = match is_mod_rs {
            IsModRs::Yes => parent.clone(),
            IsModRs::No => file.with_extension(""),
        };
        Self { file, directory, path_directory: parent }
    }

    /// The place inside of `mod name { ... }`.
    fn inside(&self, name: &str, path: Option<&str>) -> Self {
        let directory = match path {
            Some(path) => self.path_directory.join(path),
            None => self.directory.join(name),
        };
        Self { file: self.file.clone(), path_directory: directory.clone(), directory }
    }

    /// The possible files of `mod name;`.
    fn files(&self, name: &str, path: Option<&str>) -> Vec<Self> {
        match path {
            Some(path) => vec![Self::new(self.path_directory.join(path), IsModRs::Yes)],
            None => vec![
                Self::new(self.directory.join(format!("{name}.rs")), IsModRs::No),
                Self::new(self.directory.join(name).join("mod.rs"), IsModRs::Yes),
            ],
        }
    }
}

struct Reader<'a> {
    read: &'a dyn Fn(&Path) -> Option<String>,
    modules: Vec<Module>,
}

impl Reader<'_> {
    /// Reads a file with the modules below it. The result is [`None`] for a file that only tests
    /// compile.
    fn read_file(&mut self, place: Place, parent: Option<ModuleId>) -> Result<Option<ModuleId>> {
        let name = place.file.display().to_string();
        let text = (self.read)(&place.file).with_context(|| format!("{name}: no such file"))?;
        let file = syn::parse_file(&text)
            .map_err(|error| anyhow::anyhow!("{name}:{}: {error}", error.span().start().line))?;
        if is_test_only(&file.attrs) {
            return Ok(None);
        }
        self.add_module(&place, parent, file.items).map(Some)
    }

    fn add_module(
        &mut self,
        place: &Place,
        parent: Option<ModuleId>,
        items: Vec<Item>,
    ) -> Result<ModuleId> {
        let id = self.modules.len();
        let file = place.file.clone();
        self.modules.push(Module { file, parent, children: Vec::new(), items: Vec::new() });
        for item in items {
            match item {
                item if is_test_only(attributes_of_item(&item)) => {}
                Item::Mod(declaration) => self.add_child(place, id, declaration)?,
                item => self.modules[id].items.push(item),
            }
        }
        Ok(id)
    }

    fn add_child(&mut self, place: &Place, parent: ModuleId, declaration: ItemMod) -> Result<()> {
        let name = plain_name(&declaration.ident);
        let at = format!("{}:{}", place.file.display(), declaration.ident.span().start().line);
        let is_known = self.modules[parent].children.iter().any(|(known, _)| *known == name);
        ensure!(!is_known, "{at}: module {name} is declared twice");
        let path = path_attribute(&declaration.attrs);
        let path = path.as_deref();
        let child = if let Some((_, items)) = declaration.content {
            Some(self.add_module(&place.inside(&name, path), Some(parent), items)?)
        } else {
            let files = place.files(&name, path);
            let Some(file) = files.into_iter().find(|place| (self.read)(&place.file).is_some())
            else {
                bail!("{at}: module {name} has no file");
            };
            self.read_file(file, Some(parent))?
        };
        self.modules[parent].children.extend(child.map(|child| (name, child)));
        Ok(())
    }
}

/// An identifier without the `r#` of raw ones.
pub fn plain_name(identifier: &syn::Ident) -> String {
    let name = identifier.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("path") => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

/// Whether code with these attributes is compiled in tests only.
pub fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args::<Meta>().is_ok_and(|predicate| needs_test(&predicate))
        }
        _ => false,
    })
}

/// Whether a `cfg` predicate is false wherever `test` is.
fn needs_test(predicate: &Meta) -> bool {
    let Meta::List(list) = predicate else { return predicate.path().is_ident("test") };
    let parts = syn::punctuated::Punctuated::<Meta, Token![,]>::parse_terminated;
    let Ok(parts) = parts.parse2(list.tokens.clone()) else { return false };
    if list.path.is_ident("all") {
        parts.iter().any(needs_test)
    } else {
        list.path.is_ident("any") && !parts.is_empty() && parts.iter().all(needs_test)
    }
}

/// The attributes of an item.
pub fn attributes_of_item(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of an item of an `impl` block.
pub fn attributes_of_impl_item(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of an item of a trait.
pub fn attributes_of_trait_item(item: &TraitItem) -> &[Attribute] {
    match item {
        TraitItem::Const(item) => &item.attrs,
        TraitItem::Fn(item) => &item.attrs,
        TraitItem::Type(item) => &item.attrs,
        TraitItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}
