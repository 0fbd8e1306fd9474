//! The state in a Postgres database, which several processes share.
//!
//! A lease ends by the database's clock unless it is renewed, and every writing under it is checked against its epoch, so a process
//! that was away for longer writes nothing any more. Every method is one statement, or one transaction, that may be repeated: where
//! the answer was lost it is asked again, for as long as is sensible, and finds what it wrote itself.

mod batches;
mod conditions;
mod datasets;
mod due;
mod errors;
mod history;
mod ledger;
mod open;
mod vault;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::postgres::PgPool;

use self::errors::{no_answer, state_error};
use super::{
    BatchNote, BatchStatus, Condition, ConditionKey, DatasetState, DueTimes, EventRow, Lease, RunRow, State, StateError,
};
use crate::clock::Clock;
use crate::config::secret::SecretString;
use crate::error::ErrorKind;
use crate::ids::{BatchId, ClaimId, DatasetName, JobName};

/// How long a lease holds that is not renewed.
pub const LEASE: Duration = Duration::from_secs(60);

/// How long the first attempt of a call may take, and each further one twice as long as the one before: what is asked takes
/// milliseconds, and a connection that is silent must not hold a run up.
const FIRST: Duration = Duration::from_secs(3);
/// How long one attempt may take at the most: a server that is gone without a word must not be waited for.
const CALL: Duration = Duration::from_secs(20);
/// How long a call is tried again where the server does not answer, or says that it cannot now. A restart takes less.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const ATTEMPTS_MAX: u32 = 100;

/// The state, as one of several processes works with it.
pub struct PostgresState {
    pool: PgPool,
    clock: Arc<dyn Clock>,
    /// This process, unlike any other there ever was. Empty for a reader.
    process: String,
    lease: Duration,
    takings: AtomicU64,
    /// Held as long as this lives: what lies in the folder of this machine is not shared.
    folder: Option<File>,
    /// Takings whose answer was lost, by dataset: nobody holds what they took.
    lost: Mutex<BTreeMap<DatasetName, Vec<String>>>,
}

impl PostgresState {
    /// Opens the state to work with it beside others, and brings its tables up to date. `lease` is how long a lease holds.
    ///
    /// # Errors
    /// `Config` if the address is none, the server refuses us or the tables are a newer program's; `Unavailable` if it does not
    /// answer.
    pub async fn open(url: &SecretString, clock: Arc<dyn Clock>, lease: Duration) -> Result<PostgresState, StateError> {
        open::for_working(url, clock, lease).await
    }

    /// Keeps other processes of this machine from `path`'s folder, where spools and the daemon's socket lie.
    ///
    /// # Errors
    /// `Conflict` if another process works there.
    pub fn alone_beside(mut self, path: &Path) -> Result<PostgresState, StateError> {
        self.folder = Some(super::sqlite::take_folder(path)?);
        Ok(self)
    }

    /// Opens the state to look at it; `None` where there is none yet.
    ///
    /// # Errors
    /// As for [`open`](Self::open); `Config` also for tables of an older program.
    pub async fn open_read_only(url: &SecretString, clock: Arc<dyn Clock>) -> Result<Option<PostgresState>, StateError> {
        open::for_reading(url, clock).await
    }

    fn new(pool: PgPool, clock: Arc<dyn Clock>, process: String, lease: Duration) -> Self {
        PostgresState { pool, clock, process, lease, folder: None, takings: AtomicU64::new(0), lost: Mutex::default() }
    }

    /// Asks, and again while the server does not answer; for what may be repeated.
    async fn ask<T, F>(&self, action: &str, query: impl Fn() -> F) -> Result<T, StateError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        self.ask_for(PATIENCE, action, query).await
    }

    async fn ask_for<T, F>(&self, patience: Duration, action: &str, query: impl Fn() -> F) -> Result<T, StateError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        self.ask_within(patience, (FIRST, CALL), action, query).await
    }

    /// Tries for `patience` in all, and until an attempt had as long as one may have; `first` and `most` are what the first attempt
    /// and any may take.
    async fn ask_within<T, F>(
        &self,
        patience: Duration,
        (first, most): (Duration, Duration),
        action: &str,
        query: impl Fn() -> F,
    ) -> Result<T, StateError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let begun = self.clock.elapsed();
        let (mut pause, mut length) = (PAUSE, first);
        let mut last = no_answer(action);
        for _ in 0..ATTEMPTS_MAX {
            let before = self.clock.elapsed();
            last = match self.attempt(length, action, query()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let now = self.clock.elapsed();
            // A silence says nothing of the server before it was a long one.
            let silent = now.saturating_sub(before) >= length;
            let spent = now.saturating_sub(begun);
            if last.kind != ErrorKind::Unavailable || ((!silent || length == most) && spent + pause > patience) {
                break;
            }
            tracing::debug!(error = %last, "the state is asked again: {last}");
            if silent {
                length = (length * 2).min(most);
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Err(last)
    }

    /// For whoever asks again by itself, soon.
    async fn ask_once<T>(&self, action: &str, query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StateError> {
        self.attempt(FIRST, action, query).await
    }

    async fn attempt<T>(
        &self,
        most: Duration,
        action: &str,
        query: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StateError> {
        tokio::select! {
            answer = query => answer.map_err(|error| state_error(action, &error)),
            () = self.clock.sleep(most) => Err(no_answer(action)),
        }
    }

    /// A name for one taking of a lease: what it took is known by it, even where the answer was lost.
    fn taking(&self) -> String {
        format!("{}/{}", self.process, self.takings.fetch_add(1, Ordering::Relaxed))
    }

    fn lost(&self) -> MutexGuard<'_, BTreeMap<DatasetName, Vec<String>>> {
        // A panic while it was held leaves a map that is whole.
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A text as Postgres takes it: it has no NUL, and one that a source sent must not keep a run from being noted.
fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Stands for a text of any length in an index.
fn key_of(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait]
impl State for PostgresState {
    fn lease_length(&self) -> Option<Duration> {
        Some(self.lease)
    }

    async fn lease(&self, dataset: &DatasetName, owner: &str, now: Timestamp) -> Result<Lease, StateError> {
        datasets::lease(self, dataset, owner, now).await
    }

    async fn renew(&self, lease: &Lease) -> Result<(), StateError> {
        datasets::renew(self, lease).await
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
        history::note_run(self, "note that the run began", run).await
    }

    async fn finish_run(&self, run: &RunRow) -> Result<(), StateError> {
        history::note_run(self, "note how the run went", run).await
    }

    async fn runs(&self, job: Option<&JobName>, limit: u32) -> Result<Vec<RunRow>, StateError> {
        history::runs(self, job, limit).await
    }

    async fn note_event(&self, at: Timestamp, job: Option<&JobName>, kind: &str, text: &str) -> Result<(), StateError> {
        history::note_event(self, at, job, kind, text).await
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
        open::end(self).await;
    }
}

#[cfg(test)]
mod tests;
