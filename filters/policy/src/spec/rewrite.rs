//! `HTTPRewrite`: changes the path or the authority of the request to the upstream. The query does
//! not change.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::request::split_path;
use crate::spec::http_match::MatchedPath;
use crate::value::pattern::{Groups, Replacer, read_replacer};
use crate::value::url::{read_authority, read_path};

/// A rewrite, compiled.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    /// New authority; unchanged if absent
    pub authority: Option<Box<[u8]>>,
    pub(crate) path: Option<PathRewrite>,
}

/// A change of the path.
#[derive(Clone, Debug)]
pub(crate) enum PathRewrite {
    /// Replaces the path elements that matched, see [`replace_elements`].
    Elements(Box<[u8]>),
    /// Replaces the part of the path that matched.
    Matched(Box<[u8]>),
    /// Replaces every match of the pattern.
    Regex { pattern: Replacer, substitution: Vec<Substitute> },
    /// Replaces the whole path.
    Whole(Box<[u8]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Substitute {
    Group(usize),
    Literal(Vec<u8>),
}

fields!(Rewrite, "Changes the path or the host of forwarded requests.", {
    "uri": Kind::PATH => "Replacement for the part of the path that matched.";
    "uriRegexRewrite": Kind::Object(RegexRewrite::schema) =>
        "Replaces the parts of the path that match a regular expression.";
    "authority": Kind::AUTHORITY => "New host; unchanged if absent.";
});

/// `RegexRewrite`
struct RegexRewrite;

fields!(RegexRewrite, "Replaces the parts of the path that match a regular expression.", {
    "match" required: Kind::Pattern(".+") => "Regular expression (RE2); all of its matches are replaced.";
    "rewrite" required: Kind::Pattern(r"[^\u0000-\u0020\u007f]+") => "Replacement; \\0 is the match, \\1 to \\9 are its groups.";
});

impl Rewrite {
    /// Reads `rewrite: { uri, uriRegexRewrite, authority }`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let given = |name, read: fn(&Node<'_>) -> Result<Box<[u8]>, Reported>| {
            object.given(name).map(|node| read(&node)).transpose()
        };
        let uri = given("uri", read_path);
        let regex = object.optional("uriRegexRewrite", read_regex_rewrite);
        let authority = given("authority", read_authority);
        let paths = object.exclude("uri", "uriRegexRewrite");
        let (uri, regex, authority) = (uri?, regex?, authority?);
        paths?;
        let path = uri.map(PathRewrite::Matched).or(regex);
        if path.is_none() && authority.is_none() {
            return Err(node.error("must have one of uri, uriRegexRewrite, authority"));
        }
        Ok(Self { authority, path })
    }

    /// Returns whether it changes anything.
    pub fn is_some(&self) -> bool {
        self.authority.is_some() || self.path.is_some()
    }

    /// Returns the new request target; `None` if it does not change.
    pub fn target(&self, target: &[u8], matched: MatchedPath) -> Option<Vec<u8>> {
        match self.path.as_ref()? {
            PathRewrite::Elements(elements) => Some(replace_elements(target, elements, matched)),
            PathRewrite::Whole(path) => Some(replace_matched(target, path, MatchedPath::Whole)),
            PathRewrite::Matched(replacement) => {
                Some(replace_matched(target, replacement, matched))
            }
            PathRewrite::Regex { pattern, substitution } => {
                let (path, query) = split_path(target);
                let append = |groups: &Groups<'_>, result: &mut Vec<u8>| {
                    for part in substitution {
                        result.extend_from_slice(match part {
                            Substitute::Literal(literal) => literal,
                            Substitute::Group(index) => groups.get(*index),
                        });
                    }
                };
                let mut replaced = pattern.replace_all(path, append);
                replaced.extend_from_slice(query);
                Some(replaced)
            }
        }
    }
}

/// Returns `target`, with the part that matched replaced by `replacement`.
pub fn replace_matched(target: &[u8], replacement: &[u8], matched: MatchedPath) -> Vec<u8> {
    let (path, query) = split_path(target);
    let rest = match matched {
        MatchedPath::Whole => &[],
        MatchedPath::Prefix(length) => path.get(length..).unwrap_or_default(),
    };
    [replacement, rest, query].concat()
}

/// Returns `target`, with the path elements that matched replaced by `elements`, which do not end
/// with a slash. An empty path becomes `/`. Source: the table of `replacePrefixMatch` in the
/// Gateway API.
pub fn replace_elements(target: &[u8], elements: &[u8], matched: MatchedPath) -> Vec<u8> {
    let (path, query) = split_path(target);
    let rest = match matched {
        MatchedPath::Whole => &[],
        // The prefix "/" is no element.
        MatchedPath::Prefix(1) => path,
        MatchedPath::Prefix(length) => path.get(length..).unwrap_or_default(),
    };
    let elements = if elements.is_empty() && rest.is_empty() { b"/" } else { elements };
    [elements, rest, query].concat()
}

