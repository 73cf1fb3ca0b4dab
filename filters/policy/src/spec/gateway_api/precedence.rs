//! The precedence of matches of the Gateway API.

/// The rank of a match among those of all routes of a host; of two matches that a request
/// satisfies, the one with the greater rank is used. Source: `HTTPRouteRule.matches` and
/// `GRPCRouteRule.matches`. The specification leaves the rank of regular expressions open; istiod
/// ranks them below prefixes (`sortHTTPRoutes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// The kind of the condition on the path
    pub path: PathRank,
    /// Length of the path, or of the gRPC service
    pub length: usize,
    /// Length of the gRPC method
    pub method_length: usize,
    /// Whether there is a condition on the HTTP method
    pub has_method: bool,
    /// Number of conditions on headers
    pub headers: usize,
    /// Number of conditions on query parameters
    pub query: usize,
}

/// The kind of a condition on the path, lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathRank {
    /// No condition on the service and the method of gRPC
    Any,
    /// A regular expression
    Regex,
    /// A prefix; a condition on HTTP requests without a path has the prefix /
    #[default]
    Prefix,
    /// The whole path
    Exact,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_compared_in_the_order_of_the_specification() {
        let any = Rank::default();
        let ranks = [
            Rank { path: PathRank::Any, headers: 9, ..any },
            Rank { path: PathRank::Regex, length: 99, query: 9, ..any },
            any,
            Rank { query: 1, ..any },
            Rank { headers: 1, ..any },
            Rank { headers: 1, query: 1, ..any },
            Rank { headers: 2, ..any },
            Rank { has_method: true, ..any },
            Rank { method_length: 1, ..any },
            Rank { length: 1, ..any },
            Rank { length: 2, ..any },
            Rank { path: PathRank::Exact, ..any },
        ];
        assert!(ranks.is_sorted_by(|left, right| left < right));
    }
}
