//! What the filters do with a request, in short texts that can be compared.

use sluice_policy::router::decision::Outcome;
use sluice_policy::spec::fault::AbortStatus;
use sluice_policy::value::header::{CLUSTER, HeaderEdit, HeaderOperation};

use super::explanation::{Explanation, Routed};
use super::request::lossy;

/// Something that a filter does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// What it is, the same for all requests of a rule
    pub label: String,
    /// What depends on the request, such as its new path
    pub value: String,
}

/// What the filters do with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Where it goes: a cluster, or the answer of a filter
    pub destination: Part,
    /// Everything else: delays, copies, edits of headers
    pub others: Vec<Part>,
    /// The rule that decided, by its place in the files or its name; empty if there was none
    pub rule: String,
}

/// Headers whose new value depends on the path of the request.
const OF_PATH: [&str; 3] = [":path", "location", "x-envoy-original-path"];

/// The destination of requests that the router leaves to Envoy.
const ENVOY: &str = "Envoy's own routes";

impl From<String> for Part {
    fn from(label: String) -> Self {
        Self { label, value: String::new() }
    }
}

impl Explanation<'_> {
    /// The effect of all filters together.
    pub fn effect(&self) -> Effect {
        let mut effect = Effect::default();
        if self.agreement.as_ref().is_some_and(|own| own.is_refused) {
            effect.destination = "421 by the sni filter".to_owned().into();
        } else if let Some(own) = self.egress.as_ref().filter(|own| own.is_refused) {
            let reason = own.reason().unwrap_or_default();
            effect.destination = format!("{} by the egress filter: {reason}", own.status).into();
        } else {
            self.add_fault(&mut effect);
            if let Some(routed) = &self.routed {
                self.add_route(routed, &mut effect);
            }
        }
        effect
    }

    fn add_fault(&self, effect: &mut Effect) {
        let Some(fault) = self.fault.as_ref().filter(|fault| !fault.is_shadow) else { return };
        effect.rule = fault.rule.as_deref().map(|rule| self.named(rule)).unwrap_or_default();
        effect.others.extend(fault.plan.delay.map(|delay| format!("delay of {delay:?}").into()));
        match fault.abort {
            Some(AbortStatus::Http(status)) => {
                effect.destination = format!("{status} by the fault filter").into();
            }
            Some(AbortStatus::Grpc(status)) => {
                effect.destination = format!("gRPC status {status} by the fault filter").into();
            }
            None => {
                let reset = fault.plan.reset_after;
                effect
                    .others
                    .extend(reset.map(|bytes| format!("reset after {bytes} bytes").into()));
                let rate = fault.plan.bytes_per_second;
                effect.others.extend(rate.map(|bytes| format!("{bytes} bytes per second").into()));
            }
        }
    }

    fn add_route(&self, routed: &Routed<'_>, effect: &mut Effect) {
        let decision = &routed.decision;
        effect.rule = self.named(decision.note);
        let mut edits = Vec::new();
        match &decision.reply {
            _ if routed.is_shadow => effect.destination = ENVOY.to_owned().into(),
            Some(reply) => {
                let what = match decision.outcome {
                    Outcome::NoBackend => "no valid backend",
                    Outcome::NoRoute => "no rule matches",
                    Outcome::NoVirtualHost => "no rules for the host",
                    Outcome::Preflight => "answer to a preflight request",
                    Outcome::Redirected => "redirect",
                    Outcome::Responded => "direct response",
                    Outcome::Forwarded | Outcome::Passed => "answer",
                };
                let location = reply.headers.iter().find(|(name, _)| *name == "location");
                effect.destination = Part {
                    label: format!("{}, {what}", reply.status),
                    value: location.map(|(_, value)| lossy(value)).unwrap_or_default(),
                };
                let headers = reply.headers.iter().filter(|(name, _)| *name != "location");
                edits.extend(
                    headers.map(|(name, value)| {
                        Part::from(format!("header {name}: {}", lossy(value)))
                    }),
                );
                if !reply.body.is_empty() {
                    edits.push(format!("body {:?}", lossy(reply.body)).into());
                }
            }
            None => {
                let mut cluster = None;
                for edit in decision.edits() {
                    match edit.name == CLUSTER {
                        true => cluster = Some(lossy(&edit.value)),
                        false => edits.push(shown("request", &edit)),
                    }
                }
                let cluster = cluster.unwrap_or_else(|| ENVOY.to_owned());
                effect.destination = cluster.into();
            }
        }
        let response = decision.response.iter().filter(|_| !routed.is_shadow);
        let response = response.flat_map(|plan| plan.edits());
        edits.extend(response.map(|edit| shown("response", &edit)));
        edits.sort_by(|left, right| left.label.cmp(&right.label));
        let copies = routed.copies.copies.iter().filter(|_| !routed.copies_in_shadow);
        effect.others.extend(copies.map(|copy| format!("copy to {}", copy.cluster()).into()));
        effect.others.append(&mut edits);
    }

    /// A rule by its place in the files, if `name` is a JSON path, else by its name.
    pub(super) fn named(&self, name: &str) -> String {
        let is_path = name.contains("].") && self.place(name).line > 0;
        if is_path { self.shown_place(name) } else { name.to_owned() }
    }
}

fn shown(what: &str, edit: &HeaderEdit<'_>) -> Part {
    let (name, value) = (&edit.name, lossy(&edit.value));
    let verb = match edit.operation {
        HeaderOperation::Add => "added",
        HeaderOperation::Remove => return format!("{what} header {name} removed").into(),
        HeaderOperation::Set => "set",
    };
    let is_of_path = OF_PATH.iter().any(|own| name.eq_ignore_ascii_case(own));
    let label = format!("{what} header {name} {verb}");
    if is_of_path { Part { label, value } } else { format!("{label}: {value}").into() }
}
