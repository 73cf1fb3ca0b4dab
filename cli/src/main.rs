//! `sluice`: checks, explains and renders Istio traffic policy, with the policy code of the filters
//! but without a proxy. It also prints the JSON Schema of the policy.

mod arguments;
mod bundle;
mod check;
mod collect;
mod columns;
mod diff;
mod explain;
mod filters;
mod finding;
mod foreign;
mod inputs;
mod istio;
mod kinds;
mod lint;
mod output;
mod render;
mod schema;
mod snippet;
mod source;
mod tree;
mod yaml;

use std::collections::HashSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use arguments::Format;
use bundle::Bundle;
use check::Compiled;
use collect::{Collected, Defaults};
use diff::{Compared, DiffArgs, Side};
use explain::{Detail, ExplainArgs, Explained, Explanation};
use finding::{Finding, Severity};
use inputs::Input;
use output::{OutputArgs, write_full};
use render::{RenderArgs, RenderError, Rendered, To};
use sluice_policy::desk::explain::Explainer;
use sluice_policy::document::filter::Filter;
use sluice_policy::document::report::Kind;
use sluice_policy::spec::proxy::{NoMetadata, NodeMetadata};
use source::Texts;

/// Check, explain and render Istio traffic policy for Envoy, without a proxy.
///
/// Files are YAML or JSON: plugin documents, Istio objects, or Envoy or Istio configuration that
/// contains Sluice's filters. A file named - is standard input. The exit status is 0 on success,
/// 1 if a file has an error, and 2 if the arguments are wrong.
#[derive(Parser)]
#[command(name = "sluice", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Report errors, and rules without effect
    Check(CheckArgs),
    /// Show what the filters do with a request, and which rules decide it
    Explain(Box<ExplainArgs>),
    /// Compare what two versions of the rules do with the requests of an access log
    Diff(DiffArgs),
    /// Combine files and write them in a format for Envoy or Istio
    Render(Box<RenderArgs>),
    /// Print the JSON Schema of plugin documents
    Schema,
    /// Print the completions of commands and flags for a shell
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder, which is created; man finds the pages in a folder man1 of its search path
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

