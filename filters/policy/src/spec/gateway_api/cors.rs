//! `HTTPCORSFilter`: a policy for cross-origin requests.

use crate::document::fields::fields;
use crate::document::node::{Node, Object};
use crate::document::report::Reported;
use crate::spec::cors::{Cors, METHODS, read_list};
use crate::spec::string_match::StringMatch;
use crate::value::header::is_token;
use crate::value::pattern::compile_pattern;

/// `HTTPCORSFilter`
pub struct CorsFilter;

/// `CORSOrigin`
const ORIGIN: &str = r"\*|https?://(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)";

fields!(CorsFilter as "GatewayCORS", "Cross-origin requests.", {
    "allowOrigins": Kind::List(&Kind::Pattern(ORIGIN)) =>
        "Allowed origins: SCHEME://HOST[:PORT], where HOST may be * or start with *., or *; none if \
         absent.";
    "allowCredentials": Kind::Boolean =>
        "Whether requests with credentials are allowed; false if absent.";
    "allowMethods": Kind::List(&Kind::OneOf(&METHODS)) => "Allowed methods; * allows any method.";
    "allowHeaders": Kind::TOKENS => "Allowed request headers; * allows any header.";
    "exposeHeaders": Kind::TOKENS => "Response headers that a browser may read.";
    "maxAge": Kind::Integer(1, i32::MAX as i64) =>
        "Time for which a browser may cache the answer to a preflight request, in seconds; 5 if \
         absent.";
});

/// Reads a CORS filter. A preflight request of another origin is answered with 200 without
/// `access-control-allow-origin`, which is one of the answers that the specification allows.
pub fn read(node: &Node<'_>) -> Result<Cors, Reported> {
    let object = node.object::<CorsFilter>()?;
    let origins = object.list("allowOrigins", read_origin);
    let alone = ["allowOrigins", "allowMethods", "allowHeaders"].map(|name| check(&object, name));
    let is_method = |text: &str| METHODS.contains(&text);
    let is_name = |text: &str| text == "*" || is_token(text);
    let methods = read_list(&object, "allowMethods", is_method, "is not an HTTP method");
    let headers = read_list(&object, "allowHeaders", is_name, "is not a header name");
    let exposed = read_list(&object, "exposeHeaders", is_name, "is not a header name");
    let allows_credentials = object.flag("allowCredentials");
    let max_age = object.optional("maxAge", |node| match node.integer()? {
        seconds @ 1..=0x7fff_ffff => Ok(seconds),
        _ => Err(node.invalid("is not in the range 1 to 2147483647")),
    });
    alone.into_iter().collect::<Result<(), _>>()?;
    Ok(Cors {
        origins: origins?,
        methods: methods?,
        headers: headers?,
        exposed: exposed?,
        max_age: Some(max_age?.unwrap_or(5).to_string().into_bytes().into()),
        allows_credentials: allows_credentials?,
        ignores_unmatched_preflights: true,
    })
}

/// Checks that a `*` in a list is its only element.
fn check(object: &Object<'_>, name: &'static str) -> Result<(), Reported> {
    let Some(node) = object.field(name) else { return Ok(()) };
    // The reader of the list reports what is not a list.
    let elements = object.node.json.elements(name);
    let has_any = elements.iter().any(|own| own.as_str() == Some("*"));
    match has_any && elements.len() > 1 {
        true => Err(node.error("must not have other elements beside *")),
        false => Ok(()),
    }
}

fn read_origin(node: &Node<'_>) -> Result<StringMatch, Reported> {
    let text = node.string()?;
    let exact = |text: &str| StringMatch::Exact(text.as_bytes().into());
    if text == "*" {
        return Ok(exact("*"));
    }
    let refuse = || node.invalid("is not an origin such as https://example.com or https://*.a.com");
    let (scheme, rest) = text.split_once("://").ok_or_else(refuse)?;
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Err(refuse()),
    };
    let (host, port) =
        rest.split_at_checked(rest.find(':').unwrap_or(rest.len())).ok_or_else(refuse)?;
    let digits = port.strip_prefix(':').unwrap_or(port);
    let is_port = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let plain = host.strip_prefix("*.").unwrap_or(host);
    let is_valid = host == "*" || plain.split('.').all(is_name);
    if !is_valid || !is_port || port == ":" {
        return Err(refuse());
    }
    // Browsers omit the default port.
    let port = if port == default_port { "" } else { port };
    match host.strip_prefix('*') {
        None => Ok(exact(&format!("{scheme}://{host}{port}"))),
        Some(suffix) => {
            let suffix = suffix.replace('.', r"\.");
            let pattern = format!("{scheme}://[^:/]+{suffix}{port}");
            compile_pattern(node, &pattern).map(StringMatch::Regex)
        }
    }
}
