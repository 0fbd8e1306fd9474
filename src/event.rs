//! What happens during a run, for whoever shows, counts or alerts. One enum; sending never blocks and never fails a run.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::Counts;
use crate::error::ErrorKind;
use crate::ids::{JobName, RunId, Seq};
use crate::slice::Slice;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    RunStarted {
        job: JobName,
        run: RunId,
    },
    SliceStarted {
        job: JobName,
        slice: Slice,
    },
    /// A request was sent; redirects and retries count.
    RequestSent {
        job: JobName,
    },
    /// A page was fetched: bytes after decompression, records in it; the source's total where the API tells one.
    PageFetched {
        job: JobName,
        bytes: u64,
        records: u64,
        total: Option<u64>,
    },
    /// A request waits for its budget or for the source's patience.
    Waiting {
        job: JobName,
        reason: String,
        length: Duration,
    },
    /// An attempt failed and will be made again.
    Retrying {
        job: JobName,
        reason: String,
        attempt: u32,
        length: Duration,
    },
    SchemaChanged {
        job: JobName,
        change: String,
    },
    SliceCommitted {
        job: JobName,
        seq: Seq,
        counts: Counts,
        files: u64,
        bytes: u64,
    },
    /// Nothing to keep in it: coverage advanced without a record.
    SliceEmpty {
        job: JobName,
        slice: Slice,
        counts: Counts,
    },
    SliceFailed {
        job: JobName,
        slice: Slice,
        reason: String,
    },
    Recovered {
        job: JobName,
        recovery: Recovery,
        what: String,
    },
    RunFinished {
        job: JobName,
        run: RunId,
        counts: Counts,
        failed: bool,
        /// The high-water mark afterwards, where it is a point in time.
        mark: Option<Timestamp>,
    },
    /// The end as the daemon sees it, also of a run that never came to begin. Comes after `RunFinished`.
    JobEnded {
        job: JobName,
        took: Duration,
        end: RunEnd,
    },
}

impl Event {
    /// Whose event it is.
    pub fn job(&self) -> &JobName {
        match self {
            Event::RunStarted { job, .. }
            | Event::SliceStarted { job, .. }
            | Event::RequestSent { job }
            | Event::PageFetched { job, .. }
            | Event::Waiting { job, .. }
            | Event::Retrying { job, .. }
            | Event::SchemaChanged { job, .. }
            | Event::SliceCommitted { job, .. }
            | Event::SliceEmpty { job, .. }
            | Event::SliceFailed { job, .. }
            | Event::Recovered { job, .. }
            | Event::RunFinished { job, .. }
            | Event::JobEnded { job, .. } => job,
        }
    }
}

/// What a settlement found, before anything was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Records that this state did not know of: a crash left them, or another writer brought them.
    Adopted,
    /// A record was taken back, because its files were gone before they could be seen.
    Voided,
    /// The lake had records once that it has no longer.
    Lost,
}

impl Recovery {
    /// The word in the history.
    pub fn name(self) -> &'static str {
        match self {
            Recovery::Adopted => "adopted",
            Recovery::Voided => "voided",
            Recovery::Lost => "lost",
        }
    }

    /// Whether something was gone that had counted.
    pub fn is_loss(self) -> bool {
        self != Recovery::Adopted
    }
}

/// How a run ended, for whoever decides what comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    Done,
    /// The reason is the whole chain.
    Failed {
        kind: ErrorKind,
        reason: String,
    },
    /// It will not work before this time, or (`None`) before a file or a secret is changed: no due time starts the job meanwhile, a
    /// run by hand or a reload does.
    Parked {
        until: Option<Timestamp>,
        reason: String,
    },
    Stopped,
}

impl RunEnd {
    /// What an error means to the job.
    pub fn of(kind: ErrorKind, reason: String) -> RunEnd {
        match kind {
            ErrorKind::Config | ErrorKind::Auth => RunEnd::Parked { until: None, reason },
            ErrorKind::Throttled { retry_at: Some(at) } => RunEnd::Parked { until: Some(at), reason },
            ErrorKind::Cancelled => RunEnd::Stopped,
            ErrorKind::Throttled { retry_at: None }
            | ErrorKind::Unavailable
            | ErrorKind::Data
            | ErrorKind::Conflict
            | ErrorKind::Bug => RunEnd::Failed { kind, reason },
        }
    }

    /// The word in logs, metrics and `--json`.
    pub fn name(&self) -> &'static str {
        match self {
            RunEnd::Done => "done",
            RunEnd::Failed { .. } => "failed",
            RunEnd::Parked { .. } => "parked",
            RunEnd::Stopped => "stopped",
        }
    }
}

/// Whoever wants to hear of events.
pub trait Listener: Send + Sync {
    fn hear(&self, event: &Event);
}

/// Where events go. Cheap to clone.
#[derive(Clone, Default)]
pub struct Events {
    listeners: Vec<Arc<dyn Listener>>,
}

impl Events {
    pub fn to(listeners: Vec<Arc<dyn Listener>>) -> Self {
        Events { listeners }
    }

    pub fn tell(&self, event: Event) {
        for listener in &self.listeners {
            listener.hear(&event);
        }
    }
}
