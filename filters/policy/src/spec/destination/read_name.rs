//! Reads the destination from the name of an Envoy cluster.

use super::cluster_template::{ClusterTemplate, Part};
use crate::value::host_name;

/// Part of a cluster name after the subset is replaced by its value.
enum Piece<'a> {
    Host,
    Port,
    Text(&'a str),
}

impl ClusterTemplate {
    /// Returns whether the pattern contains `{subset}`.
    pub fn has_subset(&self) -> bool {
        has(&self.0, &Part::Subset)
    }

    /// Returns whether the pattern contains `{port}`, also in an optional part.
    pub fn has_port(&self) -> bool {
        has(&self.0, &Part::Port)
    }

    /// Returns the host and the port of the cluster `name`. Returns `None` if the cluster has
    /// another subset or its host does not match `pattern`, which is a host or `*SUFFIX`.
    pub fn read_name<'n>(
        &self,
        name: &'n str,
        pattern: &str,
        subset: Option<&str>,
    ) -> Option<(&'n str, Option<u16>)> {
        let with_port = self.has_port().then_some(true);
        let without = (!self.needs_port()).then_some(false);
        with_port.into_iter().chain(without).find_map(|has_port| {
            let mut pieces = Vec::new();
            flatten(&self.0, subset.unwrap_or_default(), has_port, &mut pieces);
            let (host, port) = read_pieces(&pieces, name, pattern, (None, None))?;
            Some((host?, port))
        })
    }
}

fn has(parts: &[Part], wanted: &Part) -> bool {
    parts.iter().any(|part| match part {
        Part::Optional(parts) => has(parts, wanted),
        part => part == wanted,
    })
}

/// Adds the pieces of `parts`. Returns false if one of their placeholders is empty.
fn flatten<'a>(
    parts: &'a [Part],
    subset: &'a str,
    has_port: bool,
    pieces: &mut Vec<Piece<'a>>,
) -> bool {
    let mut is_complete = true;
    for part in parts {
        match part {
            Part::Host => pieces.push(Piece::Host),
            Part::Literal(text) => pieces.push(Piece::Text(text)),
            Part::Optional(parts) => {
                let start = pieces.len();
                if !flatten(parts, subset, has_port, pieces) {
                    pieces.truncate(start);
                }
            }
            Part::Port if has_port => pieces.push(Piece::Port),
            Part::Port => is_complete = false,
            Part::Subset => {
                is_complete &= !subset.is_empty();
                pieces.push(Piece::Text(subset));
            }
        }
    }
    is_complete
}

/// Returns the host and the port with which `pieces` result in `text`, if there are such.
fn read_pieces<'n>(
    pieces: &[Piece<'_>],
    text: &'n str,
    pattern: &str,
    found: (Option<&'n str>, Option<u16>),
) -> Option<(Option<&'n str>, Option<u16>)> {
    let Some((first, rest)) = pieces.split_first() else {
        return text.is_empty().then_some(found);
    };
    let read_rest = |text, found| read_pieces(rest, text, pattern, found);
    match (first, found) {
        (Piece::Text(piece), _) => read_rest(text.strip_prefix(piece)?, found),
        (Piece::Host, (Some(host), _)) => read_rest(text.strip_prefix(host)?, found),
        (Piece::Host, (None, port)) => (1..=text.len()).find_map(|end| {
            let (host, text) = text.split_at_checked(end)?;
            let is_match = match pattern.strip_prefix('*') {
                Some(suffix) => {
                    host.len() > suffix.len()
                        && host.ends_with(suffix)
                        && host_name::check(host).is_ok()
                }
                None => host == pattern,
            };
            if is_match { read_rest(text, (Some(host), port)) } else { None }
        }),
        (Piece::Port, (_, Some(port))) => {
            read_rest(text.strip_prefix(port.to_string().as_str())?, found)
        }
        (Piece::Port, (host, None)) => (1..=text.len().min(5)).find_map(|end| {
            let (digits, text) = text.split_at_checked(end)?;
            let port: u16 = digits.parse().ok()?;
            // The comparison excludes "+80" and "080", which `parse` accepts.
            if port.to_string() == digits { read_rest(text, (host, Some(port))) } else { None }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::destination::cluster_template::parse;

    #[test]
    fn cluster_names_are_read() {
        let read = |template: &str, name, pattern, subset| {
            let template = ClusterTemplate(parse(template).unwrap());
            template.read_name(name, pattern, subset).map(|(host, port)| (host.to_owned(), port))
        };
        let istio = "outbound|{port}|{subset}|{host}";
        let (a, b) = ("a.com".to_owned(), "b.com".to_owned());
        assert_eq!(
            read(istio, "outbound|80|v1|a.com", "a.com", Some("v1")),
            Some((a.clone(), Some(80)))
        );
        assert_eq!(read(istio, "outbound|80||a.com", "*.com", None), Some((a.clone(), Some(80))));
        for (name, pattern, subset) in [
            ("outbound|80|v1|a.com", "a.com", None),
            ("outbound|80||a.com", "a.com", Some("v1")),
            ("outbound|80||a.com", "b.com", None),
            ("outbound|80||a.com", "*a.com", None),
            ("outbound|||a.com", "a.com", None),
            ("outbound|080||a.com", "a.com", None),
            ("outbound|70000||a.com", "a.com", None),
            ("outbound|80||a.com|b", "*", None),
            ("inbound|80||a.com", "a.com", None),
        ] {
            assert_eq!(read(istio, name, pattern, subset), None, "{name}");
        }
        let short = "{host}[-{subset}][:{port}]";
        assert_eq!(read(short, "a.com", "*", None), Some((a.clone(), None)));
        assert_eq!(read(short, "a.com:80", "*", None), Some((a.clone(), Some(80))));
        assert_eq!(read(short, "a.com-v1:80", "*", Some("v1")), Some((a, Some(80))));
        assert_eq!(read(short, "a.com-v1", "a.com", None), None);
        assert_eq!(read("{port}.{host}/{host}", "80.b.com/b.com", "*", None), Some((b, Some(80))));
        assert_eq!(read("{port}.{host}/{host}", "80.b.com/a.com", "*", None), None);
        assert_eq!(read("{port}{port}", "8080", "*", None), None, "the pattern has no host");
    }
}
