//! The folder of a scenario.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sluice_e2e::workspace;

use crate::head::commands;
use crate::readme::{Readme, Step};

/// Folder of the scenarios, from the root of the repository.
pub const SCENARIOS: &str = "envoy/scenarios";

/// A scenario as its folder describes it.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The name of the folder.
    pub name: String,
    /// Id in the index, such as `F1`.
    pub id: String,
    /// The title of the README.
    pub title: String,
    /// Commands that run before the programs start.
    pub prepare: Vec<String>,
    /// Additional files of the folder that the programs read.
    pub files: Vec<String>,
    /// Programs, in the order of their start.
    pub programs: Vec<Program>,
    /// The commands of the README, with their output.
    pub steps: Vec<Step>,
    /// Commands that run the scenario without `make scenario`; most scenarios have none.
    pub by_hand: Vec<String>,
    /// How `sluice render` makes the same Envoy from `istio.yaml`, where it can.
    pub rendered: Option<Rendered>,
}

/// The file `scenario.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    #[serde(default)]
    prepare: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
    programs: Vec<Program>,
    rendered: Option<Rendered>,
}

/// What `sluice render --to envoy` needs beside `istio.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rendered {
    /// Arguments, mostly endpoints.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Number of commands of the README that `istio.yaml` is enough for. All by default.
    pub commands: Option<usize>,
}

/// A program of a scenario. Files are in the folder of the scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Program {
    /// An Envoy with a number of workers. The default of 1 makes results independent of the worker.
    Envoy {
        /// Its configuration.
        envoy: String,
        /// Number of workers.
        workers: Option<u32>,
    },
    /// An NGINX.
    Nginx {
        /// Its configuration.
        nginx: String,
        /// A port that it opens.
        port: u16,
    },
    /// A Squid.
    Squid {
        /// Its configuration.
        squid: String,
        /// A port that it opens.
        port: u16,
    },
    /// An httpbin, run by gunicorn.
    Httpbin {
        /// Its settings.
        httpbin: Httpbin,
    },
    /// A script that runs programs in a special environment, such as network namespaces.
    Script {
        /// The script. It prints a line `ready` when the programs serve, and ends them after a
        /// SIGTERM.
        script: String,
    },
}

/// Settings of httpbin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Httpbin {
    /// Its port.
    pub port: u16,
}

impl Folder {
    /// Reads a folder.
    pub fn read(name: &str) -> Result<Self, String> {
        let path = workspace().join(SCENARIOS).join(name);
        let read = |file: &str| {
            fs::read_to_string(path.join(file))
                .map_err(|error| format!("{SCENARIOS}/{name}/{file}: {error}"))
        };
        let file: File = serde_yaml_ng::from_str(&read("scenario.yaml")?)
            .map_err(|error| format!("{SCENARIOS}/{name}/scenario.yaml: {error}"))?;
        let readme = Readme::parse(&read("README.md")?)
            .map_err(|error| format!("{SCENARIOS}/{name}/README.md:{error}"))?;
        if readme.id != file.id {
            return Err(format!("{name}: scenario.yaml says {}, README.md {}", file.id, readme.id));
        }
        // Programs do not read `istio.yaml`, so check here that it is YAML.
        let istio = read("istio.yaml")?;
        for document in serde_yaml_ng::Deserializer::from_str(&istio) {
            serde_json::Value::deserialize(document)
                .map_err(|error| format!("{SCENARIOS}/{name}/istio.yaml: {error}"))?;
        }
        let mut by_hand = Vec::new();
        for program in &file.programs {
            let Program::Envoy { envoy: file, .. } = program else { continue };
            let commands = commands(&read(file)?, name)
                .map_err(|error| format!("{SCENARIOS}/{name}/{file}: {error}"))?;
            // The configurations of several Envoys repeat the commands.
            if by_hand.is_empty() {
                by_hand = commands;
            } else if by_hand != commands {
                return Err(format!("{SCENARIOS}/{name}/{file}: has other commands in its head"));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            id: file.id,
            title: readme.title,
            prepare: file.prepare,
            files: file.files,
            programs: file.programs,
            steps: readme.steps,
            by_hand,
            rendered: file.rendered,
        })
    }

