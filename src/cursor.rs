//! The value that orders a stream's records.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A cursor value with the text it had in the source. Ordered by the typed value alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CursorValue {
    pub typed: CursorKey,
    pub text: String,
}

/// The typed side of a cursor value. Values of different kinds never meet in one stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CursorKey {
    /// Everything that is a point in time: timestamps, dates (their midnight in the source's zone), epochs. Microseconds.
    Time(Timestamp),
    /// A whole number, exact beyond 64 bits.
    Integer(i128),
    /// Compared byte by byte.
    Text(String),
}

impl PartialEq for CursorValue {
    fn eq(&self, other: &Self) -> bool {
        self.typed == other.typed
    }
}
impl Eq for CursorValue {}
impl PartialOrd for CursorValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for CursorValue {
    fn cmp(&self, other: &Self) -> Ordering {
        self.typed.cmp(&other.typed)
    }
}

/// The cursor values of a batch, one a row; `None` where the record has none (such rows are rejected before they get far).
#[derive(Clone, Debug)]
pub enum CursorColumn {
    /// Microseconds since 1970-01-01T00:00:00Z, rounded towards the past.
    Time(Vec<Option<i64>>),
    Integer(Vec<Option<i128>>),
}
