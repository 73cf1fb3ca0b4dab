//! A VirtualService and a request for it.

use serde_json::Value;

/// The port that clients call: the port of the Gateway, which conditions and redirects refer to.
pub const PORT: u16 = 8080;

/// A VirtualService with a name of its own in all of its hosts, so that one Envoy can have hundreds
/// of them.
#[derive(Clone, Debug)]
pub struct Case {
    /// The number in its hosts
    pub number: usize,
    /// Its `spec`
    pub spec: Value,
}

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// What it was made for
    pub purpose: String,
    /// The method
    pub method: String,
    /// The host, with or without a port
    pub host: String,
    /// The path
    pub path: String,
    /// The query, without the question mark
    pub query: Option<String>,
    /// The headers other than the host
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body
    pub body: String,
}

/// The name of a case in its hosts.
pub fn name(number: usize) -> String {
    format!("case-{number}.test")
}

impl Case {
    /// The same VirtualService with the hosts of another number.
    pub fn renumbered(&self, number: usize) -> Self {
        let text = self.spec.to_string().replace(&name(self.number), &name(number));
        Self { number, spec: serde_json::from_str(&text).expect("JSON") }
    }

    /// Its rules.
    pub fn rules(&self) -> &[Value] {
        self.spec["http"].as_array().map_or(&[], Vec::as_slice)
    }

    /// It as a part of a VirtualService in YAML.
    pub fn to_yaml(&self) -> String {
        serde_yaml_ng::to_string(&self.spec).expect("YAML")
    }
}

impl Sent {
    /// Path and query.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The same request for the hosts of another number.
    pub fn renumbered(&self, from: usize, to: usize) -> Self {
        let host = self.host.replace(&name(from), &name(to));
        let host = host.replace(&name(from).to_uppercase(), &name(to).to_uppercase());
        Self { host, ..self.clone() }
    }

    /// A copy with a change.
    pub fn with(&self, purpose: &str, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        purpose.clone_into(&mut other.purpose);
        change(&mut other);
        other
    }

    /// Adds a header.
    pub fn add_header(&mut self, name: &str, value: &[u8]) {
        self.headers.push((name.to_lowercase(), value.to_vec()));
    }

    /// Removes a header.
    pub fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Returns whether the header occurs.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// It as lines, with escapes for bytes that are not ASCII.
    pub fn show(&self) -> String {
        let mut text = format!("{} {}\nhost: {}\n", self.method, self.target(), self.host);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {}\n", value.escape_ascii()));
        }
        if !self.body.is_empty() {
            text.push_str(&format!("\n{}\n", self.body));
        }
        text
    }
}
