//! One run of one job, from lease to commit. Read this first.
//!
//!     lease -> settle what a crash left -> plan what is not covered -> per slice: fetch, decode, cut, transform, stage, commit
//!
//! The room introduces source, sink and state to each other; none of them knows the others. It holds no knowledge of a format, a
//! protocol of an API or a clock. Deliberately absent: when to run (schedule), what may still be asked (quota).

mod commit;
mod effects;
mod load;
mod preview;
mod read;
mod refine;
mod settle;
mod spool;

pub use load::mark_text;
pub use spool::clean as clean_spools;

use std::path::PathBuf;
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
use crate::reject::Reject;
use crate::sink::SinkError;
use crate::slice::Slice;
use crate::source::Source;
use crate::state::{State, StateError};
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
    pub spool: PathBuf,
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
    /// The high-water mark afterwards, as text; `None` before the first commit or without a cursor.
    pub mark: Option<String>,
    /// What a crash had left and this run settled, a sentence each.
    pub recovered: Vec<String>,
    /// The first rows and the rejects, where the purpose was to see them.
    pub preview: Option<Preview>,
}

impl RunReport {
    fn start(job: &Job, run: RunId) -> Self {
        RunReport {
            run,
            job: job.name.clone(),
            counts: Counts::default(),
            pages: 0,
            bytes: 0,
            files: 0,
            bytes_written: 0,
            commits: 0,
            empty_slices: 0,
            failed: Vec::new(),
            stopped: false,
            mark: None,
            recovered: Vec::new(),
            preview: None,
        }
    }
}

#[derive(Debug)]
pub struct Preview {
    pub rows: RecordBatch,
    pub rejects: Vec<Reject>,
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

/// Runs a job once.
///
/// An error means that the run came to an end before its slices did; slices that failed while others went on are in the report.
/// Safe to repeat after any end, a kill included: what was committed is covered, what was not is read again.
pub async fn run_job(job: &Job, purpose: Purpose, ports: &Ports) -> Result<RunReport, RunError> {
    match purpose {
        Purpose::Load => load::load(job, ports).await,
        Purpose::Preview { rows } => preview::preview(job, rows, ports).await,
    }
}
