//! `--to envoyextensionpolicy`: a policy of Envoy Gateway with the filters that need no routes.

use serde::Serialize;

use super::filter_entry::FailurePolicy;
use super::istio::Target;
use super::place::Place;
use super::templates;

/// What the policy is attached to.
#[derive(Clone, Debug, Serialize)]
pub struct Attached {
    kind: String,
    name: String,
}

impl std::str::FromStr for Attached {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((kind @ ("Gateway" | "HTTPRoute"), name)) if !name.is_empty() => {
                Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
            }
            _ => Err("must be Gateway/NAME or HTTPRoute/NAME"),
        }
    }
}

/// The context of the template `envoyextensionpolicy.yaml`.
#[derive(Serialize)]
struct EnvoyExtensionPolicy<'a> {
    document: minijinja::Value,
    namespace: Option<&'a str>,
    target: &'a Attached,
    sha256: Option<&'a str>,
    /// The dynamic module, if it has the filters
    native: Option<&'a str>,
    filters: Vec<Extension>,
}

/// One filter.
#[derive(Serialize)]
struct Extension {
    /// The name of the filter among others
    full_name: String,
    /// The name of the filter
    name: &'static str,
    source: Source,
    failure_policy: FailurePolicy,
}

/// Where Envoy Gateway gets a wasm module.
#[derive(Serialize)]
#[serde(tag = "type")]
enum Source {
    #[serde(rename = "HTTP")]
    Http {
        url: String,
    },
    Image {
        url: String,
    },
}

impl Source {
    fn of(url: String) -> Self {
        match url.strip_prefix("oci://") {
            Some(image) => Self::Image { url: image.to_owned() },
            None => Self::Http { url },
        }
    }
}

/// The policy of a target, with all filters: Envoy Gateway applies one policy to each Gateway or
/// route.
///
/// # Errors
/// A template that does not fit its context.
pub fn render(target: &Target<'_>, attached: &Attached) -> Result<String, minijinja::Error> {
    let modules = target.selection.modules();
    let context = EnvoyExtensionPolicy {
        document: templates::document(target.document),
        namespace: target.namespace(),
        target: attached,
        sha256: target.sha256,
        native: modules.first().and_then(|own| target.files.native(*own, Place::Http)),
        filters: modules
            .iter()
            .map(|own| Extension {
                full_name: own.full_name('-'),
                name: own.name(),
                source: Source::of(target.files.wasm(*own)),
                failure_policy: FailurePolicy::of(*own),
            })
            .collect(),
    };
    templates::render("envoyextensionpolicy.yaml", &context)
}
