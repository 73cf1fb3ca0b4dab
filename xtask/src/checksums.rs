//! SHA-256 of the files in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

/// The files of a folder and of the folders in it: path, with `/`, and SHA-256 in hexadecimal.
pub type Checksums = BTreeMap<String, String>;

/// Returns the SHA-256 of bytes in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads all files below a folder. A symbolic link is an error: it could point anywhere.
pub fn of_folder(folder: &Path) -> Result<Checksums> {
    let mut checksums = Checksums::new();
    collect(folder, "", &mut checksums)?;
    Ok(checksums)
}

fn collect(folder: &Path, prefix: &str, checksums: &mut Checksums) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_str().with_context(|| format!("{}: not UTF-8", path.display()))?;
        let name = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&path, &format!("{name}/"), checksums)?;
        } else {
            ensure!(kind.is_file(), "{name} is not a regular file");
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            checksums.insert(name, sha256(&bytes));
        }
    }
    Ok(())
}

/// Reads the format of `sha256sum`.
pub fn parse(text: &str) -> Result<Checksums> {
    let lines = text.lines().map(|line| {
        let (hash, name) =
            line.split_once("  ").with_context(|| format!("invalid line {line:?}"))?;
        Ok((name.to_owned(), hash.to_owned()))
    });
    let checksums: Checksums = lines.collect::<Result<_>>()?;
    ensure!(checksums.len() == text.lines().count(), "has a file twice");
    Ok(checksums)
}

/// Writes the format of `sha256sum`.
pub fn format(checksums: &Checksums) -> String {
    checksums.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect()
}

/// Returns a line for each file that is missing, extra or changed in comparison with a list.
pub fn differences(found: &Checksums, listed: &Checksums) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, hash) in listed {
        match found.get(name) {
            None => lines.push(format!("missing: {name}")),
            Some(found) if found != hash => lines.push(format!("changed: {name}")),
            Some(_) => {}
        }
    }
    let extra = found.keys().filter(|name| !listed.contains_key(*name));
    lines.extend(extra.map(|name| format!("extra: {name}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksums(files: &[(&str, &str)]) -> Checksums {
        files.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned())).collect()
    }

    #[test]
    fn hashes_are_sha_256() {
        // From FIPS 180-4.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), expected);
    }

    #[test]
    fn what_is_written_is_read() {
        let files = checksums(&[("a b", "00"), ("c/d", "11")]);
        assert_eq!(format(&files), "00  a b\n11  c/d\n");
        assert_eq!(parse(&format(&files)).unwrap(), files);
        assert_eq!(parse("00 a").unwrap_err().to_string(), "invalid line \"00 a\"");
        assert_eq!(parse("00  a\n11  a\n").unwrap_err().to_string(), "has a file twice");
    }

    #[test]
    fn every_difference_is_named() {
        let listed = checksums(&[("a", "0"), ("b", "1"), ("c", "2")]);
        let found = checksums(&[("a", "0"), ("b", "9"), ("d", "3")]);
        assert_eq!(differences(&found, &listed), ["changed: b", "missing: c", "extra: d"]);
        assert_eq!(differences(&listed, &listed), [""; 0]);
    }
}
