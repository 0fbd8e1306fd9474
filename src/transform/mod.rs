//! The job's steps on a batch. Pure: no input or output, the same result whatever the batch's size.
//!
//! Every step works row by row: a result never depends on which other rows happen to stand in the same batch. What cannot keep
//! that (aggregates, windows, ordering) is refused before a run begins.
//!
//! select, drop, rename, flatten and cast work on the Arrow columns themselves; derive, filter and sql hand polars the columns
//! that their expressions name and nothing else. Columns that a step does not touch stay the very same buffers with the same
//! field, so their metadata (JSON mark, ids) cannot be lost. There is no masking and no contract yet.
//!
//! What happens to odd values:
//! - a cast that would lose something rejects the row (`steps::cast` has the table);
//! - an expression that fails on a value (`CAST('abc' AS INT)`, `STRPTIME` on other text) rejects that row; `TRY_CAST` gives null;
//! - whole numbers have 64 bits and begin anew behind their end; decimals have 38 digits, and a row for which these are not enough
//!   is rejected; `*` of decimals rounds to the larger scale of the two;
//! - `/` always divides as float64, decimals too: `1 / 0` is infinity and `0 / 0` is NaN, and both are kept, for a float64 column
//!   holds them; `%` by zero is null, and there is none for decimals;
//! - a column that never had a value has the type null: what is computed from it strictly is null too, of no type as yet.

mod check;
mod expression;
mod rows;
mod steps;

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use thiserror::Error;

use crate::config::catalog::{Job, Step};
use crate::error::ErrorKind;
use rows::{Fault, Rows};
use steps::Compiled;

pub use check::check;

/// A batch after the steps. `rows + filtered + rejected` is the number of rows that went in.
#[derive(Debug)]
pub struct Transformed {
    pub rows: RecordBatch,
    /// For each row its index in the batch that went in; `None` where all of them are still there.
    pub places: Option<Vec<usize>>,
    pub filtered: u64,
    /// In order of row, at most one entry a row.
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

/// A job's steps, ready to be applied to any number of batches, from any thread.
#[derive(Debug)]
pub struct Steps {
    job: String,
    file: String,
    steps: Vec<Compiled>,
}

impl Steps {
    /// The error is the first of the problems that `check` tells about the steps' own text.
    pub fn new(job: &Job) -> Result<Steps, TransformError> {
        Steps::compile(job.name.as_str(), &job.file, &job.steps)
    }

    fn compile(job: &str, file: &str, kinds: &[Step]) -> Result<Steps, TransformError> {
        let mut steps = Steps { job: job.to_owned(), file: file.to_owned(), steps: Vec::with_capacity(kinds.len()) };
        for step in kinds {
            let compiled = Compiled::new(step).map_err(|problem| {
                let place = steps.place(step.number, step.kind.name(), step.line);
                TransformError { kind: ErrorKind::Config, message: format!("{place}: {problem}") }
            })?;
            steps.steps.push(compiled);
        }
        Ok(steps)
    }

    /// Without steps `apply` hands the batch back as it is.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs the steps over a batch. Takes CPU time in proportion to its rows and never waits; belongs off the async threads.
    /// A panic in a step is an error of the kind `Bug`: the process lives on.
    pub fn apply(&self, batch: RecordBatch) -> Result<Transformed, TransformError> {
        let mut rows = Rows::new(batch);
        for step in &self.steps {
            rows = guarded(|| step.apply(rows)).map_err(|fault| {
                let place = self.place(step.number, step.name(), step.line);
                TransformError { kind: fault.kind, message: format!("{place}: {}", fault.text) }
            })?;
        }
        Ok(rows.finish())
    }

    fn place(&self, number: usize, name: &str, line: usize) -> String {
        format!("job {}: step {number} ({name}) in {}:{line}", self.job, self.file)
    }
}

/// Runs a step; a panic in it is a fault of ours. What it leaves half done goes with its rows, which nobody sees again.
fn guarded(step: impl FnOnce() -> Result<Rows, Fault>) -> Result<Rows, Fault> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(outcome) => outcome,
        Err(panic) => Err(Fault::bug(format!("the step panicked: `{}`", panic_text(panic.as_ref())))),
    }
}

/// What a panic said, as far as it said it in text.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "no text".to_owned(),
    }
}

#[cfg(test)]
mod tests;
