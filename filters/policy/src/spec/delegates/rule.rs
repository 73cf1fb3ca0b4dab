//! How the fields of routes and matches are merged.

/// How the fields of two routes or matches become one. Unless it says otherwise, the field of the
/// delegate replaces the other, and fields do not conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A condition on a value. The delegate's must be a part of the other.
    Condition,
    /// Conditions by name. Both apply, and each of the delegate's must be a part of the other.
    Conditions,
    /// Destinations, whose short hosts are in the namespace of their virtual service.
    Destinations,
    /// A flag, which both must have or neither.
    Flag,
    /// Names of gateways. The delegate's must be among the others.
    Gateways,
    /// Labels. Both apply, and those with the same name must be equal.
    Labels,
    /// A name. Both are joined.
    Name,
    /// A namespace. The delegate must have it too.
    Namespace,
    /// A field of the delegate, else of the route with `delegate`.
    Plain,
    /// A port number. Both must be equal.
    Port,
}

/// The fields of a match.
pub const MATCH: [(&str, Rule); 14] = [
    ("name", Rule::Name),
    ("uri", Rule::Condition),
    ("ignoreUriCase", Rule::Flag),
    ("scheme", Rule::Condition),
    ("method", Rule::Condition),
    ("authority", Rule::Condition),
    ("headers", Rule::Conditions),
    ("withoutHeaders", Rule::Conditions),
    ("queryParams", Rule::Conditions),
    ("port", Rule::Port),
    ("sourceLabels", Rule::Labels),
    ("sourceNamespace", Rule::Namespace),
    ("gateways", Rule::Gateways),
    ("statPrefix", Rule::Plain),
];

/// The fields of a route, without `match` and `delegate`.
pub const ROUTE: [(&str, Rule); 14] = [
    ("name", Rule::Name),
    ("route", Rule::Destinations),
    ("redirect", Rule::Plain),
    ("directResponse", Rule::Plain),
    ("rewrite", Rule::Plain),
    ("timeout", Rule::Plain),
    ("retries", Rule::Plain),
    ("fault", Rule::Plain),
    ("mirror", Rule::Destinations),
    ("mirrorPercentage", Rule::Plain),
    ("mirrorPercent", Rule::Plain),
    ("mirrors", Rule::Destinations),
    ("corsPolicy", Rule::Plain),
    ("headers", Rule::Plain),
];
