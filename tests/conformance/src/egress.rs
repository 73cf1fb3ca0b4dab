//! Rows about egress, and their evaluation with the policy crate.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_policy::egress::{Decision, Egress};
use sluice_policy::spec::policy::Policy;

use crate::rows::{Node, get};

/// A configuration, with the requests and connections that it allows or denies.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressCase {
    /// Identifier, unique in its file; the test name begins with it
    pub id: String,
    /// Description; the rest of the test name
    pub name: String,
    /// Source of the expected behaviour
    pub source: String,
    /// Reason for the expectation, if it is not obvious
    pub note: Option<String>,
    /// The configuration of the filter
    pub config: Box<RawValue>,
    /// Requests to the HTTP filter, with its decisions
    #[serde(default)]
    pub requests: Vec<EgressRequest>,
    /// Connections to the network filter, with its decisions
    #[serde(default)]
    pub connections: Vec<EgressConnection>,
}

/// A request and its decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressRequest {
    /// GET if absent
    #[serde(default = "get")]
    pub method: String,
    /// `:authority`; may be empty
    pub host: String,
    /// The address and port that the client connected to
    pub destination: Option<SocketAddr>,
    /// Value in access logs: `serviceEntries[N]`, `address`, `passthrough` or the reason of the
    /// refusal
    pub expect: String,
}

/// A connection and its decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressConnection {
    /// Server name of the ClientHello, if any
    #[serde(default)]
    pub sni: String,
    /// The address and port that the client connected to
    pub destination: Option<SocketAddr>,
    /// Value in access logs, as for requests
    pub expect: String,
}

impl EgressCase {
    /// Asserts that the row contains an expectation.
    ///
    /// # Panics
    /// If it has neither requests nor connections.
    pub fn validate(&self) {
        let is_empty = self.requests.is_empty() && self.connections.is_empty();
        assert!(!is_empty, "{} has neither requests nor connections", self.id);
    }
}

/// Evaluates a row with the policy crate.
///
/// # Panics
/// If a result differs from the row. The message lists all differences.
pub fn check(case: &EgressCase) {
    let egress = match Egress::compile(case.config.get().as_bytes(), &Node::default()) {
        Ok((egress, _)) => egress,
        Err(rejection) => panic!("the configuration is refused:\n{rejection}"),
    };
    let requests = case.requests.iter().map(|request| {
        let is_connect = request.method == "CONNECT";
        let found = egress.request(request.host.as_bytes(), is_connect, request.destination);
        (format!("{request:?}"), &request.expect, found)
    });
    let connections = case.connections.iter().map(|connection| {
        let found = egress.connection(connection.sni.as_bytes(), connection.destination);
        (format!("{connection:?}"), &connection.expect, found)
    });
    let differences: Vec<_> = requests
        .chain(connections)
        .filter(|(_, expected, found)| note(*found) != **expected)
        .map(|(title, _, found)| format!("{title}\n  got {}", note(found)))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn note(decision: Decision) -> String {
    match decision {
        Decision::Known { entry: Some(entry) } => format!("serviceEntries[{entry}]"),
        Decision::Known { entry: None } => "address".to_owned(),
        Decision::Passthrough => "passthrough".to_owned(),
        Decision::Refused(reason) => reason.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(rows: &str) -> EgressCase {
        let text = format!(
            r#"{{"id": "X", "name": "", "source": "",
                "config": {{"outboundTrafficPolicy": {{"mode": "REGISTRY_ONLY"}}}}{rows}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn correct_rows_pass() {
        check(&case(r#", "requests": [{"host": "a", "expect": "unknown_name"}]"#));
    }

    #[test]
    #[should_panic(expected = "got no_name")]
    fn a_wrong_reason_is_reported() {
        check(&case(r#", "connections": [{"expect": "unknown_name"}]"#));
    }

    #[test]
    #[should_panic(expected = "X has neither requests nor connections")]
    fn a_row_without_requests_and_connections_is_rejected() {
        case("").validate();
    }
}
