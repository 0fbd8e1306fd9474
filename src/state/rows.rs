//! What stands in the state row by row: runs, events, conditions, where batches stand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::Counts;
use crate::ids::{JobName, RunId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    pub run: RunId,
    pub job: JobName,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// `running`, `done`, `failed`, `stopped`.
    pub status: String,
    pub counts: Counts,
    pub requests: u64,
    pub bytes: u64,
    pub files: u64,
    pub commits: u64,
    /// The whole chain of the first error.
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    pub at: Timestamp,
    pub job: Option<JobName>,
    pub kind: String,
    pub text: String,
}

/// What is known of a job's due times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueTimes {
    /// Every due time up to this one was claimed or dropped, none may start a run any more. What lies between it and now was
    /// missed. For a job that is new, the moment at which it was first seen.
    pub last_due: Option<Timestamp>,
    /// The first due time after that, for whoever shows it.
    pub next_due: Option<Timestamp>,
    /// The schedule as text; empty where there is none.
    pub schedule: String,
    /// The job whose success this one still has to follow.
    pub owed_after: Option<JobName>,
    /// Before this moment no run of it begins by itself, and at it the run that was cut short goes on. It stands there until that
    /// run begins.
    pub parked_until: Option<Timestamp>,
    /// Why; at most [`PARKED_REASON_MAX`] characters.
    pub parked_reason: Option<String>,
}

/// The longest reason for which a job is kept as parked, characters.
pub const PARKED_REASON_MAX: usize = 2_000;

/// Which condition: what is wrong with which job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConditionKey {
    pub job: JobName,
    /// A word of `alert`, such as `run_failed`.
    pub kind: String,
    /// Tells those of one kind apart: the change of a table's columns. Empty where a job can have only one.
    pub detail: String,
}

/// Something that is wrong, or that happened once: what operators are told of, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub key: ConditionKey,
    pub since: Timestamp,
    /// In one sentence; the first reason, not the latest.
    pub reason: String,
    /// When it had passed; `None` while it holds.
    pub cleared_at: Option<Timestamp>,
    /// By name of a channel, what it was told last; who is not in it was told nothing.
    pub told: BTreeMap<String, Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Raised,
    Cleared,
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    Prepared,
    /// Its seq went to another or it was given up; staged files may still lie there.
    Aborted,
    Done,
    /// Aborted, and its staged files are gone.
    Dropped,
}
