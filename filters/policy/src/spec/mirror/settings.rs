//! `mirroring` of a document: what is the same for all mirrors. All of it is beyond Istio, and off
//! unless it is given.

use super::compare::Compare;
use crate::document::node::Node;
use crate::request::Request;
use crate::spec::header_condition::HeaderCondition;
use crate::value::budget::Budget;
use crate::value::method::read_methods;

/// What holds for the mirrors of all routes.
#[derive(Clone, Debug, Default)]
pub struct MirrorSettings {
    /// Only requests with one of these methods are copied; all methods when empty, as in Istio
    methods: Vec<Box<[u8]>>,
    /// Only requests whose headers are so are copied
    headers: Vec<HeaderCondition>,
    /// How many requests a worker may have copied in a while; no limit when absent
    pub budget: Option<Budget>,
    /// How copies are compared with their originals; they are not when absent
    pub compare: Option<Compare>,
}

impl MirrorSettings {
    /// Reads `mirroring: { methods, headers, budget, compare }`.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        Some(Self {
            methods: object.field("methods").map_or(Vec::new(), |node| read_methods(&node)),
            headers: object
                .field("headers")
                .map_or(Vec::new(), |node| HeaderCondition::read_all(&node)),
            budget: object.field("budget").and_then(|node| Budget::read(&node, "requests")),
            compare: object.field("compare").and_then(|node| Compare::read(&node)),
        })
    }

    /// Whether a request may be copied.
    pub fn is_eligible(&self, request: &Request<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|method| **method == *request.method))
            && self.headers.iter().all(|condition| condition.holds(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FixedAttributes, pairs};

    #[test]
    fn conditions_have_to_hold_together() {
        let text =
            r#"{"methods": ["GET", "PUT"], "headers": {"x-tier": {"exact": "gold"}, "y": {}}}"#;
        let settings = testing::read(text, MirrorSettings::read).unwrap();
        let attributes = FixedAttributes::default();
        let eligible = |headers: &[(&str, &str)]| {
            settings.is_eligible(&Request::new(&pairs(headers), &attributes))
        };
        assert!(eligible(&[(":method", "PUT"), ("x-tier", "gold"), ("y", "")]));
        assert!(!eligible(&[(":method", "POST"), ("x-tier", "gold"), ("y", "")]));
        assert!(!eligible(&[(":method", "GET"), ("x-tier", "tin"), ("y", "")]));
        assert!(!eligible(&[(":method", "GET"), ("x-tier", "gold")]));
        let all = testing::read("{}", MirrorSettings::read).unwrap();
        assert!(all.is_eligible(&Request::new(&pairs(&[(":method", "DELETE")]), &attributes)));
        assert!(all.budget.is_none() && all.compare.is_none());
    }

    #[test]
    fn refusals() {
        let text = r#"{"methods": ["get", "a b", 1], "headers": {":status": {}, "x": {"exact": 1}},
            "budget": {"requests": -1}, "percentage": {}}"#;
        assert_eq!(
            testing::read(text, MirrorSettings::read).unwrap_err(),
            "methods[0]: \"get\" is not a method in upper case\n\
             methods[1]: \"a b\" is not a method in upper case\n\
             methods[2]: 1 is not a string\n\
             headers[\":status\"]: \":status\" is a pseudo-header that cannot be used here\n\
             headers.x.exact: 1 is not a string\n\
             budget.window: is required\n\
             budget.requests: -1 is not in 0..=4294967295\n\
             percentage: unknown field, known are methods, headers, budget, compare"
        );
        let empty = testing::read(r#"{"methods": []}"#, MirrorSettings::read);
        assert_eq!(empty.unwrap_err(), "methods: is empty");
    }
}