    /// Reads all folders, or those with these names, sorted by id. Returns an error if the index is
    /// wrong.
    pub fn all(names: &[&str]) -> Result<Vec<Self>, String> {
        let path = workspace().join(SCENARIOS);
        let mut found: Vec<String> = if names.is_empty() {
            let entries = fs::read_dir(&path).map_err(|error| format!("{SCENARIOS}: {error}"))?;
            let folders = entries.flatten().filter(|entry| entry.path().is_dir());
            folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        } else {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        found.sort();
        let folders: Result<Vec<_>, _> = found.iter().map(|name| Self::read(name)).collect();
        let mut folders = folders?;
        folders.sort_by_key(Self::order);
        if names.is_empty() {
            check_index(&path, &folders)?;
        }
        Ok(folders)
    }

    /// Returns the path of a file of the folder, from the root of the repository.
    pub fn file(&self, file: &str) -> String {
        format!("{SCENARIOS}/{}/{file}", self.name)
    }

    /// Path of the output folder in the files and commands.
    pub fn written(&self) -> String {
        format!("dist/scenarios/{}", self.name)
    }

    /// The real path of the output folder.
    pub fn written_path(&self) -> PathBuf {
        workspace().join(self.written())
    }

    /// Sort key of an id: `F10` is after `F2`.
    fn order(&self) -> (String, u32, String) {
        let letters = self.id.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = self.id[letters.len()..].parse().unwrap_or(0);
        (letters.to_owned(), number, self.name.clone())
    }
}

impl Program {
    /// Name of its logs, unique among the programs of a scenario.
    pub fn name(&self) -> &str {
        let stem = |file: &'_ str| file.rsplit_once('.').map_or(file.len(), |(stem, _)| stem.len());
        match self {
            Self::Envoy { envoy: file, .. }
            | Self::Nginx { nginx: file, .. }
            | Self::Squid { squid: file, .. }
            | Self::Script { script: file } => &file[..stem(file)],
            Self::Httpbin { .. } => "httpbin",
        }
    }
}

/// Checks that the index has one line per folder, with its id.
fn check_index(path: &Path, folders: &[Folder]) -> Result<(), String> {
    let index = format!("{SCENARIOS}/README.md");
    let text = fs::read_to_string(path.join("README.md")).map_err(|error| error.to_string())?;
    let rows: Vec<_> = text.lines().filter(|line| line.contains("/README.md)")).collect();
    for Folder { id, name, .. } in folders {
        let row = format!("| {id} | [{name}]({name}/README.md) | ");
        if rows.iter().filter(|line| line.starts_with(&row)).count() != 1 {
            return Err(format!("{index} has no line, or several, that begin: {row}"));
        }
    }
    if rows.len() != folders.len() {
        return Err(format!("{index} has {} lines for {} folders", rows.len(), folders.len()));
    }
    Ok(())
}

/// Prints all scenarios.
pub fn list() -> Result<(), String> {
    for folder in Folder::all(&[])? {
        println!("{:4} {:28} {}", folder.id, folder.name, folder.title);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_is_complete_and_in_the_index() {
        let folders = Folder::all(&[]).unwrap();
        let ids: Vec<_> = folders.iter().map(|folder| folder.id.as_str()).collect();
        let mut different = ids.clone();
        different.dedup();
        assert_eq!(ids, different);
        assert!(ids.contains(&"R1"), "{ids:?}");
    }

    #[test]
    fn unknown_fields_are_refused() {
        let read = |text: &str| serde_yaml_ng::from_str::<File>(text);
        assert!(read("{id: X1, programs: [{envoy: envoy.yaml, workers: 2}]}").is_ok());
        for text in [
            "{id: X1}",
            "{id: X1, programs: [], other: 1}",
            "{id: X1, programs: [{envoy: envoy.yaml, worker: 2}]}",
            "{id: X1, programs: [{nginx: nginx.conf}]}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
