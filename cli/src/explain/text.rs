//! An explanation as text, with colours that the caller removes for pipes.

use std::fmt::{Arguments, Write as _};

use clap::builder::styling::{AnsiColor, Color, Style};
use sluice_policy::desk::explain::Tried;
use sluice_policy::egress;
use sluice_policy::router::decision::Outcome;
use sluice_policy::router::shadow::{Difference, ShadowDecision};
use sluice_policy::spec::fault::AbortStatus;
use sluice_policy::spec::outlier::Enforcement;
use sluice_policy::spec::outlier_detection::Consecutive;
use sluice_policy::value::grpc_status::GRPC_STATUS_NAMES;
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};

use super::explanation::{Explanation, FaultOutcome, Routed};
use super::others::{EgressOutcome, OutlierOutcome, SniOutcome};

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const GOOD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
pub(super) const BAD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));

impl Explanation<'_> {
    /// The explanation as lines of text. A seed that the user did not give is shown.
    pub fn to_text(&self, is_seed_given: bool) -> String {
        let mut text = String::new();
        line(&mut text, format_args!("{BOLD}request{BOLD:#}  {} {}", self.method, self.url));
        if let Some(sent) = self.sent_path {
            line(
                &mut text,
                format_args!(
                    "  Envoy has normalized the path {sent} (normalize_path, as in Istio)"
                ),
            );
        }
        self.connection.iter().for_each(|own| self.connection(&mut text, own));
        self.agreement.iter().for_each(|own| agreement(&mut text, own));
        self.egress.iter().for_each(|own| self.egress(&mut text, own));
        if self.has_rules {
            self.filters(&mut text);
        }
        self.outlier.iter().for_each(|own| outlier(&mut text, own));
        if self.is_random && !is_seed_given {
            line(&mut text, format_args!("repeat these random choices with --seed {}", self.seed));
        }
        text
    }

    /// The decisions by the rules for HTTP.
    fn filters(&self, text: &mut String) {
        let Some(fault) = &self.fault else {
            return line(text, format_args!("the other filters do not get the request"));
        };
        self.rules(text);
        describe_fault(text, fault);
        match &self.routed {
            None => {
                line(text, format_args!("the mirror filter and the router do not get the request"))
            }
            Some(routed) => {
                mirror(text, routed);
                self.route(text, routed);
            }
        }
    }

    fn connection(&self, text: &mut String, own: &SniOutcome) {
        let by = own.route.as_deref().map(|path| format!(", by {}", self.shown_place(path)));
        let decision = match &own.cluster {
            Some(cluster) => format!("the connection goes to {cluster}{}", by.unwrap_or_default()),
            None => format!("{} the connection: {}", verb(own), own.outcome.name()),
        };
        line(text, format_args!("{BOLD}sni{BOLD:#}      unless Envoy terminates TLS, {decision}"));
    }

    fn egress(&self, text: &mut String, own: &EgressOutcome) {
        let decision = match own.decision {
            egress::Decision::Known { entry: Some(entry) } => {
                let place = self.shown_place(&format!("serviceEntries[{entry}]"));
                format!("allows the request, by {place}")
            }
            egress::Decision::Known { entry: None } => {
                "allows the request: a ServiceEntry has the address".to_owned()
            }
            egress::Decision::Passthrough => {
                "allows the request: no ServiceEntry has it, and the mode is ALLOW_ANY".to_owned()
            }
            egress::Decision::Refused(reason) if !own.is_refused => {
                format!("only reports the request: {}", reason.name())
            }
            egress::Decision::Refused(reason) => {
                format!("answers {}: {}", own.status, reason.name())
            }
        };
        line(text, format_args!("{BOLD}egress{BOLD:#}   {decision}"));
        let is_about_address = matches!(
            own.decision,
            egress::Decision::Refused(
                egress::Reason::AddressMismatch | egress::Reason::UnknownAddress
            )
        );
        if is_about_address && !own.knows_address {
            line(
                text,
                format_args!(
                    "  the address that the client connected to is not known; use \
                              --destination-address"
                ),
            );
        }
    }

    fn rules(&self, text: &mut String) {
        if self.trace.has_virtual_host {
            line(text, format_args!("{BOLD}rules{BOLD:#}"));
        } else {
            let host = &self.host;
            let port = if self.trace.tried.is_empty() { "" } else { " and a rule for its port" };
            line(
                text,
                format_args!(
                    "{BOLD}rules{BOLD:#}    no virtual service has the host {host:?}{port}"
                ),
            );
        }
        for Tried { place, conditions, fits } in &self.trace.tried {
            let (style, mark) = if *fits { (GOOD, "matches") } else { (BAD, "does not match") };
            line(
                text,
                format_args!("  {} {style}{mark}{style:#}", self.shown_place(&place.to_string())),
            );
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
            line(text, format_args!("  none of {} matches", self.trace.tried.len()));
        }
        for path in &self.left_out {
            let place = self.shown_place(path);
            line(
                text,
                format_args!(
                    "  {place} is ignored: its gateways, labels, namespace or port exclude the proxy"
                ),
            );
        }
    }

    fn route(&self, text: &mut String, routed: &Routed<'_>) {
        let decision = &routed.decision;
        let outcome = describe_outcome(decision.outcome);
        let by = self.trace.route();
        let by = by.map_or(String::new(), |place| {
            format!(", by {}", self.shown_place(&place.to_string()))
        });
        line(text, format_args!("{BOLD}router{BOLD:#}   {outcome}{by}"));
        if routed.is_shadow {
            let reason = "only counted, because router.mode is shadow: Envoy's own routes apply";
            line(text, format_args!("  {reason}"));
        }
        let shares = &self.trace.shares;
        let is_shared = matches!(decision.outcome, Outcome::Forwarded | Outcome::NoBackend);
        if is_shared && shares.len() > 1 {
            let total: u64 = shares.iter().map(|(weight, _)| u64::from(*weight)).sum();
            let shares = shares.iter().map(|(weight, cluster)| format!("{cluster} {weight}"));
            let shares = shares.collect::<Vec<_>>().join(", ");
            let how = match routed.drawn {
                Some(drawn) => format!("random number {drawn} of {total}"),
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
        if let Some(shadow) = &routed.shadow {
            self.shadow(text, shadow);
        }
    }

    /// The decision of the second policy, which is not carried out.
    fn shadow(&self, text: &mut String, own: &ShadowDecision<'_>) {
        let decision = &own.decision;
        let difference = match own.difference {
            None => "the same",
            Some(Difference::Outcome) => "another outcome",
            Some(Difference::Reply) => "another answer",
            Some(Difference::Cluster) => "another cluster",
            Some(Difference::Request) => "other changes to the request",
            Some(Difference::Response) => "other changes to the response",
        };
        let to = decision.cluster().map(|cluster| format!(" to {cluster}")).unwrap_or_default();
        let has_rule = !matches!(
            decision.outcome,
            Outcome::NoRoute | Outcome::NoVirtualHost | Outcome::Passed
        );
        let by = has_rule.then(|| format!(", by {}", self.named(decision.note)));
        let (outcome, by) = (describe_outcome(decision.outcome), by.unwrap_or_default());
        line(text, format_args!("{BOLD}shadow{BOLD:#}   {difference}: {outcome}{to}{by}"));
    }
}

fn describe_outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Forwarded => "forwards",
        Outcome::NoBackend => "answers: no valid backend",
        Outcome::NoRoute => "answers: no route",
        Outcome::NoVirtualHost => "answers: no virtual service has the host",
        Outcome::Passed => "leaves it to Envoy's own routes: no virtual service has the host",
        Outcome::Preflight => "answers the CORS preflight",
        Outcome::Redirected => "redirects",
        Outcome::Responded => "answers with the fixed response",
    }
}

