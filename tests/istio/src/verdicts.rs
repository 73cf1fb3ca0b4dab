//! The part `verdicts`: `sluice check` accepts what Istio accepts, and refuses what it refuses.

mod corpus;
mod differences;
mod judges;
mod mutate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

pub use corpus::{ISTIO, documents, module, texts};
pub use judges::{ask_istio, program, sluice};

use corpus::Object;
use differences::{Differences, Judge, Outcome};
use judges::Verdict;
use sluice_e2e::workspace;
use tempfile::TempDir;

use crate::schema_table;

/// Mutations of the objects of Istio's modules and of this repository.
const MUTATIONS: usize = 5_000;

/// The same of HTTPRoutes and GRPCRoutes.
const MUTATIONS_OF_ROUTES: usize = 2_000;

/// Processes of the command at the same time.
const THREADS: usize = 2;

/// Objects of one origin.
struct Group {
    title: String,
    objects: Vec<Object>,
}

impl Group {
    fn new(title: &str, objects: Vec<Object>) -> Self {
        Self { title: title.to_owned(), objects }
    }
}

/// How many objects have an outcome, by the index of their group and their kind.
type Sums = BTreeMap<(usize, String, Outcome), usize>;

/// Compares the verdicts and prints them; with `SLUICE_CORPUS`, also those of that folder. Without
/// Go, only the objects of that folder are compared, with the verdicts that the folder has.
///
/// # Panics
/// If a verdict differs without a reason in differences.yaml.
pub fn run() {
    let crds = corpus::module("istio.io/istio")
        .map(|folder| folder.join("manifests/charts/base/files/crd-all.gen.yaml"));
    let Some(crds) = crds.filter(|_| judges::program().exists()) else {
        run_without_go();
        return;
    };
    schema_table::compare(&crds);
    let mut definitions = vec![crds];
    definitions.extend(corpus::gateway_api_crds().expect("the Gateway API"));
    let (groups, templates) = groups();
    println!("{templates} files are templates and left out");
    let (directory, files) = write(&groups);
    let istio = judges::ask_istio(&definitions, directory.path());
    let verdict = |file: &Path, object: &Object| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let found = istio.get(&*name);
        Some(found.unwrap_or_else(|| panic!("no verdict on {}", object.file)).clone())
    };
    compare(&groups, &files, verdict);
}

fn run_without_go() {
    println!(
        "left out without Go: the objects of Istio's modules and of this repository, mutations"
    );
    let Some(folder) = std::env::var_os("SLUICE_CORPUS").map(PathBuf::from) else {
        println!("left out: SLUICE_CORPUS is not set, so nothing is compared");
        return;
    };
    let Ok(table) = std::fs::read_to_string(folder.join("expected.tsv")) else {
        println!("left out: SLUICE_CORPUS has no expected.tsv with verdicts of Istio");
        return;
    };
    let istio = judges::recorded(&table);
    let groups = [Group::new("SLUICE_CORPUS", corpus::read(&folder).objects)];
    let (_directory, files) = write(&groups);
    let verdict = |_: &Path, object: &Object| {
        istio.get(&(object.file.clone(), object.index, object.kind.clone())).cloned()
    };
    compare(&groups, &files, verdict);
}

/// Writes each object to a file of its own.
fn write(groups: &[Group]) -> (TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().expect("a folder");
    let objects = groups.iter().flat_map(|group| &group.objects);
    let files = objects.enumerate().map(|(index, object)| {
        let file = directory.path().join(format!("{index:06}.yaml"));
        std::fs::write(&file, &object.text).expect("a file");
        file
    });
    let files = files.collect();
    (directory, files)
}

