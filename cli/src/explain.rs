//! `sluice explain`: what the filters do with a request and why, rule by rule.

mod request;

use std::fmt::Write as _;
use std::time::SystemTime;

use clap::builder::styling::{AnsiColor, Style};
use sluice_policy::decision::{Decision, Outcome};
use sluice_policy::explain::{Explainer, Trace, Tried};
use sluice_policy::fault::{AbortStatus, GRPC_STATUS_NAMES};
use sluice_policy::header::{HeaderEdit, HeaderOperation};
use sluice_policy::request::{Draws, Request};

pub use request::{Client, ExplainArgs};

use crate::bundle::Bundle;
use crate::finding::Severity;

/// Random numbers that can be had again: SplitMix64, each filter from the seed on its own, as each has
/// its own generator in a proxy.
struct Seeded {
    state: u64,
    /// Those that were asked for
    drawn: Vec<u64>,
}

impl Seeded {
    fn new(seed: u64, filter: u64) -> Self {
        Self { state: seed ^ filter.rotate_left(32), drawn: Vec::new() }
    }
}

impl Draws for Seeded {
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        self.drawn.push(mixed);
        mixed
    }
}

const BOLD: Style = Style::new().bold();
const GOOD: Style =
    Style::new().fg_color(Some(clap::builder::styling::Color::Ansi(AnsiColor::Green)));
const BAD: Style = Style::new().fg_color(Some(clap::builder::styling::Color::Ansi(AnsiColor::Red)));

/// The explanation of one request, with colours that a pipe is to be spared.
pub fn explain(bundle: &Bundle, explainer: &Explainer, client: &Client, seed: u64) -> String {
    let request = Request::new(&client.headers, client);
    let mut text = String::new();
    let show = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let (method, host) = (show(request.method), show(request.authority));
    let target = show(request.path_and_query);
    line(
        &mut text,
        format_args!("{BOLD}request{BOLD:#}  {method} {}://{host}{target}", show(request.scheme)),
    );
    let trace = explainer.trace(&request);
    rules(&mut text, bundle, &trace, &host);
    let aborted = fault(&mut text, explainer, &request, seed);
    if aborted {
        line(&mut text, format_args!("the mirror filter and the router do not see the request"));
        return text;
    }
    mirror(&mut text, explainer, &request, seed);
    let mut draws = Seeded::new(seed, 3);
    let decision = explainer.route(&request, &mut draws);
    route(&mut text, bundle, &trace, &decision, &draws);
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{arguments}");
}

fn rules(text: &mut String, bundle: &Bundle, trace: &Trace, host: &str) {
    if !trace.has_virtual_host {
        line(text, format_args!("{BOLD}rules{BOLD:#}    no virtual service has the host {host:?}"));
        return;
    }
    line(text, format_args!("{BOLD}rules{BOLD:#}"));
    for Tried { path, conditions, fits } in &trace.tried {
        let (style, mark) = if *fits { (GOOD, "fits") } else { (BAD, "does not fit") };
        line(text, format_args!("  {} {style}{mark}{style:#}", place(bundle, path)));
        for condition in conditions {
            let (style, mark) = if condition.holds { (GOOD, "yes") } else { (BAD, "no ") };
            let (field, wanted, found) = (&condition.field, &condition.wanted, &condition.found);
            let verb = if field.starts_with("withoutHeaders.") { "is not" } else { "is" };
            line(text, format_args!("    {style}{mark}{style:#} {field} {verb} {wanted}: {found}"));
        }
    }
    if trace.taken().is_none() {
        line(text, format_args!("  none of {} fits", trace.tried.len()));
    }
}

/// Where a rule stands: in its object, or in its plugin document.
fn place(bundle: &Bundle, path: &str) -> String {
    let finding = bundle.locate(Severity::Note, path, "");
    let line = if finding.line > 0 { format!(":{}", finding.line) } else { String::new() };
    let rule = match finding.object.as_str() {
        "" => path.to_owned(),
        object => format!("{object}: {}", finding.path),
    };
    format!("{}{line}: {rule}", finding.file)
}

