//! One run of one job, from lease to commit. Read this first.

use std::sync::Arc;

use arrow::array::RecordBatch;
use thiserror::Error;

use crate::batch::Counts;
use crate::clock::Clock;
use crate::config::catalog::Job;
use crate::error::ErrorKind;
use crate::event::Events;
use crate::fault::Guards;
use crate::ids::{JobName, RunId};
use crate::slice::Slice;
use crate::source::Source;
use crate::state::State;
use crate::stop::Stop;
use crate::store::Store;

/// What a run is for: one path, different ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Load,
    /// Reads pages until `rows` rows are there, writes nothing anywhere.
    Preview {
        rows: usize,
    },
}

/// The injected parts of a run.
#[derive(Clone)]
pub struct Ports {
    pub state: Arc<dyn State>,
    pub store: Arc<dyn Store>,
    pub source: Arc<dyn Source>,
    pub clock: Arc<dyn Clock>,
    pub events: Events,
    pub stop: Stop,
    /// Who takes the lease: unique to this process.
    pub owner: String,
    /// Where pages of an undecided slice are spooled; local, disposable.
    pub spool: std::path::PathBuf,
    /// Ceiling on data in flight, bytes.
    pub memory: u64,
    pub guards: Guards,
}

/// How a run went.
#[derive(Debug)]
pub struct RunReport {
    pub run: RunId,
    pub job: JobName,
    pub counts: Counts,
    pub requests: u64,
    pub bytes: u64,
    pub files: u64,
    pub bytes_written: u64,
    pub commits: u64,
    pub empty_slices: u64,
    pub failed: Vec<SliceFailure>,
    /// Stop was asked for before everything was read.
    pub stopped: bool,
    /// The high-water mark afterwards, as text; `None` before the first commit or without a cursor.
    pub mark: Option<String>,
    /// What a crash had left and this run settled.
    pub recovered: Vec<String>,
    /// The first rows and the rejects, where the purpose was to see them.
    pub preview: Option<Preview>,
}

#[derive(Debug)]
pub struct Preview {
    pub rows: RecordBatch,
    pub rejects: Vec<crate::reject::Reject>,
}

#[derive(Debug)]
pub struct SliceFailure {
    pub slice: Slice,
    pub kind: ErrorKind,
    /// The whole chain.
    pub reason: String,
}

/// Why a run could not even go through its slices.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct RunError {
    pub kind: ErrorKind,
    pub message: String,
}

/// Runs a job once.
pub async fn run_job(_job: &Job, _purpose: Purpose, _ports: &Ports) -> Result<RunReport, RunError> {
    Err(RunError { kind: ErrorKind::Bug, message: "not laid yet".to_owned() })
}
