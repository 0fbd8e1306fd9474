//! What is known at the end of a dataset's log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, Seq};
use crate::slice::{Cover, Coverage};

/// What the state knows of a dataset: the lake's truth up to `seq`, and the empty slices since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetState {
    /// The last record that is decided and published; 0 if there is none.
    pub seq: Seq,
    /// Hex SHA-256 of that record's bytes; empty at 0.
    pub record_hash: String,
    pub generation: Generation,
    /// The records' covers and `pending` together.
    pub coverage: Coverage,
    /// Covers of empty slices that no record names yet.
    pub pending: Vec<Cover>,
    /// By what definition of the job the coverage came about: `sink::record::fingerprint`, and the steps.
    pub fingerprint: BTreeMap<String, String>,
}

impl DatasetState {
    /// Takes from the pending covers what a record covers.
    pub fn forget_pending(&mut self, covers: &[Cover]) {
        let (spans, others): (Vec<Cover>, Vec<Cover>) =
            std::mem::take(&mut self.pending).into_iter().partition(|cover| matches!(cover, Cover::Span { .. }));
        let mut left = Coverage::default();
        spans.iter().for_each(|span| left.add(span));
        covers.iter().filter(|cover| matches!(cover, Cover::Span { .. })).for_each(|cover| left.subtract(cover));
        self.pending = left.to_covers();
        self.pending.extend(others.into_iter().filter(|other| !covers.iter().any(|cover| cover.overlaps(other))));
    }

    /// Adds the cover of an empty slice. Adjoining spans become one: a source that stays silent for a year must not leave a line
    /// for every run.
    pub fn add_pending(&mut self, cover: Cover) {
        let mut joined = Coverage::default();
        let mut others = Vec::new();
        for known in std::mem::take(&mut self.pending).into_iter().chain([cover.clone()]) {
            match known {
                Cover::Span { .. } => joined.add(&known),
                // Of a mark or token the latest says it all, from where the first of them began.
                Cover::Mark { .. } | Cover::Token { .. } => put_latest(&mut others, known),
            }
        }
        self.coverage.add(&cover);
        self.pending = joined.to_covers();
        self.pending.extend(others);
    }
}

fn put_latest(others: &mut Vec<Cover>, cover: Cover) {
    let Some(at) = others.iter().position(|other| other.partition() == cover.partition()) else { return others.push(cover) };
    let joined = match (others.remove(at), cover) {
        (Cover::Mark { before, .. }, Cover::Mark { partition, mark, .. }) => Cover::Mark { partition, before, mark },
        (Cover::Token { before, .. }, Cover::Token { partition, token, .. }) => Cover::Token { partition, before, token },
        (_, cover) => cover,
    };
    others.push(joined);
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::ids::PartitionKey;

    fn cover(from: i64, to: i64) -> Cover {
        let at = |second: i64| Timestamp::from_second(second).expect("in range");
        Cover::Span { partition: PartitionKey::new(""), from: Some(at(from)), to: at(to) }
    }

    #[test]
    fn empty_slices_wait_joined_until_a_record_covers_them() {
        let mut state = DatasetState::default();
        state.add_pending(cover(0, 10));
        state.add_pending(cover(20, 30));
        state.add_pending(cover(10, 20));
        assert_eq!(state.pending, [cover(0, 30)]);
        state.forget_pending(&[cover(10, 20)]);
        assert_eq!(state.pending, [cover(0, 10), cover(20, 30)], "what a rival brought is not ours to name, or to take back");
    }

    #[test]
    fn of_the_tokens_of_runs_that_brought_nothing_the_last_one_waits() {
        let token = |before: Option<&str>, token: &str| Cover::Token {
            partition: PartitionKey::new("a"),
            before: before.map(str::to_owned),
            token: token.to_owned(),
        };
        let mut state = DatasetState::default();
        state.add_pending(token(None, "1"));
        state.add_pending(token(Some("1"), "2"));
        state.add_pending(token(Some("2"), "3"));
        assert_eq!(state.pending, [token(None, "3")]);
        assert_eq!(state.coverage.token(&PartitionKey::new("a")), Some("3"));
        state.coverage.subtract(&token(None, "3"));
        assert_eq!(state.coverage.token(&PartitionKey::new("a")), None, "back to before the first of them");
    }
}