fn read_regex_rewrite(node: &Node<'_>) -> Result<PathRewrite, Reported> {
    let object = node.object::<RegexRewrite>()?;
    let pattern = object.required("match").and_then(|node| read_replacer(&node));
    let substitution = object.required("rewrite").and_then(|node| {
        let text = node.string()?;
        if text.is_empty() {
            return Err(node.error("must not be empty"));
        }
        read_path(&node)?;
        Ok((node, text))
    });
    let (pattern, (node, text)) = (pattern?, substitution?);
    let substitution = parse_substitution(text, pattern.groups());
    let substitution = substitution.map_err(|reason| node.invalid(reason))?;
    Ok(PathRewrite::Regex { pattern, substitution })
}

/// Parses a substitution of RE2: `\0` is the whole match, `\1` to `\9` are its groups, `\\` is a
/// backslash.
fn parse_substitution(text: &str, groups: usize) -> Result<Vec<Substitute>, &'static str> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            literal.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'\\') => literal.push(b'\\'),
            Some(digit) if digit.is_ascii_digit() => {
                let group = usize::from(digit - b'0');
                if group >= groups {
                    return Err("has a group that the pattern does not have");
                }
                if !literal.is_empty() {
                    parts.push(Substitute::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Substitute::Group(group));
            }
            _ => return Err(r"has a backslash that is not followed by a backslash or a digit"),
        }
    }
    if !literal.is_empty() {
        parts.push(Substitute::Literal(literal));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read(text: &str) -> Result<Rewrite, String> {
        testing::read(text, Rewrite::read)
    }

    fn regex(pattern: &str, substitution: &str, target: &str) -> String {
        let text = format!(
            r#"{{"uriRegexRewrite": {{"match": {pattern:?}, "rewrite": {substitution:?}}}}}"#
        );
        let target = read(&text).unwrap().target(target.as_bytes(), MatchedPath::Whole);
        String::from_utf8(target.unwrap()).unwrap()
    }

    #[test]
    fn replaces_the_matched_part_and_keeps_the_query() {
        let rewrite = read(r#"{"uri": "/api"}"#).unwrap();
        let target = |path: &[u8], matched| rewrite.target(path, matched).unwrap();
        assert_eq!(target(b"/foo/bar?k=/foo", MatchedPath::Prefix(4)), b"/api/bar?k=/foo");
        assert_eq!(target(b"/foo/bar?k=v", MatchedPath::Whole), b"/api?k=v");
        // A common mistake: the prefix has no final slash, the replacement has one.
        let root = read(r#"{"uri": "/"}"#).unwrap();
        assert_eq!(root.target(b"/p/x", MatchedPath::Prefix(2)).unwrap(), b"//x");
        assert_eq!(root.target(b"/p/x", MatchedPath::Prefix(3)).unwrap(), b"/x");
    }

    #[test]
    fn replaces_every_match_of_a_pattern() {
        assert_eq!(
            regex("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api?a=/service/b"),
            "/v1/api/instance/foo?a=/service/b"
        );
        assert_eq!(regex("one", "two", "/xxx/one/yyy/one/zzz"), "/xxx/two/yyy/two/zzz");
        assert_eq!(regex("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb"), "/aaa/yyy/bbb");
        assert_eq!(regex("a(b)?", r"[\0\1\\]", "/a"), r"/[a\]");
    }

    #[test]
    fn rejects_invalid_fields() {
        let refuse = |text: &str| read(text).unwrap_err();
        assert_eq!(refuse("{}"), "configuration: must have one of uri, uriRegexRewrite, authority");
        assert_eq!(
            refuse(r#"{"uri": "/", "uriRegexRewrite": {}}"#),
            "configuration: cannot have both uri and uriRegexRewrite\n\
             uriRegexRewrite.match: is required\n\
             uriRegexRewrite.rewrite: is required"
        );
        assert_eq!(
            refuse(r#"{"uriRegexRewrite": {"match": ""}}"#),
            "uriRegexRewrite.rewrite: is required\n\
             uriRegexRewrite.match: is an empty regular expression"
        );
        assert_eq!(
            refuse(r#"{"uriRegexRewrite": {"match": "a", "rewrite": "\\1"}}"#),
            "uriRegexRewrite.rewrite: \"\\\\1\" has a group that the pattern does not have"
        );
    }
}
