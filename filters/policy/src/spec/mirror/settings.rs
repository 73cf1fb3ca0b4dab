//! `mirroring` of a document: what is the same for all mirrors. All of it is beyond Istio, and off
//! unless it is given.

use super::compare::Compare;
use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::request::Request;
use crate::spec::header_condition::HeaderCondition;
use crate::spec::string_match::StringMatch;
use crate::value::budget::Budget;
use crate::value::method::read_methods;

/// What holds for the mirrors of all routes.
#[derive(Clone, Debug, Default)]
pub struct MirrorSettings {
    /// Only requests with one of these methods are copied; all methods when empty, as in Istio
    methods: Vec<Box<[u8]>>,
    /// Only requests that fulfil these conditions are copied
    headers: Vec<HeaderCondition>,
    /// Maximum number of requests of a worker that are copied per window; no limit when absent
    pub budget: Option<Budget>,
    /// How answers to copies are compared with the originals; not at all when absent
    pub compare: Option<Compare>,
}

/// `mirroring.budget`
struct MirrorBudget;

fields!(MirrorBudget, "At most a number of copied requests per window.", {
    "requests" required: Kind::COUNT => "Number of requests.";
    "window" required: Kind::Text => "Length of the window, such as 1s.";
});

fields!(MirrorSettings as "Mirroring", "Conditions on copies, and how copies are compared.", {
    "methods": Kind::TEXTS => "Only requests with these methods are copied; all if absent.";
    "headers": Kind::Map(&Kind::Object(StringMatch::schema)) =>
        "Only requests with these headers are copied.";
    "budget": Kind::Object(MirrorBudget::schema) =>
        "Maximum number of requests of a worker that are copied per window.";
    "compare": Kind::Object(Compare::schema) =>
        "How the answers to copies are compared with the originals.";
});

impl MirrorSettings {
    /// Reads `mirroring: { methods, headers, budget, compare }`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let methods = object.optional("methods", read_methods);
        let headers = object.optional("headers", HeaderCondition::read_all);
        let budget =
            object.optional("budget", |node| Budget::read::<MirrorBudget>(node, "requests"));
        let compare = object.optional("compare", Compare::read);
        Ok(Self {
            methods: methods?.unwrap_or_default(),
            headers: headers?.unwrap_or_default(),
            budget: budget?,
            compare: compare?,
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
             budget.requests: -1 is not in the range 0 to 4294967295\n\
             percentage: unknown field, the fields here are methods, headers, budget, compare"
        );
        let empty = testing::read(r#"{"methods": []}"#, MirrorSettings::read);
        assert_eq!(empty.unwrap_err(), "methods: must not be empty");
    }
}
