//! An explanation as JSON.

use serde_json::{Value, json};
use sluice_policy::egress::Decision;
use sluice_policy::router::decision::Outcome;
use sluice_policy::router::shadow::Difference;
use sluice_policy::spec::fault::AbortStatus;
use sluice_policy::spec::outlier::Enforcement;
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};

use super::explanation::{Explanation, FaultOutcome, Routed};
use super::others::{EgressOutcome, OutlierOutcome, SniOutcome};
use super::request::lossy;

impl Explanation<'_> {
    /// The explanation as one JSON document. What does not happen is `null`.
    pub fn to_json(&self) -> String {
        let tried = self.trace.tried.iter().map(|tried| {
            let conditions = tried.conditions.iter().map(|condition| {
                json!({
                    "field": condition.field,
                    "wanted": condition.wanted,
                    "found": condition.found,
                    "holds": condition.holds,
                })
            });
            json!({
                "place": self.json_place(&tried.place.to_string()),
                "conditions": conditions.collect::<Value>(),
                "fits": tried.fits,
            })
        });
        let document = json!({
            "request": {
                "method": self.method,
                "url": self.url,
                "pathBeforeNormalization": self.sent_path,
            },
            "connection": self.connection.as_ref().map(|own| self.json_sni(own)),
            "sni": self.agreement.as_ref().map(|own| self.json_sni(own)),
            "egress": self.egress.as_ref().map(|own| self.json_egress(own)),
            "outlier": self.outlier.as_ref().map(json_outlier),
            "seed": self.seed,
            "hasVirtualHost": self.trace.has_virtual_host,
            "rules": tried.collect::<Value>(),
            "leftOut": self.left_out.iter().map(|path| self.json_place(path)).collect::<Value>(),
            "fault": self.fault.as_ref().map(json_fault),
            "mirror": self.routed.as_ref().map(json_mirror),
            "router": self.routed.as_ref().map(|routed| self.json_router(routed)),
        });
        format!("{document:#}\n")
    }

    fn json_place(&self, path: &str) -> Value {
        self.place(path).to_json()
    }

    fn json_sni(&self, own: &SniOutcome) -> Value {
        json!({
            "outcome": own.outcome.name(),
            "isRefused": own.is_refused,
            "cluster": own.cluster,
            "route": own.route.as_deref().map(|path| self.json_place(path)),
        })
    }

    fn json_egress(&self, own: &EgressOutcome) -> Value {
        let entry = match own.decision {
            Decision::Known { entry } => entry,
            Decision::Passthrough | Decision::Refused(_) => None,
        };
        json!({
            "reason": own.reason(),
            "isRefused": own.is_refused,
            "httpStatus": own.is_refused.then_some(own.status),
            "serviceEntry": entry.map(|entry| self.json_place(&format!("serviceEntries[{entry}]"))),
        })
    }

    fn json_router(&self, routed: &Routed<'_>) -> Value {
        let decision = &routed.decision;
        let is_shared = matches!(decision.outcome, Outcome::Forwarded | Outcome::NoBackend);
        let shares = self.trace.shares.iter().filter(|_| is_shared);
        let shares = shares.map(|(weight, cluster)| json!({"cluster": cluster, "weight": weight}));
        let reply = decision.reply.as_ref().map(|reply| {
            let headers = reply.headers.iter();
            let headers = headers.map(|(name, value)| json!({"name": name, "value": lossy(value)}));
            json!({
                "status": reply.status,
                "headers": headers.collect::<Value>(),
                "body": lossy(reply.body),
            })
        });
        let request = decision.edits().filter(|_| reply.is_none()).map(|own| edit(&own));
        let response = decision.response.as_ref();
        let response = response.map(|plan| plan.edits().map(|own| edit(&own)).collect::<Value>());
        json!({
            "outcome": decision.outcome.name(),
            "isShadow": routed.is_shadow,
            "route": self.trace.route().map(|place| self.json_place(&place.to_string())),
            "shares": shares.collect::<Value>(),
            "drawn": routed.drawn,
            "reply": reply,
            "request": request.collect::<Value>(),
            "response": response.unwrap_or_else(|| json!([])),
            "shadow": routed.shadow.as_ref().map(|own| json!({
                "outcome": own.decision.outcome.name(),
                "route": own.decision.note,
                "cluster": own.decision.cluster(),
                "difference": own.difference.map(Difference::name),
            })),
        })
    }
}

fn json_fault(fault: &FaultOutcome) -> Value {
    let FaultOutcome { plan, abort, is_limited, is_over, is_shadow, rule, .. } = fault;
    let [http, grpc] = match *abort {
        Some(AbortStatus::Http(status)) => [Some(status), None],
        Some(AbortStatus::Grpc(status)) => [None, Some(u16::from(status))],
        None => [None, None],
    };
    // An aborted request has no response from upstream.
    let of_response = |value: Option<u64>| value.filter(|_| abort.is_none());
    json!({
        "delaySeconds": plan.delay.map(|delay| delay.as_secs_f64()),
        "httpStatus": http,
        "grpcStatus": grpc,
        "resetAfterBytes": of_response(plan.reset_after),
        "bytesPerSecond": of_response(plan.bytes_per_second),
        "isLimited": is_limited,
        "isOver": is_over,
        "isShadow": is_shadow,
        "rule": rule,
    })
}

fn json_outlier(own: &OutlierOutcome) -> Value {
    let settings = &own.target.settings;
    json!({
        "cluster": own.cluster,
        "enforcedBy": match settings.enforcement {
            Enforcement::Envoy => "envoy",
            Enforcement::Filter => "filter",
        },
        "isShadow": settings.mode.is_shadow(),
        "failureRule": own.rule,
        "fallback": own.target.fallback,
    })
}

fn json_mirror(routed: &Routed<'_>) -> Value {
    let plan = &routed.copies;
    json!({
        "copies": plan.copies.iter().map(|copy| copy.cluster().to_string()).collect::<Value>(),
        "notSampled": plan.not_sampled,
        "notEligible": plan.not_eligible,
        "hasBudget": routed.has_budget,
        "isShadow": routed.copies_in_shadow,
    })
}

fn edit(edit: &HeaderEdit<'_>) -> Value {
    match edit.operation {
        HeaderOperation::Add => json!({"add": edit.name, "value": lossy(&edit.value)}),
        HeaderOperation::Remove => json!({"remove": edit.name}),
        HeaderOperation::Set => json!({"set": edit.name, "value": lossy(&edit.value)}),
    }
}
