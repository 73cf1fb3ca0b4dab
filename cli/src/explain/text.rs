//! An explanation for people, with colours that a pipe is to be spared.

use std::fmt::{Arguments, Write as _};

use clap::builder::styling::{AnsiColor, Color, Style};
use sluice_policy::decision::Outcome;
use sluice_policy::explain::Tried;
use sluice_policy::fault::{AbortStatus, GRPC_STATUS_NAMES};
use sluice_policy::header::{HeaderEdit, HeaderOperation};

use super::explanation::{Explanation, FaultOutcome, Routed};

const BOLD: Style = Style::new().bold();
const GOOD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const BAD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));

impl Explanation<'_> {
    /// The explanation as lines of text. `is_seed_given` is whether the user knows the seed.
    pub fn to_text(&self, is_seed_given: bool) -> String {
        let mut text = String::new();
        line(&mut text, format_args!("{BOLD}request{BOLD:#}  {} {}", self.method, self.url));
        self.rules(&mut text);
        self.fault(&mut text);
        match &self.routed {
            None => line(
                &mut text,
                format_args!("the mirror filter and the router do not see the request"),
            ),
            Some(routed) => {
                mirror(&mut text, routed);
                self.route(&mut text, routed);
            }
        }
        if self.is_random && !is_seed_given {
            line(&mut text, format_args!("random choices as by --seed {}", self.seed));
        }
        text
    }

    fn rules(&self, text: &mut String) {
        if self.trace.has_virtual_host {
            line(text, format_args!("{BOLD}rules{BOLD:#}"));
        } else {
            let host = &self.host;
            line(
                text,
                format_args!("{BOLD}rules{BOLD:#}    no virtual service has the host {host:?}"),
            );
        }
        for Tried { path, conditions, fits } in &self.trace.tried {
            let (style, mark) = if *fits { (GOOD, "fits") } else { (BAD, "does not fit") };
            line(text, format_args!("  {} {style}{mark}{style:#}", self.shown_place(path)));
            for condition in conditions {
                let (style, mark) = if condition.holds { (GOOD, "yes") } else { (BAD, "no ") };
                let (field, wanted, found) =
                    (&condition.field, &condition.wanted, &condition.found);
                let verb = if field.starts_with("withoutHeaders.") { "is not" } else { "is" };
                line(
                    text,
                    format_args!("    {style}{mark}{style:#} {field} {verb} {wanted}: {found}"),
                );
            }
        }
        if self.trace.has_virtual_host && self.trace.taken().is_none() {
            line(text, format_args!("  none of {} fits", self.trace.tried.len()));
        }
        for path in &self.left_out {
            let place = self.shown_place(path);
            line(
                text,
                format_args!(
                    "  {place} is left out: its gateways, labels or namespace are not the proxy's"
                ),
            );
        }
    }

    fn shown_place(&self, path: &str) -> String {
        let place = self.place(path);
        let line = if place.line > 0 { format!(":{}", place.line) } else { String::new() };
        let rule = match place.object.as_str() {
            "" => path.to_owned(),
            object => format!("{object}: {}", place.path),
        };
        format!("{}{line}: {rule}", place.file)
    }

    fn fault(&self, text: &mut String) {
        let FaultOutcome { plan, abort, is_drawn, is_limited } = &self.fault;
        let mut effects = Vec::new();
        effects.extend(plan.delay.map(|delay| format!("waits {delay:?}")));
        effects.extend(abort.map(|status| match status {
            AbortStatus::Http(status) => format!("is aborted with HTTP {status}"),
            AbortStatus::Grpc(status) => {
                let name = GRPC_STATUS_NAMES.get(usize::from(status)).unwrap_or(&"");
                format!("is aborted with gRPC {status} {name}")
            }
        }));
        if abort.is_none() {
            let reset = plan.reset_after;
            effects
                .extend(reset.map(|bytes| format!("its response breaks off after {bytes} bytes")));
            let rate = plan.bytes_per_second;
            effects
                .extend(rate.map(|rate| format!("its response passes at {rate} bytes a second")));
        }
        if effects.is_empty() {
            // Only where there is something that might have happened.
            if *is_drawn {
                line(text, format_args!("{BOLD}fault{BOLD:#}    none, by the draw"));
            }
        } else {
            line(text, format_args!("{BOLD}fault{BOLD:#}    {}", effects.join(", ")));
            if *is_limited {
                line(
                    text,
                    format_args!("  before the limits of faults, which depend on other requests"),
                );
            }
        }
    }

    fn route(&self, text: &mut String, routed: &Routed<'_>) {
        let decision = &routed.decision;
        let outcome = match decision.outcome {
            Outcome::Forwarded => "forwards",
            Outcome::NoRoute => "answers: no route",
            Outcome::NoVirtualHost => "answers: no virtual service has the host",
            Outcome::Passed => "leaves it to Envoy's own routes: no virtual service has the host",
            Outcome::Preflight => "answers the CORS preflight",
            Outcome::Redirected => "redirects",
            Outcome::Responded => "answers with the fixed response",
        };
        let by = self.trace.route();
        let by = by.map_or(String::new(), |path| format!(", by {}", self.shown_place(path)));
        line(text, format_args!("{BOLD}router{BOLD:#}   {outcome}{by}"));
        let shares = &self.trace.shares;
        if decision.outcome == Outcome::Forwarded && shares.len() > 1 {
            let total: u64 = shares.iter().map(|(weight, _)| u64::from(*weight)).sum();
            let shares = shares.iter().map(|(weight, cluster)| format!("{cluster} {weight}"));
            let shares = shares.collect::<Vec<_>>().join(", ");
            let how = match routed.drawn {
                Some(drawn) => format!("drawn {drawn} of {total}"),
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
}

fn line(text: &mut String, arguments: Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{arguments}");
}

fn mirror(text: &mut String, routed: &Routed<'_>) {
    let plan = &routed.copies;
    for mirror in &plan.copies {
        line(text, format_args!("{BOLD}mirror{BOLD:#}   a copy goes to {}", mirror.cluster));
    }
    if routed.has_budget && !plan.copies.is_empty() {
        line(
            text,
            format_args!("  before the budget of mirroring, which depends on other requests"),
        );
    }
    for (number, reason) in
        [(plan.not_sampled, "by the draw"), (plan.not_eligible, "by the conditions of mirroring")]
    {
        if number > 0 {
            line(text, format_args!("{BOLD}mirror{BOLD:#}   {number} not copied to, {reason}"));
        }
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
