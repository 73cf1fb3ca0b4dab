use std::cell::RefCell;

use super::*;
use crate::fake::FakeHost;
use crate::fake::store::FakeStore;

const MIB: u64 = 1 << 20;

/// The VMs of an Envoy: those of the main thread and two workers. The canary is made anew.
struct Vms {
    store: FakeStore,
    lasting: [FakeHost; 3],
    /// Those that have tested a document. They are kept because their address is their number
    ended: RefCell<Vec<FakeHost>>,
}

impl Vms {
    fn new() -> Self {
        let store = FakeStore::default();
        let lasting = [(); 3].map(|()| FakeHost::default().with_store(&store));
        Self { store, lasting, ended: RefCell::default() }
    }

    /// Takes a document as Envoy does, first in a new VM. Its configuration keeps `kept` MiB.
    fn take(&self, document: &[u8], kept: u64, peak: u64) -> Result<(), NoMemory> {
        let canary = FakeHost::default().with_store(&self.store);
        self.ended.borrow_mut().push(canary.clone());
        assert!(take(&canary, document, kept, peak)?);
        for vm in &self.lasting {
            assert_eq!(take(vm, document, kept, peak), Ok(false));
        }
        Ok(())
    }

    /// Drops a configuration that has kept `kept` MiB.
    fn drop(&self, kept: u64) {
        for vm in &self.lasting {
            let Memory { used, reserved } = vm.memory();
            vm.set_memory(Memory { used: used - kept * MIB, reserved });
            release("sni", vm);
        }
    }
}

fn take(vm: &FakeHost, document: &[u8], kept: u64, peak: u64) -> Result<bool, NoMemory> {
    let taking = Taking::begin(Fingerprint::of(document), "sni", vm);
    let Memory { used, reserved } = vm.memory();
    let after = Memory { used: used + kept * MIB, reserved: reserved.max(used + peak * MIB) };
    vm.set_memory(after);
    taking.finish()
}

fn no_memory(needed: u64, used: u64, limit: u64) -> Result<(), NoMemory> {
    Err(NoMemory { needed: needed * MIB, used: used * MIB, limit: limit * MIB })
}

#[test]
fn documents_are_accepted_until_the_memory_is_used_up() {
    let vms = Vms::new();
    for document in [b"1", b"2", b"3"] {
        assert_eq!(vms.take(document, 200, 250), Ok(()));
    }
    assert_eq!(vms.take(b"4", 200, 250), no_memory(200, 600, 700));
    assert_eq!(vms.take(b"5", 90, 310), no_memory(310, 600, 900));
    assert_eq!(vms.take(b"6", 100, 300), Ok(()));
    vms.drop(200);
    assert_eq!(vms.take(b"4", 200, 250), Ok(()), "the connections of a configuration have ended");
}

#[test]
fn a_document_that_was_accepted_is_never_refused() {
    let vms = Vms::new();
    assert_eq!(vms.take(b"1", 600, 600), Ok(()));
    let worker = FakeHost::default().with_store(&vms.store);
    assert_eq!(take(&worker, b"1", 600, 600), Ok(false));
    assert_eq!(take(&worker, b"2", 600, 600).map(|_| ()), no_memory(600, 600, 700));
    assert_eq!(take(&vms.lasting[1], b"1", 600, 600), Ok(false));
}

#[test]
fn refusals_do_not_end() {
    let vms = Vms::new();
    assert_eq!(vms.take(b"first", 600, 600), Ok(()));
    for number in 1..100_u8 {
        assert_eq!(vms.take(&[number], 101, 101), no_memory(101, 600, 700));
    }
}

#[test]
fn a_worker_that_has_trapped_is_of_no_account() {
    let vms = Vms::new();
    let trapped = FakeHost::default().with_store(&vms.store);
    has_stream("sni", &trapped);
    assert_eq!(vms.take(b"1", 10, 10), Ok(()));
    assert_eq!(take(&trapped, b"1", 699, 699), Ok(false));
    assert_eq!(vms.take(b"2", 10, 10), Ok(()));
}

#[test]
fn vms_that_only_tested_a_document_are_forgotten() {
    let vms = Vms::new();
    for number in 0..100_u8 {
        assert_eq!(vms.take(&[number], 1, 1), Ok(()));
    }
    let record = Record::decode(&vms.store.get(b"sluice.documents.sni").unwrap());
    assert_eq!(record.vms.len() as u64, 3 + MAX_AGE + 1);
}

#[test]
fn filters_have_records_of_their_own() {
    let store = FakeStore::default();
    let host = FakeHost::default().with_store(&store);
    let take = |filter| Taking::begin(Fingerprint::of(b"document"), filter, &host).finish();
    assert_eq!(["sni", "egress", "sni"].map(take), [Ok(true), Ok(true), Ok(false)]);
}

#[test]
fn the_record_survives_other_writers_and_has_a_limit() {
    let store = FakeStore::default();
    let [first, second] = [(); 2].map(|()| FakeHost::default().with_store(&store));
    let rival = second.clone();
    store.race(move |_| assert_eq!(take(&rival, b"one", 1, 1), Ok(true)));
    assert_eq!(take(&first, b"one", 1, 1), Ok(false));
    for number in 0..MAX_DOCUMENTS + 100 {
        assert_eq!(take(&second, number.to_string().as_bytes(), 0, 0), Ok(true));
    }
    let record = Record::decode(&store.get(b"sluice.documents.sni").unwrap());
    assert_eq!((record.accepted.len(), record.vms.len()), (MAX_DOCUMENTS, 1));
    assert_eq!(take(&second, b"99", 0, 0), Ok(true), "it was forgotten");
    assert_eq!(take(&second, b"101", 0, 0), Ok(false));
}

#[test]
fn an_envoy_that_refuses_all_writes_gets_its_configuration() {
    let store = FakeStore::default();
    for number in 0..=MAX_WRITES {
        store.race(move |store| store.set(b"sluice.documents.sni", &[number as u8; 8]));
    }
    assert_eq!(take(&FakeHost::default().with_store(&store), b"one", 1, 1), Ok(true));
    assert_eq!(store.writes(), 0);
}

#[test]
fn bytes_that_are_no_record_are_an_empty_one() {
    let record =
        Record { vms: vec![Vm { id: 1, used: 2, age: 3, is_worker: true }], accepted: vec![4, 5] };
    let bytes = record.encode();
    assert_eq!(Record::decode(&bytes), record);
    for end in 0..40 {
        assert_eq!(Record::decode(&bytes[..end]), Record::default());
    }
    assert_eq!(Record::decode(&[0xff; 64]), Record::default());
}

#[test]
fn the_error_has_the_numbers_and_the_way_out() {
    let text = |used| NoMemory { needed: 150 * MIB, used, limit: MAX_BYTES }.to_string();
    assert_eq!(text(0), "needs 150 MiB of memory, but a VM has 700 MiB; make the document smaller");
    assert_eq!(
        text(600 * MIB + 1),
        "needs 150 MiB of memory and the configurations in use have 601 MiB, but a VM has 700 MiB; \
         make the document smaller, or send it again with any change when older configurations have \
         ended (after Envoy's --drain-time-s)"
    );
}
