//! What the VMs of an Envoy know together about the documents of a filter, in the shared data of
//! the plugin's `vm_id`: which documents were accepted, and how much memory each VM has in use.
//!
//! A configuration stays in memory as long as Envoy has connections that began with it, and V8
//! gives a VM 1 GiB. A worker that needs more traps, and then it answers no request any more. So a
//! document for which there is no memory has to be refused before Envoy accepts it.
//!
//! Envoy accepts a document if a new VM takes it, which exists for this test only. Then the VM of
//! the main thread takes the document, and then the VMs of the workers. The first VM that sees a
//! document decides for all: it measures the memory that the document needs, and compares it with
//! the memory that the VM of the main thread has in use. The other VMs do not decide again: a
//! worker that refuses a document answers no request of the listener.
//!
//! No VM knows whether it is that of the main thread. But a VM with a stream is that of a worker,
//! and is left out, because its streams may end in a trap, after which its memory is free. The VMs
//! that are left are that of the main thread, those of workers without streams, which have the same
//! configurations, and tests of documents, which have one configuration.

use std::fmt;

use crate::host::{Memory, PluginHost};
use crate::policies::Fingerprint;
use crate::shared_data::SharedData;

/// Maximum memory that all configurations of a VM may use, in bytes. The rest of the 1 GiB is for
/// streams, for the reading of documents, and for the gaps between what is in use.
pub const MAX_BYTES: u64 = 700 << 20;

/// Maximum memory that a VM may use while it takes a document, in bytes. Reading takes more memory
/// than the configuration keeps.
const MAX_BYTES_WHILE_READING: u64 = 900 << 20;

/// Maximum number of accepted documents that are remembered for each filter. An older one is
/// treated as new.
const MAX_DOCUMENTS: usize = 512;

/// After how many accepted documents the entry of a VM is dropped. A VM renews its entry with each
/// document, and nothing tells of its end.
const MAX_AGE: u64 = 16;

/// Maximum number of writes, of which all but the last have lost against another VM.
const MAX_WRITES: usize = 64;

/// A document that a VM is taking.
#[derive(Debug)]
pub struct Taking<'a, H> {
    host: &'a H,
    filter: &'a str,
    document: Fingerprint,
    before: Memory,
}

impl<'a, H: PluginHost + SharedData> Taking<'a, H> {
    /// Begins before a document is compiled for a filter.
    pub fn begin(document: Fingerprint, filter: &'a str, host: &'a H) -> Self {
        Self { host, filter, document, before: host.memory() }
    }

    /// Ends after the document was compiled. Returns whether this VM is the first one that takes
    /// it.
    ///
    /// # Errors
    /// [`NoMemory`] if the document was not accepted before, and a VM has no memory for it.
    pub fn finish(self) -> Result<bool, NoMemory> {
        let after = self.host.memory();
        let needs = Needs::between(self.before, after);
        let result = update(self.filter, self.host, |record| {
            if record.accepted.contains(&self.document.hash) {
                record.renew(self.host.vm(), after.used);
                return Ok(false);
            }
            needs.check(record.used())?;
            record.accept(self.document.hash);
            record.renew(self.host.vm(), after.used);
            Ok(true)
        });
        // A VM whose writes all fail accepts: a repeated notice is better than no configuration.
        result.unwrap_or(Ok(true))
    }
}

/// Writes down the memory of this VM, after it has dropped a configuration of a filter.
pub fn release<H: PluginHost + SharedData>(filter: &str, host: &H) {
    update(filter, host, |record| {
        record.renew(host.vm(), host.memory().used);
    });
}

/// Writes down that this VM is that of a worker, when a plugin has its first stream.
#[cold]
#[inline(never)]
pub fn has_stream<H: PluginHost + SharedData>(filter: &str, host: &H) {
    update(filter, host, |record| {
        record.renew(host.vm(), host.memory().used).is_worker = true;
    });
}

/// The memory that a document needs, in bytes.
#[derive(Clone, Copy, Debug)]
struct Needs {
    /// What its configuration keeps
    kept: u64,
    /// The most that was in use while it was read, if the VM is new. At least what is kept
    peak: u64,
}

impl Needs {
    fn between(before: Memory, after: Memory) -> Self {
        let kept = after.used.saturating_sub(before.used);
        Self { kept, peak: after.reserved.saturating_sub(before.reserved).max(kept) }
    }

