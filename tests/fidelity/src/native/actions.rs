//! Actions as istiod's `TranslateRoute` and `applyHTTPRouteDestination` translate them.

use serde_json::{Value, json};

use super::policies;
use super::terms::{cluster, seconds};
use crate::case::PORT;

/// Edits of headers in Envoy's format.
#[derive(Clone, Default)]
pub struct Operations {
    request_add: Vec<Value>,
    request_remove: Vec<Value>,
    response_add: Vec<Value>,
    response_remove: Vec<Value>,
    authority: Option<String>,
}

/// `TranslateHeadersOperations`
pub fn operations(headers: &Value) -> Operations {
    let (request_add, set_host) = added(&headers["request"]);
    let (response_add, _) = added(&headers["response"]);
    Operations {
        request_add,
        request_remove: removed(&headers["request"]),
        response_add,
        response_remove: removed(&headers["response"]),
        authority: set_host,
    }
}

/// What is set, then what is added, each sorted by name; and the host, which `set` decides before
/// `add`.
fn added(message: &Value) -> (Vec<Value>, Option<String>) {
    let (mut options, mut host) = (Vec::new(), None);
    for (field, action) in
        [("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")]
    {
        let entries = message[field].as_object().into_iter().flatten();
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|(name, _)| *name);
        for (name, value) in entries {
            if is_host(name) {
                host = host.or(value.as_str().map(str::to_owned));
            } else {
                let header = json!({ "key": name, "value": value });
                options.push(json!({ "header": header, "append_action": action }));
            }
        }
    }
    (options, host)
}

fn removed(message: &Value) -> Vec<Value> {
    message["remove"].as_array().cloned().unwrap_or_default()
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}

impl Operations {
    /// Writes them into a route or a weighted cluster.
    pub fn write(&self, target: &mut Value) {
        target["request_headers_to_add"] = self.request_add.clone().into();
        target["request_headers_to_remove"] = self.request_remove.clone().into();
        target["response_headers_to_add"] = self.response_add.clone().into();
        target["response_headers_to_remove"] = self.response_remove.clone().into();
    }

    fn extend(&mut self, other: &Self) {
        self.request_add.extend(other.request_add.iter().cloned());
        self.request_remove.extend(other.request_remove.iter().cloned());
        self.response_add.extend(other.response_add.iter().cloned());
        self.response_remove.extend(other.response_remove.iter().cloned());
    }
}

/// `applyHTTPRouteDestination`
pub fn forward(rule: &Value, mut operations: Operations, route: &mut Value) {
    let timeout = rule["timeout"].as_str().map_or("0s".to_owned(), seconds);
    let mut action = json!({ "timeout": timeout, "max_grpc_timeout": timeout });
    let rewrite = &rule["rewrite"];
    let expression = &rewrite["uriRegexRewrite"];
    if expression.is_object() {
        action["regex_rewrite"] = json!({
            "pattern": { "regex": expression["match"] },
            "substitution": expression["rewrite"],
        });
    } else if rewrite["uri"].is_string() {
        action["prefix_rewrite"] = rewrite["uri"].clone();
    }
    let authority = rewrite["authority"].as_str().map(str::to_owned);
    let mut authority = authority.or_else(|| operations.authority.clone());
    let mirrors = policies::mirrors(rule);
    if !mirrors.is_empty() {
        action["request_mirror_policies"] = mirrors.into();
    }
    match rule["route"].as_array().map_or(&[][..], Vec::as_slice) {
        [target] => {
            action["cluster"] = cluster(&target["destination"]).into();
            let own = self::operations(&target["headers"]);
            operations.extend(&own);
            authority = authority.or(own.authority);
            operations.write(route);
        }
        targets => {
            let weighted = targets.iter().filter(|own| own["weight"] != 0).map(|target| {
                let cluster = cluster(&target["destination"]);
                let mut own = json!({ "name": cluster, "weight": target["weight"] });
                let operations = self::operations(&target["headers"]);
                operations.write(&mut own);
                if let Some(host) = operations.authority {
                    own["host_rewrite_literal"] = host.into();
                }
                own
            });
            action["weighted_clusters"] = json!({ "clusters": weighted.collect::<Vec<_>>() });
        }
    }
    if let Some(host) = authority {
        action["host_rewrite_literal"] = host.into();
    }
    if let Some(policy) = policies::retries(&rule["retries"]) {
        action["retry_policy"] = policy;
    }
    route["route"] = action;
}

/// `ApplyRedirect`
pub fn redirect(redirect: &Value) -> Value {
    let mut own = json!({});
    if redirect["authority"].is_string() {
        own["host_redirect"] = redirect["authority"].clone();
    }
    if redirect["prefixRewrite"].is_string() {
        own["prefix_rewrite"] = redirect["prefixRewrite"].clone();
    } else if redirect["uri"].is_string() {
        own["path_redirect"] = redirect["uri"].clone();
    }
    if redirect["scheme"].is_string() {
        own["scheme_redirect"] = redirect["scheme"].clone();
    }
    let port = match redirect["derivePort"].as_str() {
        Some("FROM_REQUEST_PORT") => PORT.into(),
        _ => redirect["port"].as_u64().unwrap_or_default(),
    };
    let is_default = match redirect["scheme"].as_str().unwrap_or("http") {
        "https" => port == 443,
        _ => port == 80,
    };
    if port != 0 && !is_default {
        own["port_redirect"] = port.into();
    }
    own["response_code"] = match redirect["redirectCode"].as_u64() {
        None | Some(301) => "MOVED_PERMANENTLY",
        Some(302) => "FOUND",
        Some(303) => "SEE_OTHER",
        Some(307) => "TEMPORARY_REDIRECT",
        _ => "PERMANENT_REDIRECT",
    }
    .into();
    own
}

/// `ApplyDirectResponse`
pub fn direct_response(response: &Value) -> Value {
    let mut own = json!({ "status": response["status"] });
    let body = &response["body"];
    if body["string"].is_string() {
        own["body"] = json!({ "inline_string": body["string"] });
    } else if body["bytes"].is_string() {
        own["body"] = json!({ "inline_bytes": body["bytes"] });
    }
    own
}