fn line(text: &mut String, arguments: Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{arguments}");
}

fn describe_fault(text: &mut String, fault: &FaultOutcome) {
    let FaultOutcome { plan, abort, is_drawn, is_limited, is_over, is_shadow, rule } = fault;
    if *is_over {
        line(text, format_args!("{BOLD}fault{BOLD:#}    none, because faults.notAfter has passed"));
    }
    let mut effects = Vec::new();
    effects.extend(plan.delay.map(|delay| format!("delays the request by {delay:?}")));
    effects.extend(abort.map(|status| match status {
        AbortStatus::Http(status) => format!("aborts the request with HTTP {status}"),
        AbortStatus::Grpc(status) => {
            let name = GRPC_STATUS_NAMES.get(usize::from(status)).unwrap_or(&"");
            format!("aborts the request with gRPC {status} {name}")
        }
    }));
    if abort.is_none() {
        let reset = plan.reset_after;
        effects.extend(reset.map(|bytes| format!("ends the response after {bytes} bytes")));
        let rate = plan.bytes_per_second;
        effects.extend(rate.map(|rate| format!("slows the response to {rate} bytes per second")));
    }
    if effects.is_empty() {
        // Without a draw there was no fault that could have happened.
        if *is_drawn {
            line(text, format_args!("{BOLD}fault{BOLD:#}    none, by random choice"));
        }
    } else {
        let by = rule.as_ref().map(|rule| format!(", by {rule}")).unwrap_or_default();
        line(text, format_args!("{BOLD}fault{BOLD:#}    {}{by}", effects.join(", ")));
        if *is_shadow {
            line(text, format_args!("  only counted, because faults.mode is shadow"));
        }
        if *is_limited {
            line(
                text,
                format_args!(
                    "  limits on faults are not applied, as they depend on other requests"
                ),
            );
        }
    }
}

