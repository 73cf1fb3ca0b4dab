//! Logs the findings of a document.

use log::Level;
use sluice_policy::document::report::{Finding, Kind};

/// Maximum number of findings of a document that are logged.
const MAX_SHOWN: usize = 50;

/// Logs findings, of which there may be any number: only the first ones.
#[cold]
#[inline(never)]
pub fn log(findings: &[Finding], noun: &str) {
    let (shown, others) = findings.split_at(findings.len().min(MAX_SHOWN));
    shown.iter().for_each(|finding| log::log!(level(finding.kind), "{finding}"));
    if let Some(other) = others.first() {
        log::log!(level(other.kind), "and {} more {noun}, sluice check shows all", others.len());
    }
}

/// What another filter carries out, or what is inferred, is in use, so it is no reason for a
/// warning.
fn level(kind: Kind) -> Level {
    match kind {
        Kind::Error => Level::Error,
        Kind::Inferred | Kind::LeftToFilter(_) => Level::Info,
        _ => Level::Warn,
    }
}
