//! The high-water mark of a job, and of each of its parameter sets.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::config::catalog::{CursorType, Job};
use crate::cursor::CursorKey;
use crate::ids::PartitionKey;
use crate::slice::Coverage;

/// The end of what is contiguously loaded of one parameter set. Marks of one job are of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    Time(Timestamp),
    /// The largest cursor seen.
    Cursor(CursorKey),
    /// What the source gave to go on with.
    Token(String),
}

/// Letters of a token that are shown: what it says is the source's own affair, and it may be long.
const TOKEN_SHOWN_MAX: usize = 24;

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Time(at) => at.fmt(f),
            Mark::Cursor(value) => value.fmt(f),
            Mark::Token(token) => {
                let shown: String = token.chars().filter(|c| !c.is_control()).take(TOKEN_SHOWN_MAX).collect();
                write!(f, "token {shown}{}", if token.chars().count() > TOKEN_SHOWN_MAX { "…" } else { "" })
            }
        }
    }
}

/// The mark of one set; `None` before its first commit and without a cursor.
pub fn mark(job: &Job, set: &PartitionKey, coverage: &Coverage) -> Option<Mark> {
    match job.stream.window_cursor()?.cursor_type {
        CursorType::Integer | CursorType::String => coverage.cursor_mark(set).map(|mark| Mark::Cursor(mark.value.clone())),
        CursorType::Token => coverage.token(set).map(|token| Mark::Token(token.to_owned())),
        _ => coverage.mark(set, job.window.start).map(Mark::Time),
    }
}

/// The mark of a job as a user reads it: the lowest of its sets' marks, and none while one of them has none.
pub fn mark_text(job: &Job, coverage: &Coverage) -> Option<String> {
    let marks: Option<Vec<Mark>> = job.sets.iter().map(|set| mark(job, &set.partition, coverage)).collect();
    let marks = marks?;
    // Tokens cannot be compared: of several there is no lowest.
    if marks.len() > 1 && marks.iter().any(|mark| matches!(mark, Mark::Token(_))) {
        return None;
    }
    marks.into_iter().min().map(|mark| mark.to_string())
}

/// The marks of a job's sets as a user reads them; empty without `for_each`.
pub fn marks(job: &Job, coverage: &Coverage) -> BTreeMap<PartitionKey, Option<String>> {
    let text = |set: &PartitionKey| mark(job, set, coverage).map(|mark| mark.to_string());
    let sets = job.sets.iter().map(|set| &set.partition).filter(|set| !set.is_none());
    sets.map(|set| (set.clone(), text(set))).collect()
}
