//! The high-water mark of a job, and of each of its parameter sets.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::config::catalog::{CursorType, Job};
use crate::ids::PartitionKey;
use crate::slice::Coverage;

/// The end of what is contiguously loaded of one parameter set. Marks of one job are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    Time(Timestamp),
    Integer(i128),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Time(at) => at.fmt(f),
            Mark::Integer(value) => value.fmt(f),
        }
    }
}

/// The mark of one set; `None` before its first commit and without a cursor.
pub fn mark(job: &Job, set: &PartitionKey, coverage: &Coverage) -> Option<Mark> {
    match job.stream.cursor.as_ref()?.cursor_type {
        CursorType::Integer => coverage.integer_mark(set).map(|mark| Mark::Integer(mark.value)),
        _ => coverage.mark(set, job.window.start).map(Mark::Time),
    }
}

/// The mark of a job as a user reads it: the lowest of its sets' marks, and none while one of them has none.
pub fn mark_text(job: &Job, coverage: &Coverage) -> Option<String> {
    let marks: Option<Vec<Mark>> = job.sets.iter().map(|set| mark(job, &set.partition, coverage)).collect();
    marks?.into_iter().min().map(|mark| mark.to_string())
}

/// The marks of a job's sets as a user reads them; empty without `for_each`.
pub fn marks(job: &Job, coverage: &Coverage) -> BTreeMap<PartitionKey, Option<String>> {
    let text = |set: &PartitionKey| mark(job, set, coverage).map(|mark| mark.to_string());
    let sets = job.sets.iter().map(|set| &set.partition).filter(|set| !set.is_none());
    sets.map(|set| (set.clone(), text(set))).collect()
}
