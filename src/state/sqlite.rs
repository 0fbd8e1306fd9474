//! The state in one SQLite file, which belongs to one process.
//!
//! A lock on a file beside it (`<file>.lock`) says who lives: whoever holds it may take over every lease that stands in the
//! file, for their owners are dead. Readers (`status`, `runs`) take no lock and see the last transaction that was committed.
//! One connection does everything in turn: transactions are short, and none ever waits for another of the same process.
//! A transaction is on the disk when it ends, but for those that mean nothing once the process is gone: see `Flush`.

mod batches;
mod conditions;
mod datasets;
mod due;
mod errors;
mod history;
mod ledger;
mod open;
mod vault;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, Transaction};

use self::errors::state_error;
pub(super) use self::open::take_folder;
use super::{
    BatchNote, BatchStatus, Condition, ConditionKey, DatasetState, DueTimes, EventRow, Lease, RunRow, State, StateError,
};
use crate::ids::{BatchId, ClaimId, DatasetName, Epoch, JobName};

/// The state of one process.
pub struct SqliteState {
    pool: SqlitePool,
    path: PathBuf,
    /// Leases that this process holds, or (epoch 0) is about to take.
    live: Mutex<BTreeMap<DatasetName, Epoch>>,
    /// Held as long as this lives; `None` for a reader.
    lock: Option<File>,
    /// The file has a log ahead of it, in which transactions keep their order whether they are flushed or not.
    logged: bool,
}

/// When what a transaction wrote is on the disk.
///
/// With a log ahead of the file commits at `NORMAL` keep their order, and the first one at `FULL` that writes something flushes all before
/// it: power that fails takes the last ones, as a kill before them would have. <https://www.sqlite.org/pragma.html#pragma_synchronous>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    /// When it ends: something outside of the file is built on it.
    Now,
    /// With the next one that is flushed, which comes before anything is built on it. For what says that this process is at work, and of
    /// what: where the power fails, the process is no more. And for events, on which nothing is built.
    WithTheNext,
}

impl SqliteState {
    /// Opens the state for this process alone, makes it if it is not there, brings its tables up to date. Runs that a dead process
    /// left running are noted as failed.
    ///
    /// # Errors
    /// `Conflict` if another process works with it, `Config` if it is damaged or was written by a newer program.
    pub async fn open(path: &Path) -> Result<SqliteState, StateError> {
        open::for_writing(path).await
    }

    /// Opens the state to look at it, beside a process that works with it or alone.
    ///
    /// # Errors
    /// `Config` if there is none yet, or one of another version.
    pub async fn open_read_only(path: &Path) -> Result<SqliteState, StateError> {
        open::for_reading(path).await
    }

    /// Looks at every page of the state, beside a process that works with it or alone.
    ///
    /// # Errors
    /// `Config` if there is none, or one that is damaged or of another version.
    pub async fn examine(path: &Path) -> Result<(), StateError> {
        open::examine(path).await
    }

    /// Waits until everything is written and the file is closed. Dropping does the same, later.
    pub async fn close(self) {
        self.pool.close().await;
    }

    fn new(pool: SqlitePool, path: &Path, lock: Option<File>, logged: bool) -> Self {
        SqliteState { pool, path: path.to_owned(), live: Mutex::default(), lock, logged }
    }

