//! `sluice`: what the filters do, at a desk: checks configuration, explains decisions, renders what Envoy and
//! Istio take, and prints the schema. It runs the same policy code as the filters.

mod bundle;
mod check;
mod filters;
mod finding;
mod source;
mod tree;
mod yaml;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use bundle::Defaults;
use finding::{Severity, count};

/// Istio's traffic management for any Envoy, at a desk.
///
/// Files are plugin documents, Istio objects, or configuration of Envoy or Istio with Sluice's filters in
/// it, in YAML or JSON; - is standard input. The exit status is 0, 1 when there is an error in a file, or 2 when
/// the command is not understood.
#[derive(Parser)]
#[command(name = "sluice", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find errors, and rules that have no effect
    Check(CheckArgs),
}

/// What holds for objects that do not say it.
#[derive(Args)]
struct InputArgs {
    /// The namespace of objects without one; it completes short host names
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// How clusters are called where no document has clusterName, such as '{host}[-{subset}]'
    #[arg(long, value_name = "PATTERN")]
    cluster_name: Option<String>,
}

impl InputArgs {
    fn defaults(&self) -> Defaults {
        Defaults { namespace: self.namespace.clone(), cluster_name: self.cluster_name.clone() }
    }
}

#[derive(Args)]
struct CheckArgs {
    /// Files to check, - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    input: InputArgs,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// FILE:LINE: SEVERITY: OBJECT: PATH: REASON, and a sum
    Text,
    /// One JSON document
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Command::Check(args) => run_check(args),
    };
    match outcome {
        Ok(code) => code,
        // Whoever reads the output has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_check(args: &CheckArgs) -> std::io::Result<ExitCode> {
    let findings = check::check(&args.files, &args.input.defaults());
    let mut out = anstream::stdout().lock();
    let [errors, warnings] = [Severity::Error, Severity::Warning].map(|s| count(&findings, s));
    if args.format == Format::Json {
        out.write_all(finding::to_json(&findings).as_bytes())?;
    } else {
        for finding in &findings {
            writeln!(out, "{finding}")?;
        }
        let files = args.files.len();
        let plural = |number: usize, noun: &str| {
            format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
        };
        let sum = [plural(files, "file"), plural(errors, "error"), plural(warnings, "warning")];
        writeln!(out, "{}", sum.join(", "))?;
    }
    out.flush()?;
    Ok(if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
