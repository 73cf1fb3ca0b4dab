//! The words that VirtualServices and requests are made of. There are few of each kind, so that
//! requests often match.

use fastrand::Rng;

/// A regular expression with texts that it matches and texts that it nearly matches.
#[derive(Clone, Copy)]
pub struct Pattern {
    /// The expression
    pub regex: &'static str,
    /// Texts that it matches
    pub hits: &'static [&'static str],
    /// Texts that it does not match
    pub misses: &'static [&'static str],
}

const fn pattern(
    regex: &'static str,
    hits: &'static [&'static str],
    misses: &'static [&'static str],
) -> Pattern {
    Pattern { regex, hits, misses }
}

/// Expressions for paths.
pub const PATH_PATTERNS: [Pattern; 12] = [
    pattern("/a/.*", &["/a/", "/a/b", "/a//c"], &["/a", "/A/b", "/x/a/b"]),
    pattern("/api/v[0-9]+/.*", &["/api/v1/users", "/api/v27/"], &["/api/v/x", "/api/v1"]),
    pattern("/(a|old)/[^/]+", &["/a/b", "/old/x.png"], &["/a/b/c", "/a/"]),
    pattern(".*[.]png", &["/old/x.png", "/.png"], &["/old/x.pngs", "/old/xpng"]),
    pattern("/[a-z]*", &["/", "/api"], &["/API", "/a/"]),
    pattern("/A/b|/ab", &["/A/b", "/ab"], &["/a/b", "/abb"]),
    pattern("(?i)/api/.*", &["/API/x", "/api/V1"], &["/ap/x"]),
    pattern(r"/\w+/\d{2,3}", &["/a/12", "/old_1/123"], &["/a/1", "/a/1234"]),
    pattern("^/a(/b)?$", &["/a", "/a/b"], &["/a/", "/a/b/b"]),
    pattern("/a%2Fb.?", &["/a%2Fb", "/a%2Fbc"], &["/a%2fb", "/a/b"]),
    pattern(".*", &["/", "/anything"], &[]),
    pattern("/x.{2,4}y", &["/x//y", "/x1234y"], &["/xy", "/x12345y"]),
];

/// Expressions for headers, methods and parameters.
pub const VALUE_PATTERNS: [Pattern; 8] = [
    pattern("[a-z]+", &["kim", "x"], &["KIM", "kim1"]),
    pattern("kim|cheng", &["kim", "cheng"], &["kimcheng", "ki"]),
    pattern(".*", &["", "anything"], &[]),
    pattern(".+", &["x"], &[""]),
    pattern("v[0-9]+([.][0-9]+)?", &["v1", "v1.2"], &["v", "v1."]),
    pattern("(?i)yes|on", &["YES", "on"], &["no", "yes "]),
    pattern("^(.*?;)?(user=kim)(;.*)?$", &["user=kim", "a;user=kim;b"], &["user=kimi"]),
    pattern(r"\d{1,3}", &["1", "12"], &["", "1234", "a"]),
];

/// Expressions that rewrite paths, with their substitutions.
pub const REWRITES: [(&str, &str); 7] = [
    ("/([a-z]+)/(.*)", r"/\2/\1"),
    ("a", "b"),
    ("^/api/v([0-9]+)", r"/version-\1"),
    ("/+", "/"),
    (r"(?i)/API/", "/x/"),
    ("[0-9]", r"(\0)"),
    ("$", "/end"),
];

/// Paths that conditions name and clients send.
pub const PATHS: [&str; 16] = [
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/A/b",
    "/ab",
    "/api",
    "/api/v1",
    "/api/v1/users",
    "/api/v2/users/7",
    "/old/x.png",
    "/a%2Fb",
    "/x//y",
    "/a-b_c.d~e",
    "/a:b@c!d$e'f(g)h*i",
    "/a,b=c",
];

/// Paths that only clients send.
pub const ODD_PATHS: [&str; 20] = [
    "//",
    "//a/b",
    "/a/./b",
    "/a/../api",
    "/..",
    "/../a",
    "/a/..",
    "/a/b/",
    "/a//b",
    "/%61",
    "/a%2fb",
    "/a/%2e%2e/api",
    "/%2E/a",
    "/a%20b",
    "/a%",
    "/a%zz",
    "/a%00b",
    "/a\"b",
    "/a{b}|c",
    "/API/V1/Users",
];

/// Prefixes that conditions name.
pub const PREFIXES: [&str; 8] = ["/", "/a", "/a/", "/api", "/api/v1/", "/old", "/A", "/a%2"];

/// Queries without the question mark.
pub const QUERIES: [&str; 17] = [
    "q=1",
    "q=12&r=x",
    "r=x&q=one",
    "q",
    "q=",
    "Q=1",
    "q=1&q=2",
    "q=2&q=1",
    "q=kim",
    "q=%31",
    "&&q=1",
    "q=1=2",
    "q=1;r=x",
    "=1",
    "",
    "q=1?r=x",
    "q=a%20b+c&r=%",
];

/// Names of parameters.
pub const PARAMETERS: [&str; 3] = ["q", "r", "Q"];

/// Names of headers that conditions are about.
pub const CONDITION_HEADERS: [&str; 5] = ["x-user", "x-version", "X-Flag", "cookie", "end-user"];

/// Values of these headers and of parameters.
pub const VALUES: [&str; 12] =
    ["kim", "KIM", "kimberly", "x kim", "v1", "v12", "1", "12", "yes", "user=kim", "a,b", "cheng"];

/// Values that are not UTF-8, not ASCII or otherwise unusual.
pub const ODD_VALUES: [&[u8]; 7] =
    [b"", b"\xff\xfe", b"kim\xff", b"\x80kim", "k\u{ef}m".as_bytes(), b"a\tb", b"%2C,;=\"'\\"];

/// Methods of requests.
pub const METHODS: [&str; 7] = ["GET", "POST", "PUT", "OPTIONS", "DELETE", "PATCH", "HEAD"];

/// The origins of CORS requests.
pub const ORIGINS: [&str; 5] = [
    "https://a.example.com",
    "https://b.example.com",
    "http://a.example.com",
    "https://evil.example",
    "null",
];

/// The clusters of the upstreams. `HOST` is a destination without a subset, `HOST-SUBSET` one with.
pub const CLUSTERS: [&str; 6] = ["a", "b", "c-v1", "c-v2", "copy-1", "copy-2"];

/// A cluster that does not exist.
pub const MISSING: &str = "missing";

/// How many mirrors a rule has at most.
pub const MIRRORS: usize = 3;

/// Returns one of the values.
pub fn pick<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

/// Returns true once in `count` calls on average.
pub fn one_in(rng: &mut Rng, count: u32) -> bool {
    rng.u32(..count) == 0
}
