//! Finds the first of many rules that matches without looking at all of them.
//!
//! Each rule stands under one of its conditions: the one that the fewest rules share. A request looks
//! up what it has (its path, the prefixes of it, its headers, its query parameters, ...) and gets lists
//! of candidates, which are checked in the order of the rules. Rules without a condition that can be
//! looked up are candidates of every request. Lists are found by hashes of 32 bits alone: should two
//! conditions have the same one, there are candidates too many, and these do not match.

mod lists;

use self::lists::{Entry, Lists};
use crate::lookup::hash::Hash;
use crate::request::Request;
use crate::request::header_map::NameFilter;

/// Up to this many rules are checked one after another, which takes less time than looking them up.
const FEW: usize = 4;

/// Up to this many names of headers are looked for in a request. Of more than these it is the headers of the
/// request that are looked for among the names.
const FEW_NAMES: usize = 4;

/// How many lists of candidates are kept in order. Those of further ones are checked list by list.
const LISTS: usize = 8;

/// What a condition is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// `:authority`
    Authority,
    /// A header
    Header(&'a [u8]),
    /// `:method`
    Method,
    /// The path
    Path,
    /// The path, in any case
    PathInAnyCase,
    /// A query parameter
    Query(&'a [u8]),
}

/// What a value has to have at least for a condition to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// It is this one.
    Exact(&'a [u8]),
    /// It starts with this.
    Prefix(&'a [u8]),
    /// It is there.
    Present,
}

/// A condition without which a rule does not match.
pub type Key<'a> = (Subject<'a>, Need<'a>);

/// Under which conditions rules stand.
#[derive(Debug, Default)]
pub struct RuleIndex {
    count: u32,
    /// Rules that no condition leads to
    always: Vec<Entry>,
    lists: Lists,
    /// By the hashes of their subjects, sorted
    subjects: Vec<(u32, Lookups)>,
    /// The header names among the subjects: all of them while there are few, and what tells most others
    /// from them
    header_names: Vec<Box<[u8]>>,
    header_filter: NameFilter,
    has_path: bool,
    has_path_in_any_case: bool,
    has_method: bool,
    has_authority: bool,
    has_query: bool,
}

/// What is looked up of a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lookups {
    exact: bool,
    present: bool,
    /// The lengths of prefixes, sorted
    prefixes: Vec<usize>,
}

impl RuleIndex {
    /// Enters rules by their conditions, given by `keys` for each rule from 0 to `count`.
    #[inline(never)]
    pub fn new<'a>(count: usize, keys: &dyn Fn(usize) -> Vec<Key<'a>>) -> Self {
        let mut index = Self { count: u32::try_from(count).unwrap_or(u32::MAX), ..Self::default() };
        if count <= FEW {
            return index;
        }
        // How many rules have each condition tells which of a rule's own leads to the fewest.
        let mut shared = Vec::new();
        for rule in 0..index.count {
            let keys = keys(rule as usize);
            shared.extend(keys.iter().map(|key| Entry { hash: hash(key), rule }));
        }
        let shared = Lists::new(shared);
        let mut entries = Vec::new();
        for rule in 0..index.count {
            let keys = keys(rule as usize);
            let chosen = keys.iter().min_by_key(|key| (shared.get(hash(key)).len(), rank(key)));
            let Some(key) = chosen else {
                index.always.push(Entry { hash: 0, rule });
                continue;
            };
            entries.push(Entry { hash: hash(key), rule });
            index.register(key);
        }
        index.lists = Lists::new(entries);
        index
    }

    fn register(&mut self, (subject, need): &Key<'_>) {
        match subject {
            Subject::Authority => self.has_authority = true,
            Subject::Header(name) => {
                self.header_filter = self.header_filter.with(name);
                let is_known = self.header_names.iter().any(|known| **known == **name);
                if !is_known && self.header_names.len() <= FEW_NAMES {
                    self.header_names.push((*name).into());
                }
            }
            Subject::Method => self.has_method = true,
            Subject::Path => self.has_path = true,
            Subject::PathInAnyCase => self.has_path_in_any_case = true,
            Subject::Query(_) => self.has_query = true,
        }
        let hash = subject.start().finish();
        let place = self.subjects.partition_point(|(known, _)| *known < hash);
        if self.subjects.get(place).is_none_or(|(known, _)| *known != hash) {
            self.subjects.insert(place, (hash, Lookups::default()));
        }
        let Some((_, lookups)) = self.subjects.get_mut(place) else { return };
        match need {
            Need::Exact(_) => lookups.exact = true,
            Need::Present => lookups.present = true,
            Need::Prefix(prefix) => {
                if let Err(place) = lookups.prefixes.binary_search(&prefix.len()) {
                    lookups.prefixes.insert(place, prefix.len());
                }
            }
        }
    }

    /// What `check` finds for the first rule for which it finds anything. It is asked about candidates
    /// only, and not always in order.
    #[inline]
    pub fn first<T>(
        &self,
        request: &Request<'_>,
        mut check: impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        if self.lists.is_empty() && self.always.is_empty() {
            return (0..self.count as usize).find_map(check);
        }
        let mut candidates = Candidates { lists: [&[]; LISTS], len: 0, end: u32::MAX };
        let mut found = None;
        let mut add = |list| {
            if let Some(full) = candidates.add(list) {
                found = candidates.first_in(full, &mut check).or(found.take());
            }
        };
        self.collect(request, &mut add);
        add(&self.always);
        while let Some(rule) = candidates.next() {
            let matched = check(rule as usize);
            if matched.is_some() {
                return matched;
            }
        }
        found
    }

    #[inline]
    fn collect<'i>(&'i self, request: &Request<'_>, add: &mut dyn FnMut(&'i [Entry])) {
        if self.has_path {
            self.add_lists(Subject::Path, request.path(), add);
        }
        if self.has_path_in_any_case {
            self.add_lists(Subject::PathInAnyCase, request.path(), add);
        }
        if self.has_method {
            self.add_lists(Subject::Method, request.method, add);
        }
        if self.has_authority {
            self.add_lists(Subject::Authority, request.authority, add);
        }
        if self.header_names.len() <= FEW_NAMES {
            for name in &self.header_names {
                if let Some(value) = request.values(name) {
                    self.add_lists(Subject::Header(name), &value, add);
                }
            }
        } else if self.header_filter.may_meet(request.names()) {
            for (place, (name, _)) in request.headers().iter().enumerate() {
                // The value of a repeated header is that of all of them.
                if self.header_filter.may_have(name)
                    && let Some(value) = request.values_at(place)
                {
                    self.add_lists(Subject::Header(name), &value, add);
                }
            }
        }
        if self.has_query {
            for (name, value) in request.query_parameters() {
                self.add_lists(Subject::Query(name), value, add);
            }
        }
    }

    #[inline]
    fn add_lists<'i>(
        &'i self,
        subject: Subject<'_>,
        value: &[u8],
        add: &mut dyn FnMut(&'i [Entry]),
    ) {
        let start = subject.start();
        let Ok(place) = self.subjects.binary_search_by_key(&start.finish(), |(hash, _)| *hash)
        else {
            return;
        };
        let Some((_, lookups)) = self.subjects.get(place) else { return };
        if lookups.exact {
            add(self.lists.get(start.with(EXACT).whole(value).finish()));
        }
        let (mut prefix, mut written) = (start.with(PREFIX), 0);
        for length in &lookups.prefixes {
            let Some(more) = value.get(written..*length) else { break };
            prefix = prefix.extend(more);
            written = *length;
            add(self.lists.get(prefix.finish()));
        }
        if lookups.present {
            add(self.lists.get(start.with(PRESENT).finish()));
        }
    }
}

