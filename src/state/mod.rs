//! Leases, batches, due times, tokens, the ledger of budgets, run history: a cache of the lake for marks, the only home of the rest.
//!
//! Deliberately absent: anything that decides. A commit counts by its record in the lake; the state follows.

#[cfg(any(test, debug_assertions))]
pub mod contract;
#[cfg(any(test, debug_assertions))]
pub mod faulty;
pub mod memory;
pub mod postgres;
pub mod sqlite;

mod error;
mod rows;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::dataset::DatasetState;
pub use error::StateError;
pub use rows::{BatchStatus, Condition, ConditionKey, DueTimes, EventRow, PARKED_REASON_MAX, RunRow, Told};

use crate::ids::{BatchId, ClaimId, DatasetName, Epoch, JobName, Seq};
use crate::ledger::Ledger;
use crate::slice::Cover;
use crate::vault::TokenVault;

/// The state store. Every method is one transaction, atomic and durable on return; an error leaves open whether it happened,
/// and every method may be repeated. The ledger of budgets and the vault of tokens are parts of it, each
/// behind a port of its own.
#[async_trait]
pub trait State: Ledger + TokenVault {
    /// Takes the right to run a dataset's job; raises the epoch. A row is made for a dataset that has none. `Conflict` if
    /// another live owner holds it; a lease whose taker was told of an error is not live.
    async fn lease(&self, dataset: &DatasetName, owner: &str, now: Timestamp) -> Result<Lease, StateError>;
    /// How long a lease holds that nobody renews, by the state's own clock; `None` where it holds until its process ends.
    fn lease_length(&self) -> Option<Duration> {
        None
    }
    /// Makes the lease hold for its length from now on. `Conflict` if it was taken over. Asked once, not again: the caller counts
    /// how long it may believe in it, from the moment before it asked.
    async fn renew(&self, lease: &Lease) -> Result<(), StateError>;
    /// Gives the lease back; a lease that is no longer held is no error.
    async fn release(&self, lease: &Lease) -> Result<(), StateError>;
    /// What is known of a dataset; `None` before its first lease.
    async fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetState>, StateError>;
    async fn datasets(&self) -> Result<Vec<(DatasetName, DatasetState)>, StateError>;

    /// Notes a batch as prepared, before its decision. Repeatable, also with another seq. `Conflict` as for `advance`.
    async fn note_batch(&self, lease: &Lease, note: &BatchNote) -> Result<(), StateError>;
    /// Batches that were prepared and neither done nor dropped, by seq.
    async fn open_batches(&self, dataset: &DatasetName) -> Result<Vec<BatchNote>, StateError>;
    /// Marks a batch: nothing of it was decided, or its staged files are gone. One that is not known is no error: the state may
    /// be an old copy. `Conflict` as for `advance`.
    async fn mark_batch(&self, lease: &Lease, batch: BatchId, status: BatchStatus) -> Result<(), StateError>;

    /// Sets what is known of a dataset, and marks `done` (if any) as done, in one transaction. Fails with `Conflict` if the
    /// lease's epoch is no longer the dataset's: the caller is fenced and stops.
    async fn advance(&self, lease: &Lease, state: &DatasetState, done: Option<BatchId>) -> Result<(), StateError>;

    /// Notes a run. Only the newest runs of a job are kept ([`HISTORY_MAX`]).
    async fn start_run(&self, run: &RunRow) -> Result<(), StateError>;
    /// Replaces what is noted of a run.
    async fn finish_run(&self, run: &RunRow) -> Result<(), StateError>;
    /// The newest runs first, at most `limit`, of one job or of all.
    async fn runs(&self, job: Option<&JobName>, limit: u32) -> Result<Vec<RunRow>, StateError>;
    /// Notes that something happened that an operator may want to see later. Only the newest of a job are kept.
    async fn note_event(&self, at: Timestamp, job: Option<&JobName>, kind: &str, text: &str) -> Result<(), StateError>;
    /// The newest events first, at most `limit`, of one job or of all.
    async fn events(&self, job: Option<&JobName>, limit: u32) -> Result<Vec<EventRow>, StateError>;
    /// When the newest run that ended well began, of each of these jobs that has one among the runs that are kept.
    async fn last_done(&self, jobs: &[JobName]) -> Result<BTreeMap<JobName, Timestamp>, StateError>;

    /// What is wrong, and what whom was told of it, by key.
    async fn conditions(&self) -> Result<Vec<Condition>, StateError>;
    /// Notes a condition, in place of what was noted under its key. Repeatable.
    async fn put_condition(&self, condition: &Condition) -> Result<(), StateError>;
    /// Forgets a condition; one that is not there is no error.
    async fn drop_condition(&self, key: &ConditionKey) -> Result<(), StateError>;

    /// Reads something: proof that the state still answers.
    async fn ping(&self) -> Result<(), StateError>;

    /// What is known of the jobs' due times, by name.
    async fn due_times(&self) -> Result<Vec<(JobName, DueTimes)>, StateError>;
    /// Replaces what is known of these jobs, all or none. A claim of the same due time by another than before fails afterwards as
    /// it would have.
    async fn set_due_times(&self, rows: &[(JobName, DueTimes)]) -> Result<(), StateError>;
    /// Takes a due time for one run: `true` exactly if it lies after everything that is settled of the job, or if this very claim
    /// has taken it already. It and all before are settled then, `next_due` is noted, nothing is owed any more and the job is not
    /// parked. `false` changes nothing; so for a job that has no row.
    async fn claim_due(
        &self,
        job: &JobName,
        due_at: Timestamp,
        claim: ClaimId,
        next_due: Option<Timestamp>,
    ) -> Result<bool, StateError>;
    /// Forgets jobs; one that is not known is no error.
    async fn forget_due_times(&self, jobs: &[JobName]) -> Result<(), StateError>;

    /// The last call: what is still held is given back, and files and connections are closed.
    async fn end(&self);
}

/// Runs and events that are kept of each job: hundreds of jobs must not make a state of gigabytes within a year.
pub const HISTORY_MAX: u32 = 1_000;

/// Batches that are done or dropped and still kept of each dataset, for whoever looks at what happened.
pub const CLOSED_BATCHES_MAX: u32 = 100;

/// The right to run a dataset's job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub dataset: DatasetName,
    pub owner: String,
    pub epoch: Epoch,
}

/// A batch between staging and the end of its publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchNote {
    pub batch: BatchId,
    pub seq: Seq,
    pub status: BatchStatus,
    /// The staged objects, by path.
    pub staged: Vec<String>,
    pub covers: Vec<Cover>,
    pub rows: u64,
    pub bytes: u64,
    pub noted_at: Timestamp,
}
