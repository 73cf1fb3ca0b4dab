//! `sluice`: checks, explains and renders Istio traffic policy, with the policy code of the filters
//! but without a proxy. It also prints the JSON Schema of the policy.
//!
//! [`run`] is the command. [`page`] checks and explains rules in memory, for a web page.

mod arguments;
mod bundle;
mod check;
mod collect;
mod columns;
mod diff;
mod document;
mod explain;
mod filters;
mod finding;
mod foreign;
mod inputs;
mod istio;
mod kinds;
mod lint;
mod output;
pub mod page;
mod render;
mod schema;
mod snippet;
mod source;
mod tree;
mod yaml;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use arguments::Format;
use bundle::Bundle;
use check::Compiled;
use collect::Defaults;
use diff::{Compared, DiffArgs, Side};
use document::read_one;
use explain::{Detail, ExplainArgs, Explained, Explanation};
use inputs::Input;
use output::OutputArgs;
use render::{RenderArgs, RenderError, Rendered, To};
use sluice_policy::desk::explain::Explainer;
use sluice_policy::document::filter::Filter;
use sluice_policy::spec::proxy::{NoMetadata, NodeMetadata};

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

/// Runs the command with the arguments of the process.
pub fn run() -> ExitCode {
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

/// The one plugin document of files, see [`read_one`]. Reports on standard error.
fn read(
    inputs: &[Input],
    defaults: &Defaults,
    other: Option<Filter>,
    metadata: &dyn NodeMetadata,
) -> std::io::Result<Option<(Bundle, Compiled<'static>)>> {
    let has_lines = std::io::stderr().is_terminal();
    read_one(inputs, defaults, other, metadata, &mut anstream::stderr().lock(), has_lines)
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
    let Some((bundle, compiled)) = read(&inputs, &defaults, Some(Filter::Router), args)? else {
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
    let now = SystemTime::now();
    let explanation = Explanation::new(&bundle, document, &explainer, &client, seed, detail, now);
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
        match read(&inputs, &defaults, Some(Filter::Router), &NoMetadata)? {
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
    let Some((bundle, compiled)) = read(&inputs, &defaults, None, &NoMetadata)? else {
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