/// Compares the verdicts of the command on all objects with those of `istio`, which may not have
/// one on each.
fn compare(groups: &[Group], files: &[PathBuf], istio: impl Fn(&Path, &Object) -> Option<Verdict>) {
    let sluice = ask_sluice(files);
    let mut differences = Differences::load();
    let mut sums = Sums::new();
    let mut without_verdict = 0;
    let mut verdicts = files.iter().zip(&sluice);
    for (number, group) in groups.iter().enumerate() {
        for (object, (file, sluice)) in group.objects.iter().zip(verdicts.by_ref()) {
            let Some(istio) = istio(file, object) else {
                without_verdict += 1;
                continue;
            };
            let mut title = format!("{}, {}, document {}", group.title, object.file, object.index);
            if std::env::var_os("SLUICE_SHOW").is_some() {
                title = format!("{title}\n{}", object.text);
            }
            let outcome = differences.compare(&title, &istio, sluice);
            *sums.entry((number, object.kind.clone(), outcome)).or_default() += 1;
        }
    }
    print(groups, &sums);
    differences.print();
    let is_different = |outcome: &Outcome| matches!(outcome, Outcome::Different(_));
    let different: usize =
        sums.iter().filter(|((.., outcome), _)| is_different(outcome)).map(|(_, sum)| sum).sum();
    println!("\n{} objects, {different} differences without a reason", files.len());
    if without_verdict > 0 {
        println!("{without_verdict} of them have no verdict of Istio and are left out");
    }
    assert!(different == 0, "{different} verdicts differ without a reason");
}

/// All objects, and the number of files that are templates.
fn groups() -> (Vec<Group>, usize) {
    let mut groups = Vec::new();
    let mut templates = 0;
    let mut add = |title: &str, folder: &Path| {
        let found = corpus::read(folder);
        assert!(!found.objects.is_empty(), "{} has no objects", folder.display());
        templates += found.templates;
        groups.push(Group::new(title, found.objects));
    };
    for name in ["istio.io/istio", "istio.io/api", corpus::GATEWAY_API] {
        add(name, &corpus::module(name).expect("Go"));
    }
    add("this repository", workspace());
    if let Some(folder) = std::env::var_os("SLUICE_CORPUS") {
        add("SLUICE_CORPUS", Path::new(&folder));
    } else {
        println!("SLUICE_CORPUS is not set, so no other folder is compared");
    }
    let bases = groups.iter().take(4).flat_map(|group| &group.objects);
    let (routes, others): (Vec<_>, Vec<_>) =
        bases.partition(|object| corpus::ROUTES.contains(&&*object.kind));
    let mut objects = mutate::mutate(&others, MUTATIONS);
    objects.extend(mutate::mutate(&routes, MUTATIONS_OF_ROUTES));
    groups.push(Group::new(mutate::TITLE, objects));
    (groups, templates)
}

/// The verdicts of the command on files.
fn ask_sluice(files: &[PathBuf]) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut verdicts = Vec::new();
        while let Some((index, file)) = take(&next, files) {
            verdicts.push((index, judges::ask_sluice(file)));
        }
        verdicts
    };
    let mut verdicts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    });
    verdicts.sort_by_key(|(index, _)| *index);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

fn take<'a>(next: &AtomicUsize, files: &'a [PathBuf]) -> Option<(usize, &'a PathBuf)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    files.get(index).map(|file| (index, file))
}

/// Prints a line for each group and kind.
fn print(groups: &[Group], sums: &Sums) {
    const COLUMNS: [(&str, Outcome); 5] = [
        ("accepted", Outcome::Accepted),
        ("refused", Outcome::Refused),
        ("argued", Outcome::Argued),
        ("Istio refuses", Outcome::Different(Judge::Istio)),
        ("Sluice refuses", Outcome::Different(Judge::Sluice)),
    ];
    print!("{:16} {:16}", "", "");
    COLUMNS.iter().for_each(|(title, _)| print!(" {title:>14}"));
    println!();
    for (number, group) in groups.iter().enumerate() {
        for kind in corpus::kinds() {
            print!("{:16} {kind:16}", group.title);
            for (_, outcome) in COLUMNS {
                let sum = sums.get(&(number, kind.to_owned(), outcome)).copied();
                print!(" {:>14}", sum.unwrap_or_default());
            }
            println!();
        }
    }
}
