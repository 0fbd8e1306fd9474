//! The records that came last, to know one that comes again because its page has shifted.
//!
//! Bounded: a record that moves between two requests moves by few places, not by more than a page.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use ahash::RandomState;

/// Records remembered at the least, whatever the size of a page: what is looked up for each record has to stay near the processor.
const RECORDS_MIN: usize = 8_192;
/// Records remembered at the least where pages are large; all that is kept is about 7 MB then.
const RECORDS_MAX: usize = 100_000;

/// Hashes of the last records. Keyed by chance, so that nobody can make two records look alike on purpose.
#[derive(Default)]
pub(super) struct Recent {
    keyed: RandomState,
    /// Of parts of the slice that are committed.
    settled: Generations,
    unsettled: Generations,
    /// Of the page at work.
    page: Vec<u64>,
    /// The most that came with one page.
    page_max: usize,
}

/// The last hashes, at least as many as one generation holds and less than two: none is removed by itself.
#[derive(Default)]
struct Generations {
    young: Known,
    old: Known,
}

type Known = HashSet<u64, BuildHasherDefault<Itself>>;

impl Generations {
    fn contain(&self, hash: u64) -> bool {
        self.young.contains(&hash) || self.old.contains(&hash)
    }

    fn add(&mut self, hash: u64, size: usize) {
        if self.young.len() >= size {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(hash);
    }

    fn remove(&mut self, hash: u64) {
        self.young.remove(&hash);
        self.old.remove(&hash);
    }
}

/// What is a hash already needs no other.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Recent {
    /// Whether these very bytes are not among the last records; from now on they are.
    pub(super) fn is_new(&mut self, record: &[u8]) -> bool {
        let hash = self.keyed.hash_one(record);
        if self.unsettled.contain(hash) || self.settled.contain(hash) {
            return false;
        }
        self.page.push(hash);
        self.page_max = self.page_max.max(self.page.len());
        self.unsettled.add(hash, self.size());
        true
    }

    fn size(&self) -> usize {
        (2 * self.page_max).clamp(RECORDS_MIN, RECORDS_MAX)
    }

    /// What comes now is of another page.
    pub(super) fn begin_page(&mut self) {
        self.page.clear();
    }

    /// Forgets what came with the page at work: it was none.
    pub(super) fn take_back(&mut self) {
        for hash in self.page.drain(..) {
            self.unsettled.remove(hash);
        }
    }

    /// What came so far is committed: a page that comes again behind it holds none of it anew.
    pub(super) fn settle(&mut self) {
        let Generations { young, old } = std::mem::take(&mut self.unsettled);
        let size = self.size();
        for hash in old.into_iter().chain(young) {
            self.settled.add(hash, size);
        }
    }

    /// Forgets what is not settled: its pages are read anew.
    pub(super) fn begin_anew(&mut self) {
        self.unsettled = Generations::default();
        self.page.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_records_are_known_and_older_ones_forgotten() {
        let mut recent = Recent::default();
        let record = |number: usize| format!("{{\"id\":{number}}}").into_bytes();
        for number in 0..2 * RECORDS_MAX + 1 {
            assert!(recent.is_new(&record(number)));
        }
        assert!((RECORDS_MAX..2 * RECORDS_MAX + 1).all(|number| !recent.is_new(&record(number))));
        assert!(recent.is_new(&record(9)), "forgotten");
        recent.begin_page();
        assert!(recent.is_new(&record(RECORDS_MAX * 2 + 20)));
        recent.take_back();
        assert!(recent.is_new(&record(RECORDS_MAX * 2 + 20)), "the page was none");
        assert!(!recent.is_new(&record(RECORDS_MAX + 1)), "the pages before are known");
        recent.begin_anew();
        assert!(recent.is_new(&record(RECORDS_MAX + 1)));
    }

    #[test]
    fn what_is_settled_is_known_to_whoever_goes_on() {
        let mut recent = Recent::default();
        let record = |number: usize| format!("{{\"id\":{number}}}").into_bytes();
        assert!(recent.is_new(&record(1)));
        recent.settle();
        assert!(recent.is_new(&record(2)));
        recent.begin_anew();
        assert!(!recent.is_new(&record(1)) && recent.is_new(&record(2)));
        for number in 10..4 * RECORDS_MAX {
            assert!(recent.is_new(&record(number)));
            if number.is_multiple_of(RECORDS_MAX) {
                recent.settle();
            }
        }
        assert!(recent.is_new(&record(1)), "what is settled is bounded like the rest");
        assert!(!recent.is_new(&record(3 * RECORDS_MAX)));
    }
}