/// Tells the fault; whether the request ends with it.
fn fault(text: &mut String, explainer: &Explainer, request: &Request<'_>, seed: u64) -> bool {
    let mut draws = Seeded::new(seed, 1);
    let plan = explainer.fault(request, SystemTime::now(), &mut draws);
    let abort = plan.draw_abort(&mut draws);
    let mut told = Vec::new();
    told.extend(plan.delay.map(|delay| format!("waits {delay:?}")));
    told.extend(abort.map(|status| match status {
        AbortStatus::Http(status) => format!("is aborted with HTTP {status}"),
        AbortStatus::Grpc(status) => {
            let name = GRPC_STATUS_NAMES.get(usize::from(status)).unwrap_or(&"");
            format!("is aborted with gRPC {status} {name}")
        }
    }));
    if abort.is_none() {
        told.extend(
            plan.reset_after.map(|bytes| format!("its response breaks off after {bytes} bytes")),
        );
        told.extend(
            plan.bytes_per_second
                .map(|rate| format!("its response passes at {rate} bytes a second")),
        );
    }
    if told.is_empty() {
        // Only where there is something that might have happened.
        if !draws.drawn.is_empty() {
            line(text, format_args!("{BOLD}fault{BOLD:#}    none, by the draw"));
        }
    } else {
        line(text, format_args!("{BOLD}fault{BOLD:#}    {}", told.join(", ")));
    }
    abort.is_some()
}

fn mirror(text: &mut String, explainer: &Explainer, request: &Request<'_>, seed: u64) {
    let plan = explainer.mirror(request, &mut Seeded::new(seed, 2));
    for mirror in &plan.copies {
        line(text, format_args!("{BOLD}mirror{BOLD:#}   a copy goes to {}", mirror.cluster));
    }
    for (number, reason) in
        [(plan.not_sampled, "by the draw"), (plan.not_eligible, "by the conditions of mirroring")]
    {
        if number > 0 {
            line(text, format_args!("{BOLD}mirror{BOLD:#}   {number} not copied to, {reason}"));
        }
    }
}

fn route(
    text: &mut String,
    bundle: &Bundle,
    trace: &Trace,
    decision: &Decision<'_>,
    draws: &Seeded,
) {
    let outcome = match decision.outcome {
        Outcome::Forwarded => "forwards",
        Outcome::NoRoute => "answers: no route",
        Outcome::NoVirtualHost => "answers: no virtual service has the host",
        Outcome::Passed => "leaves it to Envoy's own routes: no virtual service has the host",
        Outcome::Preflight => "answers the CORS preflight",
        Outcome::Redirected => "redirects",
        Outcome::Responded => "answers with the fixed response",
    };
    let by = trace.route().map_or(String::new(), |path| format!(", by {}", place(bundle, path)));
    line(text, format_args!("{BOLD}router{BOLD:#}   {outcome}{by}"));
    if decision.outcome == Outcome::Forwarded && trace.shares.len() > 1 {
        let total: u64 = trace.shares.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let shares = trace.shares.iter().map(|(weight, cluster)| format!("{cluster} {weight}"));
        let shares = shares.collect::<Vec<_>>().join(", ");
        let how = match draws.drawn.first() {
            Some(drawn) => format!("drawn {} of {total}", drawn % total.max(1)),
            None => "by the hash of the user".to_owned(),
        };
        line(text, format_args!("  one of {shares}: {how}"));
    }
    if let Some(reply) = &decision.reply {
        line(text, format_args!("  status {}", reply.status));
        for (name, value) in &reply.headers {
            line(text, format_args!("  {name}: {}", String::from_utf8_lossy(value)));
        }
    } else {
        edits(text, "request", decision.edits());
    }
    if let Some(response) = &decision.response {
        edits(text, "response", response.edits());
    }
}

fn edits<'a>(text: &mut String, message: &str, edits: impl Iterator<Item = HeaderEdit<'a>>) {
    for edit in edits {
        let value = String::from_utf8_lossy(&edit.value);
        match edit.operation {
            HeaderOperation::Add => {
                line(text, format_args!("  {message}: adds {}: {value}", edit.name))
            }
            HeaderOperation::Remove => {
                line(text, format_args!("  {message}: removes {}", edit.name))
            }
            HeaderOperation::Set => {
                line(text, format_args!("  {message}: sets {}: {value}", edit.name))
            }
        }
    }
}