    /// Checks that there is enough memory beside what is in use.
    fn check(self, used: u64) -> Result<(), NoMemory> {
        let limits = [(self.kept, MAX_BYTES), (self.peak, MAX_BYTES_WHILE_READING)];
        match limits.into_iter().find(|(needed, limit)| used.saturating_add(*needed) > *limit) {
            Some((needed, limit)) => Err(NoMemory { needed, used, limit }),
            None => Ok(()),
        }
    }
}

/// Why a document is refused, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory {
    needed: u64,
    used: u64,
    limit: u64,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let (needed, used, limit) = (mib(self.needed), mib(self.used), mib(self.limit));
        if self.used == 0 {
            return write!(
                f,
                "needs {needed} MiB of memory, but a VM has {limit} MiB; make the document smaller"
            );
        }
        write!(
            f,
            "needs {needed} MiB of memory and the configurations in use have {used} MiB, but a VM \
             has {limit} MiB; make the document smaller, or send it again with any change when older \
             configurations have ended (after Envoy's --drain-time-s)"
        )
    }
}

/// The shared record of a filter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Record {
    vms: Vec<Vm>,
    /// Hashes of the accepted documents, the newest first
    accepted: Vec<u64>,
}

/// The entry of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vm {
    id: u64,
    /// Memory in use, in bytes
    used: u64,
    /// Number of accepted documents since the last renewal
    age: u64,
    /// Whether it has had streams
    is_worker: bool,
}

/// Numbers in the encoding of a VM.
const VM_NUMBERS: usize = 4;

impl Record {
    /// The memory that all configurations have in use.
    fn used(&self) -> u64 {
        let others = self.vms.iter().filter(|vm| !vm.is_worker);
        others.map(|vm| vm.used).max().unwrap_or_default()
    }

    fn accept(&mut self, document: u64) {
        self.vms.iter_mut().for_each(|vm| vm.age += 1);
        self.vms.retain(|vm| vm.age <= MAX_AGE);
        self.accepted.truncate(MAX_DOCUMENTS - 1);
        self.accepted.insert(0, document);
    }

    /// Renews the entry of a VM, or adds it.
    fn renew(&mut self, id: u64, used: u64) -> &mut Vm {
        let place = self.vms.iter().position(|vm| vm.id == id);
        let old = place.map(|place| self.vms.swap_remove(place));
        let is_worker = old.is_some_and(|old| old.is_worker);
        self.vms.push_mut(Vm { id, used, age: 0, is_worker })
    }

    /// Encodes the record as numbers of 64 bits: the number of VMs, the VMs and the documents.
    fn encode(&self) -> Vec<u8> {
        let count = [self.vms.len() as u64];
        let vms = self.vms.iter();
        let vms = vms.flat_map(|vm| [vm.id, vm.used, vm.age, u64::from(vm.is_worker)]);
        let numbers = count.into_iter().chain(vms).chain(self.accepted.iter().copied());
        numbers.flat_map(u64::to_le_bytes).collect()
    }

    /// Decodes a record. Bytes that are none give an empty one.
    fn decode(bytes: &[u8]) -> Self {
        let numbers: Vec<u64> =
            bytes.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number)).collect();
        let Some((count, rest)) = numbers.split_first() else { return Self::default() };
        let length = usize::try_from(*count).unwrap_or(usize::MAX).saturating_mul(VM_NUMBERS);
        let Some((vms, accepted)) = rest.split_at_checked(length) else { return Self::default() };
        let vms = vms.as_chunks::<VM_NUMBERS>().0.iter();
        let vm = |&[id, used, age, is_worker]: &[u64; VM_NUMBERS]| Vm {
            id,
            used,
            age,
            is_worker: is_worker != 0,
        };
        Self { vms: vms.map(vm).collect(), accepted: accepted.to_vec() }
    }
}

/// Changes the record of a filter. `None` if other VMs were faster every time.
fn update<T>(filter: &str, host: &impl SharedData, change: impl Fn(&mut Record) -> T) -> Option<T> {
    let key = ["sluice.documents.", filter].concat();
    for _ in 0..MAX_WRITES {
        let stored = host.stored(key.as_bytes());
        let mut record = Record::decode(stored.as_ref().map_or(&[], |stored| &stored.value));
        let result = change(&mut record);
        if host.replace(key.as_bytes(), &record.encode(), stored.map(|stored| stored.version)) {
            return Some(result);
        }
    }
    None
}

#[cfg(test)]
mod tests;
