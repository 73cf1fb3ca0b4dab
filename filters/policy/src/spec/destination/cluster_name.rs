//! The name of an Envoy cluster, which may depend on the port that the client called.

use std::borrow::Cow;
use std::fmt;

/// Placeholder of the port that the client called. Other parts of a name contain no `{`.
pub(super) const PORT_OF_REQUEST: &str = "{port}";

/// The name of an Envoy cluster. If it depends on the port that the client called, it is displayed
/// with the placeholder `{port}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterName {
    text: String,
    is_by_port: bool,
}

impl ClusterName {
    /// Creates a name. `is_by_port`: whether `text` contains the placeholder.
    pub(super) fn new(text: String, is_by_port: bool) -> Self {
        Self { text, is_by_port }
    }

    /// Returns whether the name depends on the port that the client called.
    pub fn is_by_port(&self) -> bool {
        self.is_by_port
    }

    /// Returns the name with the placeholder.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As [`ClusterName::text`], without a copy.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Returns the name for a request. `port` is called only if the name depends on it. If the port
    /// is unknown, the name keeps the placeholder. Envoy has no such cluster, and answers 503.
    #[inline]
    pub fn at(&self, port: impl FnOnce() -> Option<u16>) -> Cow<'_, str> {
        if self.is_by_port { fill(&self.text, port()) } else { Cow::Borrowed(&self.text) }
    }
}

#[inline(never)]
fn fill(text: &str, port: Option<u16>) -> Cow<'_, str> {
    let Some(port) = port else { return Cow::Borrowed(text) };
    let port = port.to_string();
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        name.push_str(before);
        name.push_str(&port);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    name.push_str(rest);
    Cow::Owned(name)
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_filled() {
        let at = |text: &str, is_by_port, port: Option<u16>| {
            ClusterName::new(text.into(), is_by_port).at(|| port).into_owned()
        };
        assert_eq!(at("outbound|{port}||a", true, Some(80)), "outbound|80||a");
        assert_eq!(at("{port}-a-{port}", true, Some(65535)), "65535-a-65535");
        assert_eq!(at("outbound|{port}||a", true, None), "outbound|{port}||a");
        assert_eq!(at("outbound|9080||a", false, Some(80)), "outbound|9080||a");
    }

    #[test]
    fn the_port_of_the_request_is_not_read_for_a_fixed_name() {
        let name = ClusterName::new("a".into(), false);
        assert!(matches!(name.at(|| panic!("the port is read")), Cow::Borrowed("a")));
    }
}
