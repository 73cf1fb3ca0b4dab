//! Rows about egress, and running them through the policy crate.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_policy::egress::{Decision, Egress};
use sluice_policy::spec::policy::Policy;

use crate::rows::{Node, get};

/// A configuration, and which requests and connections may go out under it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressCase {
    /// Unique in its file, the start of the test's name
    pub id: String,
    /// The rest of the test's name
    pub name: String,
    /// Who says that it has to be so
    pub source: String,
    /// Why, where that is not plain
    pub note: Option<String>,
    /// The configuration of the filter
    pub config: Box<RawValue>,
    /// What the HTTP filter decides about
    #[serde(default)]
    pub requests: Vec<EgressRequest>,
    /// What the network filter decides about
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
    /// `:authority`, perhaps empty
    pub host: String,
    /// The address and port that the client connected to
    pub destination: Option<SocketAddr>,
    /// The note for access logs: `serviceEntries[N]`, `address`, `passthrough` or the reason why
    /// not
    pub expect: String,
}

/// A connection and its decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressConnection {
    /// The server name of the ClientHello, if there is one
    #[serde(default)]
    pub sni: String,
    /// The address and port that the client connected to
    pub destination: Option<SocketAddr>,
    /// As for requests
    pub expect: String,
}

impl EgressCase {
    /// Asserts that the row asserts something.
    ///
    /// # Panics
    /// When it has neither requests nor connections.
    pub fn validate(&self) {
        let is_empty = self.requests.is_empty() && self.connections.is_empty();
        assert!(!is_empty, "{} has neither requests nor connections", self.id);
    }
}

/// Runs a row through the policy.
///
/// # Panics
/// When something is not as the row says. The message has all of it.
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
    fn what_a_row_says_holds() {
        check(&case(r#", "requests": [{"host": "a", "expect": "unknown_name"}]"#));
    }

    #[test]
    #[should_panic(expected = "got no_name")]
    fn another_reason_is_a_difference() {
        check(&case(r#", "connections": [{"expect": "unknown_name"}]"#));
    }

    #[test]
    #[should_panic(expected = "X has neither requests nor connections")]
    fn a_row_without_either_asserts_nothing() {
        case("").validate();
    }
}
