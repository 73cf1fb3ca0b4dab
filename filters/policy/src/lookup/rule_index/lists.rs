//! Lists of rules, found by a hash.

/// A rule under a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hash: u32,
    pub(super) rule: u32,
}

/// Entries, sorted.
#[derive(Debug, Default)]
pub(super) struct Lists {
    entries: Vec<Entry>,
    /// For each value of a hash's first bits, where its entries start; and where the last ones end
    starts: Vec<u32>,
    /// How many bits of a hash are not among those first ones
    shift: u32,
}

impl Lists {
    /// Takes entries in the order of rules.
    #[inline(never)]
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let entries = sorted(entries);
        // About one entry for each value of these bits.
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

    /// Whether there is no entry.
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

/// Sorts by the hash, byte by byte from the lowest; what has the same one stays in order. A tenth of the
/// code of the standard library's sort.
pub(super) fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut next = entries.clone();
    for shift in [0, 8, 16, 24] {
        sort_by_byte(&entries, &mut next, shift);
        std::mem::swap(&mut entries, &mut next);
    }
    entries
}

/// Writes entries to `sorted` in the order of the byte of their hashes that `shift` leads to.
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