#[derive(Args)]
struct CheckArgs {
    #[command(flatten)]
    input: arguments::InputArgs,
    #[command(flatten)]
    output: OutputArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Command::Check(args) => run_check(args),
        Command::Explain(args) => run_explain(args),
        Command::Diff(args) => run_diff(args),
        Command::Render(args) => run_render(args),
        Command::Schema => run_schema(),
        Command::Completion { shell } => run_completion(*shell),
        Command::Man { folder } => run_man(folder),
    };
    match outcome {
        Ok(code) => code,
        // The reader of the output has closed it, such as `head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_check(args: &CheckArgs) -> std::io::Result<ExitCode> {
    let inputs = args.input.files.expand();
    let checked = check::check(&inputs, &args.input.defaults());
    let succeeds = args.output.write(&mut anstream::stdout().lock(), checked, inputs.len())?;
    Ok(if succeeds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The plugin document of files, compiled for the filters that it needs and for `other`; none if
/// they have errors, or not exactly one document. Of several namespaces, `namespace` chooses one.
fn read_one(
    inputs: &[Input],
    defaults: &Defaults,
    other: Option<Filter>,
    metadata: &dyn NodeMetadata,
) -> std::io::Result<Option<(Bundle, Compiled<'static>)>> {
    let mut texts = Texts::default();
    let collected = check::read(inputs, defaults, &mut texts);
    let Collected { mut bundles, mut findings, notices, .. } = collected;
    let namespace = defaults.namespace.as_deref();
    let names = |bundles: &[Bundle]| {
        let names: Vec<_> = bundles.iter().filter_map(Bundle::namespace).collect();
        names.join(", ")
    };
    let is_chosen = |bundle: &Bundle| bundle.namespace() == namespace;
    let mut err = anstream::stderr().lock();
    notices.iter().try_for_each(|notice| writeln!(err, "{notice}"))?;
    if namespace.is_some() && bundles.len() > 1 && bundles.iter().any(is_chosen) {
        let (chosen, others): (_, Vec<_>) = bundles.into_iter().partition(is_chosen);
        bundles = chosen;
        writeln!(err, "sluice: --namespace leaves out the objects of {}", names(&others))?;
    }
    let namespaces = names(&bundles);
    let distinct: HashSet<_> = bundles.iter().filter_map(Bundle::namespace).collect();
    let have_namespaces = distinct.len() == bundles.len();
    let is_repeated = |finding: &Finding| finding.kind == Kind::Repeated;
    findings.retain(|finding| finding.severity() == Severity::Error || is_repeated(finding));
    if other == Some(Filter::Router) && bundles.iter().any(Bundle::has_http_routes) {
        // A file may also have documents without HTTP routes, for other filters.
        bundles.retain(Bundle::has_http_routes);
    }
    let other = other.filter(|_| bundles.len() == 1);
    let mut documents = Vec::new();
    for bundle in bundles {
        let other = other.filter(|_| bundle.has_http_routes() || !has_own_filters(&bundle));
        match check::compile_for(&bundle, other, metadata) {
            Ok(compiled) => {
                let compiled = compiled.into_owned();
                documents.push((bundle, compiled));
            }
            Err(errors) => findings.extend(errors),
        }
    }
    if std::io::stderr().is_terminal() {
        write_full(&mut err, &findings, &texts)?;
    } else {
        findings.iter().try_for_each(|finding| writeln!(err, "{finding}"))?;
    }
    if findings.iter().any(is_repeated) {
        writeln!(err, "sluice: several objects have the same name; give only one of them")?;
    }
    if !findings.is_empty() {
        return Ok(None);
    }
    let document = documents.pop();
    if !documents.is_empty() && have_namespaces {
        writeln!(
            err,
            "sluice: the objects are of several namespaces, each of which makes a plugin document: \
             {namespaces}; choose one with --namespace"
        )?;
        return Ok(None);
    }
    if !documents.is_empty() {
        writeln!(
            err,
            "sluice: the files make several plugin documents; give the files of one document"
        )?;
        return Ok(None);
    }
    if document.is_none() {
        writeln!(
            err,
            "sluice: no file has a plugin document, VirtualService, DestinationRule or ServiceEntry"
        )?;
    }
    Ok(document)
}

/// Returns whether a document has rules for filters that need no routes for HTTP.
fn has_own_filters(bundle: &Bundle) -> bool {
    let needed = filters::needed(&bundle.document);
    needed.iter().any(|filter| matches!(filter, Filter::Egress | Filter::Sni))
}

/// Reports arguments that are wrong.
fn refuse_usage(reason: &str) -> std::io::Result<ExitCode> {
    writeln!(anstream::stderr().lock(), "sluice: {reason}")?;
    Ok(ExitCode::from(2))
}

fn run_explain(args: &ExplainArgs) -> std::io::Result<ExitCode> {
    let defaults = Defaults { attaches_routes: true, ..args.input.defaults() };
    // Explanations are about routes, unless the document has none.
    let inputs = args.input.files.expand();
    let Some((bundle, compiled)) = read_one(&inputs, &defaults, Some(Filter::Router), args)? else {
        return Ok(ExitCode::FAILURE);
    };
    if let Some(header) = &args.from_header {
        return match (Explained::read(header), args.format) {
            (Ok(explained), Format::Json) => print(&explained.to_json()),
            (Ok(explained), Format::Text) => print(&explained.to_text(&bundle)),
            (Err(reason), _) => refuse_usage(&reason),
        };
    }
    let client = match args.client(&bundle.document) {
        Ok(client) => client,
        Err(reason) => return refuse_usage(&reason),
    };
    let explainer = Explainer::new(&compiled.document);
    // 32 bits are short enough to type, and exact in every JSON reader.
    let seed = args.seed.unwrap_or_else(|| fastrand::u32(..).into());
    let (document, detail) = (&compiled.document, Detail::Rules);
    let explanation = Explanation::new(&bundle, document, &explainer, &client, seed, detail);
    let text = match args.format {
        Format::Json => explanation.to_json(),
        Format::Text => explanation.to_text(args.seed.is_some()),
    };
    print(&text)
}

/// Prints the result of a command.
fn print(text: &str) -> std::io::Result<ExitCode> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Lines without a request that are shown.
const SHOWN_SKIPPED: usize = 3;

fn run_diff(args: &DiffArgs) -> std::io::Result<ExitCode> {
    let defaults = Defaults { attaches_routes: true, ..args.defaults.read() };
    let mut sides = Vec::new();
    for inputs in args.inputs() {
        match read_one(&inputs, &defaults, Some(Filter::Router), &NoMetadata)? {
            Some((bundle, compiled)) => sides.push(Side { bundle, compiled }),
            None => return Ok(ExitCode::FAILURE),
        }
    }
    let [old, new] = &sides[..] else { return Ok(ExitCode::FAILURE) };
    let Compared { text, skipped } = match args.compare(old, new) {
        Ok(compared) => compared,
        Err(reason) => return refuse_usage(&reason),
    };
    let mut err = anstream::stderr().lock();
    skipped.iter().take(SHOWN_SKIPPED).try_for_each(|line| writeln!(err, "{line}"))?;
    if !skipped.is_empty() {
        writeln!(err, "sluice: {} lines without a request are left out", skipped.len())?;
    }
    print(&text)
}

fn run_render(args: &RenderArgs) -> std::io::Result<ExitCode> {
    let mut defaults = args.input.defaults();
    if args.to == To::Envoy && defaults.cluster_name.is_none() {
        defaults.cluster_name = Some(render::CLUSTER_NAME.to_owned());
    }
    defaults.routes_services = args.to == To::Envoy;
    defaults.attaches_routes = true;
    let inputs = args.input.files.expand();
    let Some((bundle, compiled)) = read_one(&inputs, &defaults, None, &NoMetadata)? else {
        return Ok(ExitCode::FAILURE);
    };
    match render::render(&bundle, &compiled, args) {
        Ok(Rendered { text, mut left_out }) => {
            check::sort(&mut left_out, &inputs);
            let mut err = anstream::stderr().lock();
            for finding in &left_out {
                writeln!(err, "{}", finding.labelled("left out"))?;
            }
            if !left_out.is_empty() && !args.allow_partial {
                writeln!(
                    err,
                    "sluice: nothing is written, because it would leave out these values; \
                     --allow-partial writes the rest"
                )?;
                return Ok(ExitCode::FAILURE);
            }
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ RenderError::Usage(_)) => refuse_usage(&error.to_string()),
        Err(error @ RenderError::Document(_)) => {
            writeln!(anstream::stderr().lock(), "{error}")?;
            Ok(ExitCode::FAILURE)
        }
        Err(error @ RenderError::Template(_)) => {
            writeln!(anstream::stderr().lock(), "sluice: {error}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn run_completion(shell: Shell) -> std::io::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sluice", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn run_man(folder: &Path) -> std::io::Result<ExitCode> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)?;
    Ok(ExitCode::SUCCESS)
}

fn run_schema() -> std::io::Result<ExitCode> {
    std::io::stdout().lock().write_all(schema::text().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
