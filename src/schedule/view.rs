//! What the driver looks like from outside: a snapshot.

use jiff::Timestamp;

use super::Why;
use crate::event::RunEnd;
use crate::ids::JobName;

/// All jobs at one moment, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub at: Timestamp,
    pub jobs: Vec<JobView>,
    /// Runs under way.
    pub running: usize,
    /// Runs that wait for a place or for their moment.
    pub waiting: usize,
    /// No run starts any more.
    pub stopping: bool,
}

/// One job at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    pub job: JobName,
    /// As the file says it, with the zone where that matters: `0 6 * * * (Europe/Berlin)`.
    pub schedule: Option<String>,
    /// The first due time after `at`; `None` without a schedule.
    pub next_due: Option<Timestamp>,
    pub running: Option<RunningView>,
    pub waiting: Option<WaitingView>,
    pub parked: Option<ParkedView>,
    /// How its last run of this process ended.
    pub last_end: Option<EndView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningView {
    pub since: Timestamp,
    pub due_at: Option<Timestamp>,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingView {
    /// Not before this moment; in the past where only a place is lacking.
    pub start_at: Timestamp,
    pub due_at: Option<Timestamp>,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedView {
    /// `None`: until somebody changes something.
    pub until: Option<Timestamp>,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndView {
    pub at: Timestamp,
    pub ended: RunEnd,
}
