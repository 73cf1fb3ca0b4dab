//! The path of a request as Envoy 1.40 normalizes it with `normalize_path`, before any filter reads
//! it. Istio and the sandbox set this; neither merges slashes.

/// Why Envoy answers 400 instead.
const REFUSED: &str = "Envoy answers 400, because the path";

/// The target of a request with its path normalized: without dot segments, with `/` for `\`, and
/// with the escapes that RFC 3986 requires and no others. The query stays as it is.
///
/// # Errors
/// Why Envoy refuses the request.
pub fn normalize(target: &str) -> Result<String, String> {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    if !path.is_ascii() {
        return Err(format!("{REFUSED} has other characters than ASCII; escape them with %"));
    }
    if let Some(byte) = path.bytes().find(|byte| byte.is_ascii_control()) {
        return Err(format!("{REFUSED} has the byte {byte:#04x}"));
    }
    if path.contains("%00") {
        return Err(format!("{REFUSED} has %00"));
    }
    let mut segments: Vec<String> = Vec::new();
    let mut parts = path.split(['/', '\\']).skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match dots(part) {
            Some(count) => {
                if count == 2 {
                    segments.pop();
                }
                if is_last {
                    segments.push(String::new());
                }
            }
            None => segments.push(escape(part)),
        }
    }
    Ok(format!("/{}{query}", segments.join("/")))
}

/// The number of dots, one or two, of a dot segment. Parameters after `;` do not count, unless a
/// dot is escaped.
fn dots(segment: &str) -> Option<usize> {
    match segment.split(';').next().unwrap_or_default() {
        "." => return Some(1),
        ".." => return Some(2),
        _ => {}
    }
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    [".", ".."].iter().position(|dots| plain == *dots).map(|index| index + 1)
}

/// Escapes the characters that a path cannot have, and removes the escapes of unreserved ones.
fn escape(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    // The place of the last percent sign that starts no escape.
    let mut stray = None;
    let mut rest = segment;
    while let Some(character) = rest.chars().next() {
        let escaped = rest.strip_prefix('%').and_then(|own| hex(own.get(..2)?));
        let length = if escaped.is_some() { 3 } else { 1 };
        let (own, tail) = rest.split_at_checked(length).unwrap_or((rest, ""));
        match escaped.map(char::from) {
            Some(plain) if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => {
                text.push(plain);
                protect(&mut text, stray, tail);
            }
            Some(_) => text.push_str(own),
            None if "\"<>^`{|} ".contains(character) => {
                text.push_str(&format!("%{:02X}", u32::from(character)));
            }
            None => {
                if character == '%' {
                    stray = Some(text.len());
                }
                text.push_str(own);
            }
        }
        rest = tail;
    }
    text
}

/// Escapes the percent sign at `stray` if it starts an escape now that a character behind it has
/// been decoded.
fn protect(text: &mut String, stray: Option<usize>, tail: &str) {
    let Some(start) = stray.filter(|start| matches!(text.len() - start, 2 | 3)) else { return };
    let behind = text.get(start + 1..).unwrap_or_default().chars().chain(tail.chars());
    if hex(&behind.take(2).collect::<String>()).is_some() {
        text.insert_str(start + 1, "25");
    }
}

/// The number of two hexadecimal digits.
fn hex(text: &str) -> Option<u8> {
    let is_hex = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of Envoy 1.40.0 with `normalize_path: true`.
    const ANSWERS: [(&str, &str); 57] = [
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/../../a", "/a"),
        ("/..", "/"),
        ("/.", "/"),
        ("/./", "/"),
        ("/a//b", "/a//b"),
        ("/a//../b", "/a/b"),
        ("//a", "//a"),
        ("/a/.//b", "/a//b"),
        ("/a/b/../../../c", "/c"),
        ("/a%2e%2e/b", "/a../b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e", "/a/"),
        ("/a/%2e./", "/"),
        ("/a/%2e%2e%2e", "/a/..."),
        ("/a/...", "/a/..."),
        ("/a/..b/c", "/a/..b/c"),
        ("/a\\b", "/a/b"),
        ("/a\\..\\b", "/b"),
        ("/a%5Cb", "/a%5Cb"),
        ("/a%5c..%5cb", "/a%5c..%5cb"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2f..%2fb", "/a%2f..%2fb"),
        ("/a/b%2f../c", "/a/b%2f../c"),
        ("/%41%7a%30", "/Az0"),
        ("/%7e%2d%5f", "/~-_"),
        ("/a%zz", "/a%zz"),
        ("/a%", "/a%"),
        ("/a%4", "/a%4"),
        ("/%c3%a4", "/%c3%a4"),
        ("/a;b,c:d@e!$&'()*+=~", "/a;b,c:d@e!$&'()*+=~"),
        ("/a|b", "/a%7Cb"),
        ("/{x}", "/%7Bx%7D"),
        ("/^`", "/%5E%60"),
        ("/<x>\"", "/%3Cx%3E%22"),
        ("/[x]", "/[x]"),
        ("/a%20b", "/a%20b"),
        ("/%7b%7C", "/%7b%7C"),
        ("/a?x=/../b", "/a?x=/../b"),
        ("/a/../b?x=%41/../", "/b?x=%41/../"),
        ("/a/..?b", "/?b"),
        ("/%25%32%65", "/%252e"),
        ("/%2525%41", "/%2525A"),
        ("/a%%41b", "/a%25Ab"),
        ("/a%7f", "/a%7f"),
        ("/a/.;/b", "/a/b"),
        ("/a/..;x/b", "/b"),
        ("/a/..;", "/"),
        ("/a/.;x", "/a/"),
        ("/a/%2e;/b", "/a/.;/b"),
        ("/a/.%3b/b", "/a/.%3b/b"),
        ("/a/..;../b", "/b"),
        ("/a;/../b", "/b"),
    ];

    #[test]
    fn paths_are_normalized_as_envoy_does() {
        for (target, expected) in ANSWERS {
            assert_eq!(normalize(target).as_deref(), Ok(expected), "{target}");
        }
    }

    #[test]
    fn envoy_refuses_some_paths() {
        for target in ["/a%00b", "/\u{e4}", "/a\u{7f}b", "/a\u{1}"] {
            assert!(normalize(target).is_err(), "{target}");
        }
        assert_eq!(normalize("/a?\u{e4}").as_deref(), Ok("/a?\u{e4}"));
    }
}
