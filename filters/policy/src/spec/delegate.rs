//! `delegate` of a route, which names a virtual service without hosts. Its HTTP routes replace the
//! route.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::proxy::read_namespace;
use crate::spec::scope::Scope;

/// `delegate` of a route.
pub struct Delegate;

fields!(Delegate, "A VirtualService without hosts, whose HTTP routes replace this one.", {
    "name" required: Kind::Text => "Name of the VirtualService.";
    "namespace": Kind::OPTIONAL_LABEL =>
        "Namespace of the VirtualService; if absent, that of the one that has this route.";
});

impl Delegate {
    /// Checks the field.
    pub fn check(node: &Node<'_>, scope: &Scope<'_>) -> Result<(), Reported> {
        if scope.is_delegate {
            return Err(node.error("cannot be used in a delegate"));
        }
        let object = node.object::<Self>()?;
        let name = object.required("name").and_then(|node| node.string());
        object.given("namespace").map(|node| read_namespace(&node)).transpose()?;
        name.map(|_| ())
    }
}

/// A route with `delegate`, before the routes of the delegate replace it.
#[derive(Clone, Copy, Debug)]
pub struct Delegation {
    /// Index of the route
    pub route: usize,
    /// Number of the virtual service's rules before the route
    pub rules_before: usize,
}
