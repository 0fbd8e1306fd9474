//! The records that came last, to know one that comes again because its page has shifted.
//!
//! Bounded: a record that moves between two requests moves by few places, not by more than a page.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use ahash::RandomState;

/// Records remembered, whatever the size of a page: what is looked up for each record has to stay near the processor.
const RECORDS_MIN: usize = 16_384;
/// Records remembered where pages are large; about 5 MB.
const RECORDS_MAX: usize = 100_000;

/// Hashes of the last records. Keyed by chance, so that nobody can make two records look alike on purpose.
#[derive(Default)]
pub(super) struct Recent {
    keyed: RandomState,
    order: VecDeque<u64>,
    known: HashSet<u64, BuildHasherDefault<Itself>>,
    /// How many of the last came with the page at work.
    page: usize,
    /// The most that came with one page.
    page_max: usize,
    /// How many of the first are of parts of the slice that are committed.
    settled: usize,
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
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        self.page += 1;
        self.page_max = self.page_max.max(self.page);
        if self.order.len() > (2 * self.page_max).clamp(RECORDS_MIN, RECORDS_MAX)
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
            self.settled = self.settled.saturating_sub(1);
        }
        true
    }

    /// What comes now is of another page.
    pub(super) fn begin_page(&mut self) {
        self.page = 0;
    }

    /// Forgets what came with the page at work: it was none.
    pub(super) fn take_back(&mut self) {
        for _ in 0..std::mem::take(&mut self.page) {
            if let Some(hash) = self.order.pop_back() {
                self.known.remove(&hash);
            }
        }
    }

    /// What came so far is committed: a page that comes again behind it holds none of it anew.
    pub(super) fn settle(&mut self) {
        self.settled = self.order.len();
    }

    /// Forgets what is not settled: its pages are read anew.
    pub(super) fn begin_anew(&mut self) {
        for hash in self.order.drain(self.settled.min(self.order.len())..) {
            self.known.remove(&hash);
        }
        self.page = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_records_are_known_and_older_ones_forgotten() {
        let mut recent = Recent::default();
        let record = |number: usize| format!("{{\"id\":{number}}}").into_bytes();
        for number in 0..RECORDS_MAX + 10 {
            assert!(recent.is_new(&record(number)));
        }
        assert!(!recent.is_new(&record(10)));
        assert!(recent.is_new(&record(9)), "forgotten");
        recent.begin_page();
        assert!(recent.is_new(&record(RECORDS_MAX + 20)));
        recent.take_back();
        assert!(recent.is_new(&record(RECORDS_MAX + 20)) && !recent.is_new(&record(RECORDS_MAX)), "the pages before are known");
        recent.begin_anew();
        assert!(recent.is_new(&record(RECORDS_MAX)));
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
        for number in 10..RECORDS_MAX + 10 {
            assert!(recent.is_new(&record(number)));
        }
        recent.begin_anew();
        assert!(recent.is_new(&record(1)) && recent.is_new(&record(10)), "what is settled is bounded like the rest");
    }
}
