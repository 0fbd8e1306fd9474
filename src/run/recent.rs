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
}

impl Recent {
    /// Whether these very bytes are not among the last records; from now on they are.
    pub(super) fn is_new(&mut self, record: &Bytes) -> bool {
        let hash = self.keyed.hash_one(record);
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > RECORDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
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
        recent.clear();
        assert!(recent.is_new(&record(RECORDS_MAX)));
    }
}
