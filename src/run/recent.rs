//! The records that came last, to know one that comes again because its page has shifted.
//!
//! Bounded: a record that moves between two requests moves by few places, not by a hundred thousand.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

/// Records remembered; about 5 MB.
const RECORDS_MAX: usize = 100_000;

/// Hashes of the last records. Keyed by chance, so that nobody can make two records look alike on purpose.
#[derive(Default)]
pub(super) struct Recent {
    keyed: RandomState,
    order: VecDeque<u64>,
    known: HashSet<u64>,
    /// How many of the last came with the page at work.
    page: usize,
}

impl Recent {
    /// Whether these very bytes are not among the last records; from now on they are.
    pub(super) fn is_new(&mut self, record: &Bytes) -> bool {
        let hash = self.keyed.hash_one(record);
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        self.page += 1;
        if self.order.len() > RECORDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
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

    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_records_are_known_and_older_ones_forgotten() {
        let mut recent = Recent::default();
        let record = |number: usize| Bytes::from(format!("{{\"id\":{number}}}"));
        for number in 0..RECORDS_MAX + 10 {
            assert!(recent.is_new(&record(number)));
        }
        assert!(!recent.is_new(&record(10)));
        assert!(recent.is_new(&record(9)), "forgotten");
        recent.begin_page();
        assert!(recent.is_new(&record(RECORDS_MAX + 20)));
        recent.take_back();
        assert!(recent.is_new(&record(RECORDS_MAX + 20)) && !recent.is_new(&record(RECORDS_MAX)), "the pages before are known");
        recent.clear();
        assert!(recent.is_new(&record(RECORDS_MAX)));
    }
}
