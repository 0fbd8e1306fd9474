//! Parts of a stream and what is known to be loaded of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::PartitionKey;

/// A half-open stretch of a time-like cursor, `[from, to)`. Without `from` it has no lower end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    pub from: Option<Timestamp>,
    pub to: Timestamp,
}

impl Span {
    /// # Panics
    /// If the span is empty or backwards: a bug of the caller, never input.
    pub fn new(from: Option<Timestamp>, to: Timestamp) -> Self {
        assert!(from.is_none_or(|from| from < to), "a span is never empty or backwards");
        Span { from, to }
    }

    pub fn contains(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && at < self.to
    }

    pub fn overlaps(&self, other: &Span) -> bool {
        self.from.is_none_or(|from| from < other.to) && other.from.is_none_or(|from| from < self.to)
    }
}

/// What one slice reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Everything there is: a stream without a cursor.
    Snapshot,
    /// The rows whose cursor lies in the span.
    Time(Span),
    /// The rows whose whole-number cursor is at least the mark; those at the mark whose key hash is listed were read before.
    Integer(Option<IntegerMark>),
}

/// The largest whole-number cursor seen, with the hashes of the keys seen at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegerMark {
    pub value: i128,
    /// Sorted; hex of the first 16 bytes of SHA-256 of the key's text form.
    pub keys: Vec<String>,
}

/// Part of a stream that is read and committed as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    pub partition: PartitionKey,
    pub reach: Reach,
}

/// What a committed slice covers. A snapshot covers nothing that a later run could leave out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cover {
    Span {
        partition: PartitionKey,
        from: Option<Timestamp>,
        to: Timestamp,
    },
    /// `before` is the mark that the slice began at.
    Integer {
        partition: PartitionKey,
        before: Option<IntegerMark>,
        mark: IntegerMark,
    },
}

/// What is covered of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covered {
    /// Sorted, disjoint, never touching each other.
    Spans(Vec<Span>),
    Integer(IntegerMark),
}

/// What committed slices cover, by partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    pub partitions: BTreeMap<PartitionKey, Covered>,
}

impl Coverage {
    /// The covered spans of a partition: sorted, disjoint, never touching.
    pub fn spans(&self, partition: &PartitionKey) -> &[Span] {
        match self.partitions.get(partition) {
            Some(Covered::Spans(spans)) => spans,
            _ => &[],
        }
    }

    /// The covers that make up this coverage; only spans are told.
    pub fn to_covers(&self) -> Vec<Cover> {
        let of = |partition: &PartitionKey| {
            let cover = |span: &Span| Cover::Span { partition: partition.clone(), from: span.from, to: span.to };
            self.spans(partition).iter().map(cover).collect::<Vec<_>>()
        };
        self.partitions.keys().flat_map(of).collect()
    }

    /// The largest whole-number cursor seen in a partition.
    pub fn integer_mark(&self, partition: &PartitionKey) -> Option<&IntegerMark> {
        match self.partitions.get(partition) {
            Some(Covered::Integer(mark)) => Some(mark),
            _ => None,
        }
    }

    /// The high-water mark of a time-like partition: the end of the contiguous coverage that begins at `start` (or has no lower
    /// end, where there is no `start`).
    pub fn mark(&self, partition: &PartitionKey, start: Option<Timestamp>) -> Option<Timestamp> {
        let reaches = |span: &&Span| match (span.from, start) {
            (None, _) => start.is_none_or(|start| start < span.to),
            (Some(from), Some(start)) => from <= start && start < span.to,
            (Some(_), None) => false,
        };
        self.spans(partition).iter().find(reaches).map(|span| span.to)
    }

    pub fn add(&mut self, cover: &Cover) {
        match cover {
            Cover::Span { partition, from, to } => {
                let mut spans = self.spans(partition).to_vec();
                spans.push(Span::new(*from, *to));
                self.partitions.insert(partition.clone(), Covered::Spans(join_spans(spans)));
            }
            Cover::Integer { partition, mark, .. } => {
                let mark = match self.integer_mark(partition) {
                    Some(known) if known.value > mark.value => known.clone(),
                    Some(known) if known.value == mark.value => join_marks(known, mark),
                    _ => mark.clone(),
                };
                self.partitions.insert(partition.clone(), Covered::Integer(mark));
            }
        }
    }

    /// Takes a cover out again: the record that covered it was voided.
    pub fn subtract(&mut self, cover: &Cover) {
        let (partition, from, to) = match cover {
            Cover::Span { partition, from, to } => (partition, from, to),
            Cover::Integer { partition, before, mark } => {
                if self.integer_mark(partition) == Some(mark) {
                    match before {
                        Some(before) => self.partitions.insert(partition.clone(), Covered::Integer(before.clone())),
                        None => self.partitions.remove(partition),
                    };
                }
                return;
            }
        };
        let gone = Span::new(*from, *to);
        let left = self.spans(partition).iter().flat_map(|span| span.without(&gone)).collect::<Vec<_>>();
        match left.is_empty() {
            true => self.partitions.remove(partition),
            false => self.partitions.insert(partition.clone(), Covered::Spans(left)),
        };
    }
}

impl Coverage {
    /// Takes out what an operator wants to be read again: of a whole-number cursor all that is known of its partition, whatever the
    /// mark, since what is covered then is said anew.
    pub fn forget(&mut self, cover: &Cover) {
        match cover {
            Cover::Span { .. } => self.subtract(cover),
            Cover::Integer { partition, .. } => drop(self.partitions.remove(partition)),
        }
    }
}

impl Cover {
    pub fn partition(&self) -> &PartitionKey {
        match self {
            Cover::Span { partition, .. } | Cover::Integer { partition, .. } => partition,
        }
    }

    /// Whether two covers claim some of the same rows.
    pub fn overlaps(&self, other: &Cover) -> bool {
        match (self, other) {
            (Cover::Span { partition: a, from, to }, Cover::Span { partition: b, from: other_from, to: other_to }) => {
                a == b && Span { from: *from, to: *to }.overlaps(&Span { from: *other_from, to: *other_to })
            }
            (a, b) => a.partition() == b.partition(),
        }
    }
}

impl Span {
    /// What is left of the span without `gone`: none, one or two pieces.
    pub fn without(&self, gone: &Span) -> Vec<Span> {
        if !self.overlaps(gone) {
            return vec![*self];
        }
        let mut left = Vec::new();
        if let Some(gone_from) = gone.from
            && self.from.is_none_or(|from| from < gone_from)
        {
            left.push(Span::new(self.from, gone_from));
        }
        if gone.to < self.to {
            left.push(Span::new(Some(gone.to), self.to));
        }
        left
    }
}

fn join_spans(mut spans: Vec<Span>) -> Vec<Span> {
    // `None` sorts before every instant, as it should.
    spans.sort_by_key(|span| (span.from, span.to));
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.from.is_none_or(|from| from <= last.to) => last.to = last.to.max(span.to),
            _ => joined.push(span),
        }
    }
    joined
}

fn join_marks(known: &IntegerMark, found: &IntegerMark) -> IntegerMark {
    let mut keys = known.keys.clone();
    keys.extend(found.keys.iter().cloned());
    keys.sort();
    keys.dedup();
    IntegerMark { value: known.value, keys }
}

#[cfg(test)]
mod tests;
