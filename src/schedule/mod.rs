//! When jobs run: due times, catching up, no job beside itself, jobs after jobs, and the loop that starts runs.
//!
//! Two halves. [`timetable`] is pure: jobs, what the state remembers and a moment go in, runs that are to start come out. The
//! [`driver`] is one loop around it: the scheduler's rings, commands, ends of runs and the request to stop become one event each.
//! tokio-cron-scheduler only rings; nothing is decided by it, so a ring that it loses or makes twice changes nothing.
//!
//! A due time is *claimed* in the state right before its run starts. That claim succeeds once, so no due time fires twice, not
//! over restarts, steps of the clock or changes of the files; what was due and never claimed is what catching up begins from.
//!
//! Absent on purpose: what a run does. Whoever implements [`Runner`] knows.

pub mod alarm;
pub mod driver;
pub mod handle;
pub mod job;
pub mod timetable;
pub mod view;

use async_trait::async_trait;
use jiff::Timestamp;
use thiserror::Error;

use crate::error::ErrorKind;
use crate::event::RunEnd;
use crate::ids::JobName;
use crate::state::StateError;

pub use driver::Driver;
pub use handle::{Gone, HandRuns, Handle, Reloaded};
pub use job::ScheduledJob;
pub use timetable::still_parked;
pub use view::{JobView, View};

/// A run that is to start now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRun {
    pub job: JobName,
    /// The nominal due time, which jitter does not move; `None` for a run by hand or after another job.
    pub due_at: Option<Timestamp>,
    pub why: Why,
}

/// Why a run starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is due.
    Schedule,
    /// It was due while it could not run: the daemon was down, or the job's last run was not over.
    CatchUp,
    /// This job has succeeded.
    After(JobName),
    /// Somebody asked for it.
    Hand,
    /// It was parked for a time that is over.
    Resume,
}

impl Why {
    /// The word used in logs and `--json`.
    pub fn name(&self) -> &'static str {
        match self {
            Why::Schedule => "schedule",
            Why::CatchUp => "catch_up",
            Why::After(_) => "after",
            Why::Hand => "hand",
            Why::Resume => "resume",
        }
    }
}

/// Runs one job, once.
#[async_trait]
pub trait Runner: Send + Sync {
    /// Returns when the run is over. Watches the request to stop by itself. May panic: that ends as `Failed` with kind `Bug`, and
    /// nothing else is touched. Dropped only with the driver, after a second request to stop.
    async fn run(&self, due: DueRun) -> RunEnd;
}

/// Why the driver could not go on.
#[derive(Debug, Error)]
pub enum ScheduleError {
    #[error("read the due times: {source}")]
    State {
        #[from]
        source: StateError,
    },
    #[error("start the scheduler: {message}")]
    Alarm { message: String },
}

impl ScheduleError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            ScheduleError::State { source } => source.kind,
            ScheduleError::Alarm { .. } => ErrorKind::Bug,
        }
    }
}
