//! The policies in use, by their documents: those of a VM, or of all workers if there is no VM.
//!
//! Envoy makes a plugin anew when anything about its listener changes, and several listeners may
//! have the same document. A worker serves no request while it compiles a document, so it takes the
//! policy of a plugin that still runs, if one has the same document. An update then costs time and
//! memory only for what it changes.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sluice_policy::hash::Hash;

type Entry = (Fingerprint, Weak<dyn Any + Send + Sync>);

static POLICIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

fn policies() -> MutexGuard<'static, Vec<Entry>> {
    // No panic leaves the list in a state that matters.
    POLICIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Identifies a document. Two documents that differ in one place, of up to eight bytes, never have
/// the same fingerprint. Others have it with a probability of 2^-64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash of the document
    pub hash: u64,
    length: usize,
}

impl Fingerprint {
    /// The fingerprint of a document.
    pub fn of(document: &[u8]) -> Self {
        let mut hash = Hash::default();
        hash.piece(document);
        Self { hash: hash.finish(), length: document.len() }
    }
}

/// Returns the policy that a plugin uses for the document.
pub fn find<P: Send + Sync + 'static>(document: Fingerprint) -> Option<Arc<P>> {
    let policies = policies();
    let found = policies.iter().filter(|(own, _)| *own == document);
    found.filter_map(|(_, policy)| policy.upgrade()?.downcast().ok()).next()
}

/// Adds the policy of a document, which is found as long as the result is in use.
pub fn add<P: Send + Sync + 'static>(document: Fingerprint, policy: P) -> Arc<P> {
    let policy = Arc::new(policy);
    let entry: Arc<dyn Any + Send + Sync> = Arc::<P>::clone(&policy);
    let mut policies = policies();
    policies.retain(|(_, policy)| policy.strong_count() > 0);
    policies.push((document, Arc::downgrade(&entry)));
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_found_as_long_as_it_is_in_use() {
        let (first, second) = (Fingerprint::of(b"a"), Fingerprint::of(b"b"));
        let policy = add(first, String::from("policy"));
        assert!(find::<String>(first).is_some_and(|found| Arc::ptr_eq(&found, &policy)));
        assert!(find::<String>(second).is_none() && find::<u8>(first).is_none());
        drop(policy);
        assert!(find::<String>(first).is_none());
        add(second, 0_u8);
        let is_kept = |document| policies().iter().any(|(own, _)| *own == document);
        assert!(!is_kept(first), "entries of dropped policies are removed");
    }

    /// What a worker does with a document.
    const STEPS: usize = 3;

    /// All orders in which workers can make this many steps each.
    fn orders(left: &[usize]) -> Vec<Vec<usize>> {
        if left.iter().all(|steps| *steps == 0) {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for worker in (0..left.len()).filter(|worker| left[*worker] > 0) {
            let mut rest = left.to_vec();
            rest[worker] -= 1;
            all.extend(orders(&rest).into_iter().map(|order| [vec![worker], order].concat()));
        }
        all
    }

    #[test]
    fn workers_in_every_order_get_the_policy_of_their_document() {
        // Two of three workers have the same document. No other test has this type.
        #[derive(Debug, PartialEq)]
        struct Own(&'static str);
        let documents = ["every order a", "every order a", "every order b"];
        let fingerprints = documents.map(|document| Fingerprint::of(document.as_bytes()));
        let orders = orders(&[STEPS; 3]);
        assert_eq!(orders.len(), 1680);
        for order in orders {
            let mut held: [Option<Arc<Own>>; 3] = Default::default();
            let mut steps = [0; 3];
            for worker in order {
                let (document, fingerprint) = (documents[worker], fingerprints[worker]);
                match steps[worker] {
                    // Another worker may compile the same document between the two steps.
                    0 => {
                        let has = |other: &Arc<Own>| other.0 == document;
                        let is_held = held.iter().flatten().any(has);
                        held[worker] = find(fingerprint);
                        assert_eq!(held[worker].is_some(), is_held, "found if it is in use");
                    }
                    1 if held[worker].is_none() => {
                        held[worker] = Some(add(fingerprint, Own(document)));
                    }
                    1 => {}
                    _ => {
                        let policy = held[worker].take();
                        assert_eq!(policy.as_deref(), Some(&Own(document)));
                    }
                }
                steps[worker] += 1;
            }
            assert!(fingerprints.iter().all(|own| find::<Own>(*own).is_none()));
            add(Fingerprint::of(b"every order"), Own(""));
            let is_kept = |(own, _): &Entry| fingerprints.contains(own);
            assert!(!policies().iter().any(is_kept), "entries of dropped policies are removed");
        }
    }

    #[test]
    fn documents_that_differ_have_other_fingerprints() {
        let mut documents = vec![vec![b' '; 100]];
        for place in 0..100 {
            for byte in 0..32 {
                let mut document = vec![b' '; 100];
                document[place] = byte;
                documents.push(document);
            }
        }
        documents.push(vec![b' '; 101]);
        let mut fingerprints: Vec<_> = documents
            .iter()
            .map(|document| Fingerprint::of(document))
            .map(|own| own.hash)
            .collect();
        fingerprints.sort_unstable();
        fingerprints.dedup();
        assert_eq!(fingerprints.len(), documents.len());
    }
}
