//! `HTTPURLRewriteFilter` and `HTTPRequestRedirectFilter`.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::gateway_api::path_modifier::{self, PathModifier};
use crate::spec::redirect::{Path, Port, Redirect, SCHEMES, Scheme};
use crate::spec::rewrite::{PathRewrite, Rewrite};
use crate::value::host_name;

/// `HTTPURLRewriteFilter`
pub struct UrlRewrite;

fields!(UrlRewrite as "GatewayURLRewrite", "Changes the path or the host of requests.", {
    "hostname": Kind::HOST => "New host; unchanged if absent.";
    "path": Kind::Object(PathModifier::schema) => "New path; unchanged if absent.";
});

/// `HTTPRequestRedirectFilter`
pub struct RequestRedirect;

fields!(RequestRedirect as "GatewayRequestRedirect", "Answers with a redirect.", {
    "scheme": Kind::OneOf(&SCHEMES) => "New scheme; that of the request if absent.";
    "hostname": Kind::HOST => "New host; that of the request if absent.";
    "path": Kind::Object(PathModifier::schema) => "New path; that of the request if absent.";
    "port": Kind::PORT =>
        "New port; if absent, the default port of scheme, or, without scheme, the port that the \
         client called.";
    "statusCode": Kind::OneOfIntegers(&[301, 302, 303, 307, 308]) => "HTTP status; 302 if absent.";
});

/// Reads a rewrite. Returns whether it replaces a prefix, too.
pub fn read_rewrite(node: &Node<'_>) -> Result<(Rewrite, bool), Reported> {
    let object = node.object::<UrlRewrite>()?;
    let authority = object.optional("hostname", read_host);
    let path = object.optional("path", path_modifier::read);
    let (authority, path) = (authority?, path?);
    let is_of_prefix = matches!(path, Some(PathModifier::Elements(_)));
    let path = path.map(|path| match path {
        PathModifier::Elements(elements) => PathRewrite::Elements(elements),
        PathModifier::Whole(path) => PathRewrite::Whole(path),
    });
    Ok((Rewrite { authority, path }, is_of_prefix))
}

/// Reads a redirect. Returns whether it replaces a prefix, too.
pub fn read_redirect(node: &Node<'_>) -> Result<(Redirect, bool), Reported> {
    let object = node.object::<RequestRedirect>()?;
    let scheme = object.optional("scheme", |node| node.one_of(&SCHEMES));
    let authority = object.optional("hostname", read_host);
    let path = object.optional("path", path_modifier::read);
    let port = object.optional("port", Node::port);
    let status = object.optional("statusCode", |node| match node.integer()? {
        301 => Ok(301),
        302 => Ok(302),
        303 => Ok(303),
        307 => Ok(307),
        308 => Ok(308),
        _ => Err(node.invalid("is not one of 301, 302, 303, 307, 308")),
    });
    let (scheme, path) = (scheme?, path?);
    let scheme = scheme.map(|name| if name == "http" { Scheme::Http } else { Scheme::Https });
    let port = match (port?, scheme) {
        (Some(port), _) => Port::Fixed(port),
        // The default port of a scheme is not written.
        (None, Some(_)) => Port::Unchanged,
        (None, None) => Port::FromRequest,
    };
    let is_of_prefix = matches!(path, Some(PathModifier::Elements(_)));
    let path = path.map_or(Path::Unchanged, |path| match path {
        PathModifier::Elements(elements) => Path::ElementsReplaced(elements),
        PathModifier::Whole(path) => Path::Replaced(path),
    });
    let (authority, status) = (authority?, status?.unwrap_or(302));
    Ok((Redirect { status, authority, scheme, port, path, drops_port: true }, is_of_prefix))
}

/// Reads a host without a wildcard.
fn read_host(node: &Node<'_>) -> Result<Box<[u8]>, Reported> {
    let host = node.string()?;
    host_name::check(host).map_err(|reason| node.invalid(reason))?;
    if host.starts_with('*') {
        return Err(node.invalid("has a wildcard, but must be one host"));
    }
    Ok(host.as_bytes().into())
}
