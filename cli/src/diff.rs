//! `sluice diff`: what a change of the rules does to requests that were logged.

mod report;
mod requests;

use std::time::SystemTime;

use clap::Args;

use crate::arguments::{DefaultArgs, Format, read_pair};
use crate::bundle::Bundle;
use crate::check::Compiled;
use crate::explain::{Client, Detail, Effect, Explanation, Logged};
use crate::inputs::Input;
use report::Report;
use sluice_policy::desk::explain::Explainer;

/// Arguments of `sluice diff`.
#[derive(Args)]
pub struct DiffArgs {
    /// The rules that are in use: a file, or a folder with its subfolders
    old: String,
    /// The changed rules: a file, or a folder with its subfolders
    new: String,
    /// A file with requests: an access log of Envoy (JSON, or its default text or Istio's), or a
    /// HAR file; - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE", required = true)]
    requests: Vec<String>,
    /// A field of a JSON log that has a header of the request; may be repeated
    #[arg(long = "log-header", value_name = "FIELD=HEADER", value_parser = read_pair)]
    log_headers: Vec<(String, String)>,
    #[command(flatten)]
    pub defaults: DefaultArgs,
    /// How many requests to show for each difference
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    examples: usize,
    /// The seed of random choices, which are the same for the old and the new rules
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// The format of the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// One of the two policies.
pub struct Side {
    /// Its document, with the places of its parts in files
    pub bundle: Bundle,
    /// The same, compiled
    pub compiled: Compiled<'static>,
}

/// The outcome of a comparison.
pub struct Compared {
    /// The report
    pub text: String,
    /// Lines without a request, with the reasons
    pub skipped: Vec<String>,
}

impl DiffArgs {
    /// The files of the old and the new rules.
    pub fn inputs(&self) -> [Vec<Input>; 2] {
        [&self.old, &self.new].map(|path| Input::all_of(path))
    }

    /// Compares what both policies do with the requests.
    ///
    /// # Errors
    /// A file of requests cannot be read, or no file has a request.
    pub fn compare(&self, old: &Side, new: &Side) -> Result<Compared, String> {
        let explainers = [old, new].map(|side| Explainer::new(&side.compiled.document));
        let [of_old, of_new] = &explainers;
        let (mut report, mut skipped) = (Report::new(self.examples), Vec::new());
        let mut seeds = fastrand::Rng::with_seed(self.seed);
        for file in &self.requests {
            let text = read(file)?;
            for found in requests::read(&text, &self.log_headers) {
                let place = format!("{file}:{}", found.number);
                let logged = match found.request {
                    Ok(logged) => logged,
                    Err(reason) => {
                        skipped.push(format!("{place}: {reason}"));
                        continue;
                    }
                };
                let shown = shown(&logged);
                let client = Client::from(logged);
                let seed = seeds.u64(..);
                let [before, after] = [(old, of_old), (new, of_new)]
                    .map(|(side, explainer)| effect(side, explainer, &client, seed));
                report.add(before, after, || format!("{place}: {shown}"));
            }
        }
        if report.is_empty() {
            let first = skipped.first().map(|first| format!("; {first}")).unwrap_or_default();
            return Err(format!("--requests: no file has a request{first}"));
        }
        let text = match self.format {
            Format::Text => report.to_text(),
            Format::Json => report.to_json(),
        };
        Ok(Compared { text, skipped })
    }
}

fn effect(side: &Side, explainer: &Explainer, client: &Client, seed: u64) -> Effect {
    let Side { bundle, compiled } = side;
    let document = &compiled.document;
    let (detail, now) = (Detail::Decisions, SystemTime::now());
    Explanation::new(bundle, document, explainer, client, seed, detail, now).effect()
}

fn shown(logged: &Logged) -> String {
    format!("{} {}://{}{}", logged.method, logged.scheme, logged.authority, logged.path)
}

fn read(file: &str) -> Result<String, String> {
    let bytes = match file {
        "-" => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes).map(|_| bytes)
        }
        _ => std::fs::read(file),
    };
    let bytes = bytes.map_err(|error| format!("--requests: {file:?} cannot be read: {error}"))?;
    // Clients send bytes that are no UTF-8, and Envoy logs them.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
