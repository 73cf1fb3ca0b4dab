//! `mirroring` of a document: settings that apply to all mirrors. Istio has none of them. Every
//! setting is off if its field is absent.

use super::compare::Compare;
use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::request::Request;
use crate::spec::header_condition::HeaderCondition;
use crate::spec::mode::{MODES, Mode};
use crate::spec::string_match::StringMatch;
use crate::value::budget::Budget;
use crate::value::method::read_methods;

/// Settings that apply to the mirrors of all routes.
#[derive(Clone, Debug, Default)]
pub struct MirrorSettings {
    /// Whether requests are copied, or copies are only counted
    pub mode: Mode,
    /// Methods of the requests that are copied; all methods if empty, as in Istio
    methods: Vec<Box<[u8]>>,
    /// Conditions that a request must satisfy to be copied
    headers: Vec<HeaderCondition>,
    /// Maximum number of requests that a worker copies per window; no limit if absent
    pub budget: Option<Budget>,
    /// How responses to copies are compared with the original responses; not compared if absent
    pub compare: Option<Compare>,
}

/// `mirroring.budget`
struct MirrorBudget;

fields!(MirrorBudget, "Limits the number of copied requests per time window.", {
    "requests" required: Kind::COUNT => "Maximum number of copied requests per window.";
    "window" required: Kind::Duration => "Length of the window, such as 1s.";
});

fields!(MirrorSettings as "Mirroring",
    "Which requests may be copied, and how responses to copies are compared.", {
    "mode": Kind::OneOf(&MODES) =>
        "enforce (default) copies requests, shadow only counts the copies.";
    "methods": Kind::METHODS => "Methods of the requests that are copied; all if absent.";
    "headers": Kind::Map(&Kind::Object(StringMatch::schema)) =>
        "Conditions on headers that a request must satisfy to be copied; none if absent.";
    "budget": Kind::Object(MirrorBudget::schema) =>
        "Maximum number of requests that a worker copies per time window; no limit if absent.";
    "compare": Kind::AnyOf(&Kind::Object(Compare::schema), &["statuses", "headers", "bodyHash"]) =>
        "Compares responses to copies with the original responses; not compared if absent.";
});

impl MirrorSettings {
    /// Reads `mirroring: { mode, methods, headers, budget, compare }`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let mode = object.optional("mode", Mode::read);
        let methods = object.optional("methods", read_methods);
        let headers = object.optional("headers", HeaderCondition::read_all);
        let budget =
            object.optional("budget", |node| Budget::read::<MirrorBudget>(node, "requests"));
        let compare = object.optional("compare", Compare::read);
        Ok(Self {
            mode: mode?.unwrap_or_default(),
            methods: methods?.unwrap_or_default(),
            headers: headers?.unwrap_or_default(),
            budget: budget?,
            compare: compare?,
        })
    }

    /// Returns whether a request has one of the methods and satisfies the header conditions.
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
    fn methods_and_headers_must_match() {
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
    fn rejects_invalid_fields() {
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
             percentage: unknown field, the fields here are mode, methods, headers, budget, \
             compare"
        );
        let empty = testing::read(r#"{"methods": []}"#, MirrorSettings::read);
        assert_eq!(empty.unwrap_err(), "methods: must not be empty");
    }
}
