//! How a run went, and why it could not go on.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use thiserror::Error;

use crate::batch::Counts;
use crate::config::catalog::Job;
use crate::error::ErrorKind;
use crate::ids::{JobName, PartitionKey, RunId};
use crate::reject::Reject;
use crate::sink::SinkError;
use crate::slice::{Coverage, Slice};
use crate::state::StateError;

/// How a run went.
#[derive(Debug)]
pub struct RunReport {
    pub run: RunId,
    pub job: JobName,
    pub counts: Counts,
    /// The first record that did not fit: its field, and why.
    pub misfit: Option<String>,
    /// Pages received; retries of a page are not counted here.
    pub pages: u64,
    /// Bytes received, after decompression.
    pub bytes: u64,
    pub files: u64,
    pub bytes_written: u64,
    pub commits: u64,
    pub empty_slices: u64,
    pub failed: Vec<SliceFailure>,
    /// Stop was asked for before everything was read.
    pub stopped: bool,
    /// Parameter sets that the run did not come to.
    pub sets_left: u64,
    /// The high-water mark afterwards, as text; `None` before the first commit or without a cursor. Of several sets the lowest.
    pub mark: Option<String>,
    /// The marks of the sets; empty without `for_each`.
    pub marks: BTreeMap<PartitionKey, Option<String>>,
    /// What an operator had asked for before anything was read, and what became of it.
    pub rewound: Option<String>,
    /// What a crash had left and this run settled, a sentence each.
    pub recovered: Vec<String>,
    /// What counted as read before anything was.
    pub began_with: Coverage,
    /// The first rows and the rejects, where the purpose was to see them.
    pub preview: Option<Preview>,
}

impl RunReport {
    pub(super) fn start(job: &Job, run: RunId) -> Self {
        RunReport {
            run,
            job: job.name.clone(),
            counts: Counts::default(),
            misfit: None,
            pages: 0,
            bytes: 0,
            files: 0,
            bytes_written: 0,
            commits: 0,
            empty_slices: 0,
            failed: Vec::new(),
            stopped: false,
            sets_left: 0,
            mark: None,
            marks: BTreeMap::new(),
            rewound: None,
            recovered: Vec::new(),
            began_with: Coverage::default(),
            preview: None,
        }
    }
}

impl RunReport {
    /// Whether some parameter sets were read although others failed: then what is wrong is wrong with those, not with the job.
    pub fn is_partial(&self) -> bool {
        let failed: BTreeSet<&PartitionKey> = self.failed.iter().map(|failure| &failure.slice.partition).collect();
        !failed.is_empty() && failed.len() as u64 + self.sets_left < self.marks.len() as u64
    }
}

#[derive(Debug)]
pub struct Preview {
    pub rows: RecordBatch,
    pub rejects: Vec<Reject>,
    /// How far it went and why it ended there, for people.
    pub paging: String,
    /// Whether another page follows; false also where that is not known.
    pub more: bool,
    /// What whoever tries the definition out should look at.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
pub struct SliceFailure {
    pub slice: Slice,
    pub kind: ErrorKind,
    /// The whole chain.
    pub reason: String,
}

/// Why a run could not go through its slices.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct RunError {
    pub kind: ErrorKind,
    pub message: String,
}

impl RunError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        RunError { kind, message: message.into() }
    }
}

impl From<StateError> for RunError {
    fn from(error: StateError) -> Self {
        RunError::new(error.kind, crate::error::chain(&error))
    }
}

impl From<SinkError> for RunError {
    fn from(error: SinkError) -> Self {
        RunError::new(error.kind, crate::error::chain(&error))
    }
}