/// Lists of candidates, each in the order of rules.
struct Candidates<'i> {
    lists: [&'i [Entry]; LISTS],
    len: usize,
    /// The first rule that is already known to match
    end: u32,
}

impl<'i> Candidates<'i> {
    /// Adds a list, or gives it back when there are too many.
    #[inline]
    fn add(&mut self, list: &'i [Entry]) -> Option<&'i [Entry]> {
        if list.is_empty() {
            return None;
        }
        let Some(free) = self.lists.get_mut(self.len) else { return Some(list) };
        *free = list;
        self.len += 1;
        None
    }

    /// The next candidate of all lists.
    #[inline]
    fn next(&mut self) -> Option<u32> {
        let lists = self.lists.get_mut(..self.len)?;
        let rule = |list: &&mut &[Entry]| list.first().map_or(u32::MAX, |entry| entry.rule);
        let list = lists.iter_mut().min_by_key(rule)?;
        let (entry, rest) = list.split_first()?;
        *list = rest;
        (entry.rule < self.end).then_some(entry.rule)
    }

    /// What is found in one list, where it comes before all that was found in others.
    #[inline]
    fn first_in<T>(
        &mut self,
        list: &[Entry],
        check: &mut impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        let before = list.iter().take_while(|entry| entry.rule < self.end);
        let (rule, found) =
            before.map(|entry| entry.rule).find_map(|rule| Some((rule, check(rule as usize)?)))?;
        self.end = rule;
        Some(found)
    }
}

const EXACT: u8 = b'=';
const PREFIX: u8 = b'^';
const PRESENT: u8 = b'?';

impl Subject<'_> {
    /// Whether requests may be without it.
    pub fn may_be_absent(self) -> bool {
        matches!(self, Self::Header(_) | Self::Query(_))
    }

