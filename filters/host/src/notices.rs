//! Logs the notices of a document once for each Envoy process, although the main thread and each
//! worker compile the document.
//!
//! The documents whose notices were logged are in the shared data of the plugin's `vm_id`: one key
//! for each filter, which contains hashes of documents, the newest first.

use log::Level;
use sluice_policy::document::report::{Finding, Kind};
use sluice_policy::lookup::hash::Hash;

use crate::shared_data::{SharedData, Stored};

/// Maximum number of documents that are remembered for each filter. Notices of an older one are
/// logged again.
const MAX_DOCUMENTS: usize = 512;

/// Maximum number of findings of a document that are logged.
const MAX_SHOWN: usize = 50;

/// Bytes of a hash.
const HASH: usize = size_of::<u64>();

/// Maximum number of writes, of which all but the last have lost against another worker.
const MAX_WRITES: usize = 64;

/// Logs the notices of `document`, unless the filter has logged them before.
#[cold]
#[inline(never)]
pub fn log(notices: &[Finding], document: &[u8], filter: &str, host: &impl SharedData) {
    let is_shown = |notice: &Finding| level(notice.kind) <= log::max_level();
    if notices.iter().any(is_shown) && is_new(document, filter, host) {
        log_all(notices, "notices");
    }
}

/// Logs findings, of which there may be any number: only the first ones.
pub fn log_all(findings: &[Finding], noun: &str) {
    let (shown, others) = findings.split_at(findings.len().min(MAX_SHOWN));
    shown.iter().for_each(|finding| log::log!(level(finding.kind), "{finding}"));
    if let Some(other) = others.first() {
        log::log!(level(other.kind), "and {} more {noun}, sluice check shows all", others.len());
    }
}

/// What another filter carries out is in use, so it is no reason for a warning.
fn level(kind: Kind) -> Level {
    match kind {
        Kind::Error => Level::Error,
        Kind::LeftToFilter(_) => Level::Info,
        _ => Level::Warn,
    }
}

/// Remembers a document. Returns false if it was already known.
fn is_new(document: &[u8], filter: &str, host: &impl SharedData) -> bool {
    let key = ["sluice.notices.", filter].concat();
    let mut hash = Hash::default();
    hash.piece(document);
    let hash = hash.finish().to_le_bytes();
    for _ in 0..MAX_WRITES {
        let (mut known, version) = match host.stored(key.as_bytes()) {
            Some(Stored { value, version }) => (value, Some(version)),
            None => (Vec::new(), None),
        };
        if known.chunks_exact(HASH).any(|known| known == hash) {
            return false;
        }
        known.truncate((MAX_DOCUMENTS - 1) * HASH);
        if host.replace(key.as_bytes(), &[&hash[..], &known].concat(), version) {
            return true;
        }
    }
    // A repeated notice is better than a missing one.
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;
    use crate::fake::store::FakeStore;

    #[test]
    fn a_document_is_new_once_for_all_workers_and_each_filter() {
        let store = FakeStore::default();
        let workers = [(); 4].map(|()| FakeHost::default().with_store(&store));
        let is_new = |document: &[u8], filter| {
            workers.each_ref().map(|worker| is_new(document, filter, worker))
        };
        assert_eq!(is_new(b"one", "sni"), [true, false, false, false]);
        assert_eq!(is_new(b"two", "sni"), [true, false, false, false]);
        assert_eq!(is_new(b"one", "sni"), [false; 4]);
        assert_eq!(is_new(b"one", "egress"), [true, false, false, false]);
    }

    #[test]
    fn only_one_of_two_workers_that_write_at_once_logs() {
        let store = FakeStore::default();
        let [first, second] = [(); 2].map(|()| FakeHost::default().with_store(&store));
        store.race(move |_| assert!(is_new(b"one", "sni", &second)));
        assert!(!is_new(b"one", "sni", &first));
        // The other worker writes another document.
        let second = FakeHost::default().with_store(&store);
        store.race(move |_| assert!(is_new(b"three", "sni", &second)));
        assert!(is_new(b"two", "sni", &first));
        assert!(!is_new(b"three", "sni", &first));
    }

    #[test]
    fn the_stored_value_has_a_limit() {
        let (store, documents) = (FakeStore::default(), MAX_DOCUMENTS + 100);
        let host = FakeHost::default().with_store(&store);
        let is_new = |number: usize| is_new(number.to_string().as_bytes(), "sni", &host);
        assert!((0..documents).all(is_new));
        assert_eq!(store.get(b"sluice.notices.sni").unwrap().len(), MAX_DOCUMENTS * HASH);
        assert!((100..documents).all(|number| !is_new(number)));
        assert!(is_new(99));
    }

    #[test]
    fn an_envoy_that_refuses_all_writes_does_not_suppress_notices() {
        let store = FakeStore::default();
        for number in 0..=MAX_WRITES {
            store.race(move |store| store.set(b"sluice.notices.sni", &[number as u8; HASH]));
        }
        assert!(is_new(b"one", "sni", &FakeHost::default().with_store(&store)));
        assert_eq!(store.writes(), 0);
    }
}
