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
    Span { partition: PartitionKey, from: Option<Timestamp>, to: Timestamp },
    Integer { partition: PartitionKey, from: Option<i128>, mark: IntegerMark },
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
