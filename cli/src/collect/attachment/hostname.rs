//! Hostnames of listeners and routes: names and `*.SUFFIX`, in lower case.

/// The hosts of a route on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hostnames {
    /// All hosts
    All,
    /// These hosts; none if empty
    Names(Vec<String>),
}

impl Hostnames {
    /// The hosts of a route; all if it has no hostnames.
    pub fn new(names: &[String]) -> Self {
        if names.is_empty() { Self::All } else { Self::Names(names.to_vec()) }
    }

    /// The hosts that a listener has in common with these. A listener without a hostname has all.
    pub fn intersect(self, listener: Option<&str>) -> Self {
        match (listener, self) {
            (None, own) => own,
            (Some(listener), Self::All) => Self::Names(vec![listener.to_owned()]),
            (Some(listener), Self::Names(names)) => {
                let common = |name: String| match () {
                    () if includes(listener, &name) => Some(name),
                    () if includes(&name, listener) => Some(listener.to_owned()),
                    () => None,
                };
                let common = names.into_iter().filter_map(common).collect();
                Self::Names(Vec::new()).union(Self::Names(common))
            }
        }
    }

    /// These hosts without those that other hostnames include.
    pub fn without(self, others: &[&str]) -> Self {
        let is_free = |name: &String| !others.iter().any(|other| includes(other, name));
        match self {
            Self::All => Self::All,
            Self::Names(names) => Self::Names(names.into_iter().filter(is_free).collect()),
        }
    }

    /// The hosts of both, each once.
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Names(mut names), Self::Names(others)) => {
                for name in others {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                Self::Names(names)
            }
            _ => Self::All,
        }
    }

    /// Returns whether there is no host.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Names(names) if names.is_empty())
    }

    /// The hosts; `None` for all.
    pub fn into_names(self) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Names(names) => Some(names),
        }
    }
}

/// Returns whether a hostname is, or includes, `name`, which can be a wildcard too. A wildcard
/// stands for one or more labels.
pub fn includes(hostname: &str, name: &str) -> bool {
    let suffix = hostname.strip_prefix('*');
    hostname == name
        || suffix.is_some_and(|suffix| {
            name.strip_suffix(suffix).is_some_and(|rest| !matches!(rest, "" | "*"))
        })
}
