//! The job's steps on a batch. Pure: no input or output, the same result whatever the batch's size.

pub mod crossing;

use arrow::array::RecordBatch;
use thiserror::Error;

use crate::error::ErrorKind;
/// A batch after the steps. `rows + filtered + rejected` is the number of rows that went in.
#[derive(Debug)]
pub struct Transformed {
    pub rows: RecordBatch,
    pub filtered: u64,
    pub rejected: Vec<RejectedRow>,
}

/// A row that a step could not take (a cast that does not fit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    /// Index in the batch that went in.
    pub row: usize,
    pub field: String,
    pub reason: String,
}

/// A step that cannot work on this batch at all: names job, step, column and value.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct TransformError {
    pub kind: ErrorKind,
    pub message: String,
}
pub struct Steps;
impl Steps {
    pub fn new(_job: &crate::config::catalog::Job) -> Result<Self, TransformError> {
        Ok(Steps)
    }
    pub fn apply(&self, rows: RecordBatch) -> Result<Transformed, TransformError> {
        Ok(Transformed { rows, filtered: 0, rejected: Vec::new() })
    }
}
pub fn check(_job: &crate::config::catalog::Job) -> Vec<crate::config::Problem> {
    Vec::new()
}