    /// A transaction that writes. It takes the file's write lock at once: one that began as a reader could not go on as a writer
    /// after somebody else wrote.
    async fn begin(&self, action: &str, flush: Flush) -> Result<Transaction<'static, Sqlite>, StateError> {
        if self.lock.is_none() {
            let message = format!("`{}` was opened to be read", self.path.display());
            return Err(StateError { kind: crate::error::ErrorKind::Bug, action: action.to_owned(), message });
        }
        // Each says it for itself: the connection keeps what the last one said.
        let begin = match flush {
            Flush::WithTheNext if self.logged => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
            _ => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
        };
        self.pool.begin_with(begin).await.map_err(|error| state_error(action, &error))
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<DatasetName, Epoch>> {
        // A panic while it was held leaves a map that is whole.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a transaction that writes.
async fn commit(action: &str, transaction: Transaction<'static, Sqlite>) -> Result<(), StateError> {
    transaction.commit().await.map_err(|error| state_error(action, &error))
}

#[async_trait]
impl State for SqliteState {
    async fn lease(&self, dataset: &DatasetName, owner: &str, now: Timestamp) -> Result<Lease, StateError> {
        datasets::lease(self, dataset, owner, now).await
    }

    /// It holds until the process ends; nobody could have taken it over.
    async fn renew(&self, _lease: &Lease) -> Result<(), StateError> {
        Ok(())
    }

    async fn release(&self, lease: &Lease) -> Result<(), StateError> {
        datasets::release(self, lease).await
    }

    async fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetState>, StateError> {
        datasets::one(self, dataset).await
    }

    async fn datasets(&self) -> Result<Vec<(DatasetName, DatasetState)>, StateError> {
        datasets::all(self).await
    }

    async fn note_batch(&self, lease: &Lease, note: &BatchNote) -> Result<(), StateError> {
        batches::note(self, lease, note).await
    }

    async fn open_batches(&self, dataset: &DatasetName) -> Result<Vec<BatchNote>, StateError> {
        batches::open(self, dataset).await
    }

    async fn mark_batch(&self, lease: &Lease, batch: BatchId, status: BatchStatus) -> Result<(), StateError> {
        batches::mark(self, lease, batch, status).await
    }

    async fn advance(&self, lease: &Lease, state: &DatasetState, done: Option<BatchId>) -> Result<(), StateError> {
        datasets::advance(self, lease, state, done).await
    }

    async fn start_run(&self, run: &RunRow) -> Result<(), StateError> {
        history::note_run(self, "note that the run began", run, Flush::WithTheNext).await
    }

    async fn finish_run(&self, run: &RunRow) -> Result<(), StateError> {
        history::note_run(self, "note how the run went", run, Flush::Now).await
    }

    async fn runs(&self, job: Option<&JobName>, limit: u32) -> Result<Vec<RunRow>, StateError> {
        history::runs(self, job, limit).await
    }

    async fn note_event(&self, at: Timestamp, job: Option<&JobName>, kind: &str, text: &str) -> Result<(), StateError> {
        history::note_event(self, EventRow { at, job: job.cloned(), kind: kind.to_owned(), text: text.to_owned() }).await
    }

    async fn events(&self, job: Option<&JobName>, limit: u32) -> Result<Vec<EventRow>, StateError> {
        history::events(self, job, limit).await
    }

    async fn last_done(&self, jobs: &[JobName]) -> Result<BTreeMap<JobName, Timestamp>, StateError> {
        history::last_done(self, jobs).await
    }

    async fn conditions(&self) -> Result<Vec<Condition>, StateError> {
        conditions::all(self).await
    }

    async fn put_condition(&self, condition: &Condition) -> Result<(), StateError> {
        conditions::put(self, condition).await
    }

    async fn drop_condition(&self, key: &ConditionKey) -> Result<(), StateError> {
        conditions::forget(self, key).await
    }

    async fn ping(&self) -> Result<(), StateError> {
        open::ping(self).await
    }

    async fn due_times(&self) -> Result<Vec<(JobName, DueTimes)>, StateError> {
        due::all(self).await
    }

    async fn set_due_times(&self, rows: &[(JobName, DueTimes)]) -> Result<(), StateError> {
        due::set(self, rows).await
    }

    async fn claim_due(
        &self,
        job: &JobName,
        due_at: Timestamp,
        claim: ClaimId,
        next_due: Option<Timestamp>,
    ) -> Result<bool, StateError> {
        due::claim(self, job, due_at, claim, next_due).await
    }

    async fn forget_due_times(&self, jobs: &[JobName]) -> Result<(), StateError> {
        due::forget(self, jobs).await
    }

    async fn end(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests;