/// The decision about the server name of a connection and the host of a request in it.
fn agreement(text: &mut String, own: &SniOutcome) {
    let (verb, name) = (verb(own), own.outcome.name());
    line(text, format_args!("{BOLD}sni{BOLD:#}      {verb} the request: {name}"));
}

fn verb(own: &SniOutcome) -> &'static str {
    match (own.is_refused, own.outcome.is_violation()) {
        (true, _) => "refuses",
        (false, true) => "only reports",
        (false, false) => "allows",
    }
}

fn outlier(text: &mut String, own: &OutlierOutcome) {
    let OutlierOutcome { cluster, target, rule } = own;
    let settings = &target.settings;
    let by = match settings.enforcement {
        Enforcement::Envoy => "Envoy",
        Enforcement::Filter => "the filter",
    };
    line(text, format_args!("{BOLD}outlier{BOLD:#}  {by} ejects failing hosts of {cluster}"));
    if settings.mode.is_shadow() {
        return line(text, format_args!("  only counted, because outlier.mode is shadow"));
    }
    let enforced = |own: &Consecutive| own.threshold > 0 && own.enforcing > 0;
    let local = Some(&settings.consecutive_local_origin_failure);
    for (detector, failures) in [
        (Some(&settings.consecutive_5xx), "failures"),
        (Some(&settings.consecutive_gateway_failure), "gateway errors"),
        (local.filter(|_| settings.splits_local_origin), "failed connections"),
    ] {
        if let Some(own) = detector.filter(|own| enforced(own)) {
            let time = settings.ejection_time(1);
            line(text, format_args!("  after {} {failures} in a row, for {time:?}", own.threshold));
        }
    }
    if settings.has_rates() {
        line(text, format_args!("  by its rate of failures, every {:?}", settings.interval));
    }
    if let Some(rule) = rule {
        line(text, format_args!("  what is a failure of this request: failure.rules[{rule}]"));
    }
    if let Some(fallback) = &target.fallback {
        line(text, format_args!("  while all hosts are ejected: {fallback}"));
    }
}

fn mirror(text: &mut String, routed: &Routed<'_>) {
    let plan = &routed.copies;
    for copy in &plan.copies {
        line(text, format_args!("{BOLD}mirror{BOLD:#}   a copy goes to {}", copy.cluster()));
    }
    if routed.copies_in_shadow && !plan.copies.is_empty() {
        line(text, format_args!("  only counted, because mirroring.mode is shadow"));
    }
    if routed.has_budget && !plan.copies.is_empty() {
        line(
            text,
            format_args!("  the mirroring budget is not applied, as it depends on other requests"),
        );
    }
    for (number, reason) in
        [(plan.not_sampled, "random choice"), (plan.not_eligible, "conditions of mirroring")]
    {
        if number > 0 {
            line(text, format_args!("{BOLD}mirror{BOLD:#}   {number} without a copy: {reason}"));
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
