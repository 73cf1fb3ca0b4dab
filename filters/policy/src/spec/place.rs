//! Place of a rule in the document.

use std::fmt;

/// Place of a virtual service, of one of its HTTP routes, or of a match of such a route; or of a
/// route of the Gateway API, of one of its rules, or of a match of such a rule. It is displayed as
/// a JSON path: `virtualServices[0].http[1].match[2]` or `httpRoutes[0].rules[1].matches[2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    list: List,
    service: u32,
    route: Option<u32>,
    matched: Option<u32>,
}

/// List of a document that contains rules for HTTP requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// `faults.rules`
    FaultRules,
    /// `grpcRoutes`
    GrpcRoutes,
    /// `httpRoutes`
    HttpRoutes,
    /// `shadow.virtualServices`
    ShadowVirtualServices,
    /// `virtualServices`
    VirtualServices,
}

impl List {
    /// Returns the name of the list.
    pub fn name(self) -> &'static str {
        match self {
            Self::FaultRules => "faults.rules",
            Self::GrpcRoutes => "grpcRoutes",
            Self::HttpRoutes => "httpRoutes",
            Self::ShadowVirtualServices => "shadow.virtualServices",
            Self::VirtualServices => "virtualServices",
        }
    }
}

impl Place {
    /// Returns the place of the element of `list` with the index `index`.
    pub fn of_element(list: List, index: usize) -> Self {
        Self { list, service: number(index), route: None, matched: None }
    }

    /// Returns the place of the HTTP route with the index `index` in the virtual service.
    pub fn route(self, index: usize) -> Self {
        Self { route: Some(number(index)), matched: None, ..self }
    }

    /// Returns the place of the match with the index `index` in the HTTP route.
    pub fn matched(self, index: usize) -> Self {
        Self { matched: Some(number(index)), ..self }
    }

    /// Returns the place of the route that contains the match; `self` if this is no match.
    pub fn of_route(self) -> Self {
        Self { matched: None, ..self }
    }
}

impl Place {
    /// Returns the JSON path. It is not formatted, because it is the name of most rules.
    pub fn path(self) -> String {
        let mut path = String::with_capacity(64);
        let [route, matched] = match self.list {
            List::FaultRules | List::ShadowVirtualServices | List::VirtualServices => {
                [".http", ".match"]
            }
            List::GrpcRoutes | List::HttpRoutes => [".rules", ".matches"],
        };
        push_index(&mut path, self.list.name(), self.service);
        self.route.iter().for_each(|index| push_index(&mut path, route, *index));
        self.matched.iter().for_each(|index| push_index(&mut path, matched, *index));
        path
    }
}

#[inline(never)]
fn push_index(path: &mut String, name: &str, index: u32) {
    path.push_str(name);
    path.push('[');
    push_digits(path, index);
    path.push(']');
}

fn push_digits(text: &mut String, number: u32) {
    if number >= 10 {
        push_digits(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// Places of a route and its matches.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Place of the route, or of the delegate's route if it is merged
    pub route: Place,
    /// Places of the matches of a merged route; `None` for a route as it is written
    pub matches: Option<&'a [Place]>,
}

impl Places<'_> {
    /// Returns the place of the match with the index `index`.
    pub fn of_match(self, index: usize) -> Place {
        let merged = self.matches.and_then(|matches| matches.get(index));
        merged.copied().unwrap_or_else(|| self.route.matched(index))
    }
}

/// Converts an index. A document has fewer than 2^32 elements, so the limit is never reached.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}
