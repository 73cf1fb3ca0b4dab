//! Lists of rules, indexed by a hash.

/// A rule, and the hash of the key under which it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hash: u32,
    pub(super) rule: u32,
}

/// Entries in the order of their hashes.
#[derive(Debug, Default)]
pub(super) struct Lists {
    entries: Vec<Entry>,
    /// For each value of the high bits of a hash, the start of its entries; then the end of the
    /// last
    starts: Vec<u32>,
    /// Number of low bits of a hash that are not an index into `starts`
    shift: u32,
}

impl Lists {
    /// Creates the lists. `entries` must be in the order of rules.
    #[inline(never)]
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let entries = sorted(entries);
        // The number of bits that gives about one entry for each value.
        let bits = entries.len().next_power_of_two().ilog2().clamp(1, 24);
        let shift = u32::BITS - bits;
        let mut starts = vec![0; (1 << bits) + 1];
        for entry in &entries {
            if let Some(end) = starts.get_mut((entry.hash >> shift) as usize + 1) {
                *end += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { entries, starts, shift }
    }

    /// Returns whether there are no entries.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries of a hash, in the order of rules.
    #[inline]
    pub(super) fn get(&self, hash: u32) -> &[Entry] {
        let first = (hash >> self.shift) as usize;
        let Some([start, end]) = self.starts.get(first..first.saturating_add(2)) else {
            return &[];
        };
        let near = self.entries.get(*start as usize..*end as usize).unwrap_or_default();
        let start = near.partition_point(|entry| entry.hash < hash);
        let near = near.get(start..).unwrap_or_default();
        near.get(..near.partition_point(|entry| entry.hash == hash)).unwrap_or_default()
    }
}

/// Sorts by the hash with a radix sort, from the lowest byte. Entries with the same hash keep their
/// order. The code is a tenth of the size of the standard library's sort.
pub(super) fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut next = entries.clone();
    for shift in [0, 8, 16, 24] {
        sort_by_byte(&entries, &mut next, shift);
        std::mem::swap(&mut entries, &mut next);
    }
    entries
}

/// Writes entries to `sorted`, ordered by the byte of their hashes at the bit offset `shift`.
#[inline(never)]
fn sort_by_byte(entries: &[Entry], sorted: &mut [Entry], shift: u32) {
    let byte = |entry: &Entry| usize::from((entry.hash >> shift) as u8);
    let mut ends = [0usize; 256];
    for entry in entries {
        if let Some(count) = ends.get_mut(byte(entry)) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for end in &mut ends {
        sum += *end;
        *end = sum;
    }
    for entry in entries.iter().rev() {
        let Some(end) = ends.get_mut(byte(entry)) else { continue };
        *end = end.saturating_sub(1);
        if let Some(place) = sorted.get_mut(*end) {
            *place = *entry;
        }
    }
}
