//! What a dynamic module needs in the process that loads it.

use anyhow::{Context, Result, ensure};
use object::elf::{DF_1_NODELETE, DT_FLAGS_1, DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn, ElfFile64, FileHeader};
use object::{Endianness, Object, ObjectSymbol};

/// The libraries that every system with glibc has. The names of the loader differ by processor.
const LIBRARIES: [&str; 2] = ["libc.so.6", "ld-linux-"];

/// Functions of Envoy that a module calls, and of a module that Envoy calls.
const CALLBACKS: &str = "envoy_dynamic_module_callback_";
const HOOKS: &str = "envoy_dynamic_module_on_";

/// The version of glibc that a module needs.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc(Vec<u32>);

impl std::fmt::Display for Glibc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// Fails unless a module exports hooks alone, needs only Envoy and glibc and stays in memory.
/// Returns the version of glibc.
pub fn check(module: &[u8]) -> Result<Glibc> {
    let file = ElfFile64::<Endianness>::parse(module).context("is no shared object")?;
    let (libraries, stays) = dynamic(&file)?;
    ensure!(stays, "is not linked with -z nodelete, so Envoy could unmap it while it is in use");
    for library in libraries {
        let is_known = LIBRARIES.iter().any(|known| library.starts_with(known));
        ensure!(is_known, "needs the library {library}, which not every image of Envoy has");
    }
    let mut hooks = 0;
    for symbol in file.dynamic_symbols() {
        let name = symbol.name()?;
        if symbol.is_definition() {
            ensure!(name.starts_with(HOOKS), "exports {name}, which is no hook of Envoy");
            hooks += 1;
        }
    }
    ensure!(hooks > 0, "exports no hook of Envoy");
    versions(&file)
}

/// The libraries that the loader has to find, and whether it never unmaps the module.
fn dynamic<'data>(file: &ElfFile64<'data, Endianness>) -> Result<(Vec<&'data str>, bool)> {
    let (endian, sections) = (file.endian(), file.elf_section_table());
    let (mut libraries, mut stays) = (Vec::new(), false);
    if let Some((entries, strings)) = sections.dynamic(endian, file.data())? {
        let strings = sections.strings(endian, file.data(), strings)?;
        for entry in entries {
            match entry.tag(endian) {
                DT_NEEDED => {
                    libraries.push(std::str::from_utf8(entry.string(endian, strings)?)?);
                }
                DT_FLAGS_1 => stays |= entry.val(endian) & DF_1_NODELETE.0 != 0,
                _ => {}
            }
        }
    }
    Ok((libraries, stays))
}

/// The highest version of glibc among the functions that the module uses. Every other function
/// without a definition has to be one of Envoy, or one that may be absent.
fn versions(file: &ElfFile64<'_, Endianness>) -> Result<Glibc> {
    let (endian, data) = (file.endian(), file.data());
    let header: &FileHeader64<Endianness> = file.elf_header();
    let sections = header.sections(endian, data)?;
    let versions = sections.versions(endian, data)?.context("names no version of glibc")?;
    let mut highest = None;
    for symbol in file.dynamic_symbols().filter(ObjectSymbol::is_undefined) {
        let name = symbol.name()?;
        let index = versions.version_index(endian, symbol.index());
        let version = versions.version(index.index())?.map(|version| version.name());
        let version = version.map(String::from_utf8_lossy);
        match version.as_deref().and_then(|version| version.strip_prefix("GLIBC_")) {
            Some(version) => {
                let numbers: Result<Vec<_>, _> = version.split('.').map(str::parse).collect();
                let numbers = numbers.with_context(|| format!("{name} of glibc {version}"))?;
                highest = highest.max(Some(Glibc(numbers)));
            }
            None if name.starts_with(CALLBACKS) || name.is_empty() || symbol.is_weak() => {}
            None => anyhow::bail!("needs {name}, which neither Envoy nor glibc has"),
        }
    }
    highest.context("uses no function of glibc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(Glibc(vec![2, 35]) > Glibc(vec![2, 4]));
        assert!(Glibc(vec![2, 2, 5]) < Glibc(vec![2, 17]));
        assert_eq!(Glibc(vec![2, 35]).to_string(), "2.35");
    }

    #[test]
    fn other_files_are_errors() {
        assert_eq!(check(b"\0asm").unwrap_err().to_string(), "is no shared object");
    }

    #[test]
    fn a_program_is_no_module() {
        // The test itself: it has no hooks, and may need any library.
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        check(&program).unwrap_err();
    }
}
