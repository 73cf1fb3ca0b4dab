//! Finds the first rule that matches a request without a check of all rules.
//!
//! The index lists each rule under one of its conditions: the one that the fewest rules share. For
//! a request, the index looks up the path, the prefixes of the path, the headers, the query
//! parameters and so on, and gets lists of candidates. The candidates are checked in the order of
//! the rules. Rules without a condition that the index supports are candidates for every request.
//! Conditions are compared only by a hash of 32 bits. Two conditions with the same hash cause
//! additional candidates, and the check rejects these.

mod lists;

use self::lists::{Entry, Lists};
use crate::hash::Hash;
use crate::name_set::NameSet;
use crate::request::Request;
use crate::request::header_map::NameFilter;
use crate::sort::sort;

/// Maximum number of rules without an index. Checking so few rules is faster than a lookup.
const MAX_UNINDEXED_RULES: usize = 4;

/// Maximum number of header names that are each searched in the request. If the rules use more
/// names, each header of the request is looked up in the index instead.
const MAX_SEARCHED_NAMES: usize = 4;

/// Maximum number of candidate lists that are merged. Further lists are checked one after another.
const MAX_MERGED_LISTS: usize = 8;

/// The part of a request that a condition tests.
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
    /// The path, without regard to case
    PathInAnyCase,
    /// A query parameter
    Query(&'a [u8]),
}

/// A test that a value must pass. It may be weaker than the condition of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// The value is equal to this one.
    Exact(&'a [u8]),
    /// The value starts with this prefix.
    Prefix(&'a [u8]),
    /// The value is present.
    Present,
}

/// A necessary condition of a rule: the rule matches only if the subject passes the test.
pub type Key<'a> = (Subject<'a>, Need<'a>);

/// An index of rules by their conditions.
#[derive(Debug, Default)]
pub struct RuleIndex {
    count: u32,
    /// Rules without a condition, which are candidates for every request
    unconditional: Vec<Entry>,
    lists: Lists,
    /// The lookups for each subject, sorted by the hash of the subject
    subjects: Vec<(u32, Lookups)>,
    /// The header names among the subjects; incomplete if longer than [`MAX_SEARCHED_NAMES`]
    header_names: Vec<Box<[u8]>>,
    /// All header names among the subjects
    header_filter: NameFilter,
    has_path: bool,
    has_path_in_any_case: bool,
    has_method: bool,
    has_authority: bool,
    has_query: bool,
}

/// The lookups that are needed for a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lookups {
    exact: bool,
    present: bool,
    /// The distinct lengths of prefixes, sorted
    prefixes: Vec<usize>,
}