    /// The hash of everything about this subject starts so.
    #[inline]
    fn start(self) -> ConditionHash {
        let in_any_case = self == Self::PathInAnyCase;
        let mut hash = ConditionHash { bytes: Hash::default(), in_any_case };
        let (kind, name): (u8, &[u8]) = match self {
            Self::Authority => (b'a', &[]),
            Self::Header(name) => (b'h', name),
            Self::Method => (b'm', &[]),
            Self::Path => (b'p', &[]),
            Self::PathInAnyCase => (b'i', &[]),
            Self::Query(name) => (b'q', name),
        };
        hash.bytes.byte(kind);
        hash.bytes.piece(name);
        hash
    }
}

#[inline(never)]
fn hash((subject, need): &Key<'_>) -> u32 {
    let start = subject.start();
    let hash = match need {
        Need::Exact(value) => start.with(EXACT).whole(value),
        Need::Prefix(prefix) => start.with(PREFIX).extend(prefix),
        Need::Present => start.with(PRESENT),
    };
    hash.finish()
}

/// Of conditions that equally many rules share, the one that requests are less likely to meet comes
/// first.
fn rank((subject, need): &Key<'_>) -> usize {
    match (subject, need) {
        (Subject::Method, _) => usize::MAX - 1,
        (_, Need::Present) => usize::MAX,
        (_, Need::Prefix(prefix)) => (usize::MAX / 2).saturating_sub(prefix.len()),
        (_, Need::Exact(_)) => 0,
    }
}

/// The hash of a subject and what follows it.
#[derive(Clone, Copy)]
struct ConditionHash {
    bytes: Hash,
    in_any_case: bool,
}

impl ConditionHash {
    /// This, followed by one byte.
    #[inline]
    fn with(mut self, byte: u8) -> Self {
        self.bytes.byte(byte);
        self
    }

    /// This, followed by a value after which nothing comes.
    #[inline]
    fn whole(mut self, value: &[u8]) -> Self {
        if self.in_any_case {
            return self.extend(value);
        }
        self.bytes.piece(value);
        self
    }

    /// This, followed by bytes after which others may come: the hashes of all prefixes of a text take one
    /// pass.
    #[inline]
    fn extend(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.bytes.byte(if self.in_any_case { byte.to_ascii_lowercase() } else { *byte });
        }
        self
    }

    #[inline]
    fn finish(self) -> u32 {
        (self.bytes.finish() >> 32) as u32
    }
}

#[cfg(test)]
mod tests;
