//! The output of `sluice check`: findings in a format for people or programs, and the exit status.

use std::io::{IsTerminal as _, Result, Write};

use clap::{Args, ValueEnum};

use crate::check::Checked;
use crate::finding::{Finding, Severity, count, github, sarif, to_json};
use crate::snippet;
use crate::source::Texts;

/// Arguments for the output of findings.
#[derive(Args)]
pub struct OutputArgs {
    /// The format of findings [default: full on a terminal, else text]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Print errors and warnings only: no notes and no counts
    #[arg(short, long)]
    quiet: bool,
    /// The severity from which on the exit status is 1
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = FailOn::Error)]
    fail_on: FailOn,
}

/// The format of findings.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line for each finding
    Text,
    /// The same, with the line of the file
    Full,
    /// One JSON document, for programs
    Json,
    /// SARIF 2.1.0, for code scanning and editors
    Sarif,
    /// Annotations of GitHub Actions
    Github,
}

/// The severity from which on the command fails.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Errors and warnings
    Warning,
    /// Errors
    Error,
}

impl OutputArgs {
    /// Writes what was found in a number of files. Returns whether the command succeeds.
    pub fn write(&self, out: &mut impl Write, checked: Checked, files: usize) -> Result<bool> {
        let Checked { mut findings, skipped, texts } = checked;
        if self.quiet {
            findings.retain(|finding| finding.severity() != Severity::Note);
        }
        let is_terminal = || std::io::stdout().is_terminal();
        let format = self.format.unwrap_or_else(|| match is_terminal() {
            true => Format::Full,
            false => Format::Text,
        });
        let [errors, warnings] =
            [Severity::Error, Severity::Warning].map(|severity| count(&findings, severity));
        match format {
            Format::Text => findings.iter().try_for_each(|finding| writeln!(out, "{finding}"))?,
            Format::Full => write_full(out, &findings, &texts)?,
            Format::Json => out.write_all(to_json(&findings, &skipped).as_bytes())?,
            Format::Sarif => out.write_all(sarif::log(&findings).as_bytes())?,
            Format::Github => findings
                .iter()
                .try_for_each(|finding| writeln!(out, "{}", github::annotation(finding)))?,
        }
        if !self.quiet && !matches!(format, Format::Json | Format::Sarif) {
            if !skipped.is_empty() {
                let objects = plural(skipped.values().sum(), "object");
                let kinds = skipped.iter().map(|(kind, number)| format!("{number} {kind}"));
                let kinds = kinds.collect::<Vec<_>>().join(", ");
                writeln!(out, "skipped {objects} of other kinds: {kinds}")?;
            }
            let counts = [(files, "file"), (errors, "error"), (warnings, "warning")];
            let counts = counts.map(|(number, noun)| plural(number, noun));
            writeln!(out, "{}", counts.join(", "))?;
        }
        out.flush()?;
        Ok(errors == 0 && (warnings == 0 || self.fail_on == FailOn::Error))
    }
}

/// Writes findings, each with its line of source.
pub fn write_full(
    out: &mut (impl Write + ?Sized),
    findings: &[Finding],
    texts: &Texts,
) -> Result<()> {
    findings
        .iter()
        .try_for_each(|finding| write!(out, "{finding}\n{}", snippet::render(finding, texts)))
}

/// A number with its noun.
fn plural(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