impl RuleIndex {
    /// Indexes the rules from 0 to `count - 1`. `read_keys` replaces a list by the keys of a rule.
    #[inline(never)]
    pub fn new<'a>(count: usize, read_keys: &dyn Fn(usize, &mut Vec<Key<'a>>)) -> Self {
        let mut index = Self { count: u32::try_from(count).unwrap_or(u32::MAX), ..Self::default() };
        if count <= MAX_UNINDEXED_RULES {
            return index;
        }
        // First pass: the lists of all conditions, to find the rarest condition of each rule.
        let (mut by_condition, mut entries, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let mut places = NameSet::default();
        let mut open = Vec::new(); // indices of the entries of rules with several conditions
        for rule in 0..index.count {
            read_keys(rule as usize, &mut keys);
            by_condition.extend(keys.iter().map(|key| Entry { hash: hash(key), rule }));
            match &*keys {
                [] => {
                    index.unconditional.push(Entry { hash: 0, rule });
                    continue;
                }
                [key] => index.register(key, &mut places),
                [..] => open.push(entries.len()),
            }
            entries.push(Entry { hash: keys.first().map_or(0, hash), rule });
        }
        let by_condition =
            if open.is_empty() { Lists::default() } else { Lists::new(by_condition) };
        for place in open {
            let Some(entry) = entries.get_mut(place) else { continue };
            read_keys(entry.rule as usize, &mut keys);
            let rarity = |key: &&Key<'_>| (by_condition.get(hash(key)).len(), rank(key));
            if let Some(key) = keys.iter().min_by_key(rarity) {
                entry.hash = hash(key);
                index.register(key, &mut places);
            }
        }
        index.lists = Lists::new(entries);
        sort(&mut index.subjects, |(left, _), (right, _)| left.cmp(right));
        index
    }

    /// Registers the lookups for a condition. `places` finds subjects, which are not sorted yet.
    fn register(&mut self, (subject, need): &Key<'_>, places: &mut NameSet) {
        match subject {
            Subject::Authority => self.has_authority = true,
            Subject::Header(name) => {
                self.header_filter = self.header_filter.with(name);
                let is_known = self.header_names.iter().any(|known| **known == **name);
                if !is_known && self.header_names.len() <= MAX_SEARCHED_NAMES {
                    self.header_names.push((*name).into());
                }
            }
            Subject::Method => self.has_method = true,
            Subject::Path => self.has_path = true,
            Subject::PathInAnyCase => self.has_path_in_any_case = true,
            Subject::Query(_) => self.has_query = true,
        }
        let hash = subject.hash().finish();
        let place = places.add(&hash.to_le_bytes());
        if place == self.subjects.len() {
            self.subjects.push((hash, Lookups::default()));
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

    /// The result of `check` for the first rule for which it returns `Some`. `check` is called only
    /// for candidates, and not always in the order of rules.
    #[inline]
    pub fn first<T>(
        &self,
        request: &Request<'_>,
        mut check: impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        if self.lists.is_empty() && self.unconditional.is_empty() {
            return (0..self.count as usize).find_map(check);
        }
        let mut candidates = Candidates { lists: [&[]; MAX_MERGED_LISTS], len: 0, end: u32::MAX };
        let mut found = None;
        let mut add = |list| {
            if let Some(full) = candidates.add(list) {
                found = candidates.check_list(full, &mut check).or(found.take());
            }
        };
        self.collect(request, &mut add);
        add(&self.unconditional);
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
        if self.header_names.len() <= MAX_SEARCHED_NAMES {
            for name in &self.header_names {
                if let Some(value) = request.values(name) {
                    self.add_lists(Subject::Header(name), &value, add);
                }
            }
        } else if self.header_filter.may_meet(request.names()) {
            for (place, (name, _)) in request.headers().iter().enumerate() {
                // The value of a repeated header is the joined value of all its headers.
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
        let subject_hash = subject.hash();
        let Ok(place) =
            self.subjects.binary_search_by_key(&subject_hash.finish(), |(hash, _)| *hash)
        else {
            return;
        };
        let Some((_, lookups)) = self.subjects.get(place) else { return };
        if lookups.exact {
            add(self.lists.get(subject_hash.with(EXACT).with_value(value).finish()));
        }
        let (mut prefix, mut written) = (subject_hash.with(PREFIX), 0);
        for length in &lookups.prefixes {
            let Some(more) = value.get(written..*length) else { break };
            prefix = prefix.extend(more);
            written = *length;
            add(self.lists.get(prefix.finish()));
        }
        if lookups.present {
            add(self.lists.get(subject_hash.with(PRESENT).finish()));
        }
    }
}

/// Lists of candidates, each in the order of rules, which are merged.
struct Candidates<'i> {
    lists: [&'i [Entry]; MAX_MERGED_LISTS],
    len: usize,
    /// The first rule for which a match was found already; later rules need no check
    end: u32,
}

impl<'i> Candidates<'i> {
    /// Adds a list. Returns it if the maximum number of lists is reached.
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

    /// The next candidate of all lists, in the order of rules.
    #[inline]
    fn next(&mut self) -> Option<u32> {
        let lists = self.lists.get_mut(..self.len)?;
        let rule = |list: &&mut &[Entry]| list.first().map_or(u32::MAX, |entry| entry.rule);
        let list = lists.iter_mut().min_by_key(rule)?;
        let (entry, rest) = list.split_first()?;
        *list = rest;
        (entry.rule < self.end).then_some(entry.rule)
    }

    /// Checks one list. Returns its first match if it is before the matches of all other lists.
    #[inline]
    fn check_list<T>(
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
    /// Returns whether a request may be without this subject.
    pub fn may_be_absent(self) -> bool {
        matches!(self, Self::Header(_) | Self::Query(_))
    }

    /// The hash of this subject. The hashes of its conditions extend it.
    #[inline]
    fn hash(self) -> ConditionHash {
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
    let subject_hash = subject.hash();
    let hash = match need {
        Need::Exact(value) => subject_hash.with(EXACT).with_value(value),
        Need::Prefix(prefix) => subject_hash.with(PREFIX).extend(prefix),
        Need::Present => subject_hash.with(PRESENT),
    };
    hash.finish()
}

/// The order of conditions that the same number of rules share. The conditions that fewer requests
/// are likely to satisfy come first.
fn rank((subject, need): &Key<'_>) -> usize {
    match (subject, need) {
        (Subject::Method, _) => usize::MAX - 1,
        (_, Need::Present) => usize::MAX,
        (_, Need::Prefix(prefix)) => (usize::MAX / 2).saturating_sub(prefix.len()),
        (_, Need::Exact(_)) => 0,
    }
}

/// The hash of a subject, and of the condition if it was added.
#[derive(Clone, Copy)]
struct ConditionHash {
    bytes: Hash,
    in_any_case: bool,
}

impl ConditionHash {
    /// Adds one byte.
    #[inline]
    fn with(mut self, byte: u8) -> Self {
        self.bytes.byte(byte);
        self
    }

    /// Adds a complete value. Nothing can be added after it.
    #[inline]
    fn with_value(mut self, value: &[u8]) -> Self {
        if self.in_any_case {
            return self.extend(value);
        }
        self.bytes.piece(value);
        self
    }

    /// Adds the next bytes of a text. More bytes can be added later, so one pass gives the hashes
    /// of all prefixes of a text.
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
