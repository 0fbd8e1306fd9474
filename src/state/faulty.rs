//! A state whose every method is an effect of a [`FaultPlan`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    BatchNote, BatchStatus, Condition, ConditionKey, DatasetState, DueTimes, EventRow, Lease, RunRow, State, StateError,
};
use crate::config::secret::SecretString;
use crate::error::ErrorKind;
use crate::fault::{FaultPlan, Outcome};
use crate::ids::{BatchId, ClaimId, DatasetName, JobName};
use crate::ledger::{Ledger, LedgerEntry, LedgerError};
use crate::vault::{TokenVault, VaultEntry, VaultError};

/// Wraps a state. In a dead world nothing reaches it.
pub struct FaultyState {
    inner: Arc<dyn State>,
    plan: Arc<FaultPlan>,
}

impl FaultyState {
    pub fn new(inner: Arc<dyn State>, plan: Arc<FaultPlan>) -> Self {
        FaultyState { inner, plan }
    }

    async fn effect<T, E: From<StateError>>(&self, action: String, perform: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let outcome = self.plan.effect(format!("state.{action}"), perform).await;
        answer(outcome, action)
    }
}

/// What the caller is told of an effect.
fn answer<T, E: From<StateError>>(outcome: Outcome<Result<T, E>>, action: String) -> Result<T, E> {
    match outcome {
        Outcome::Answer(answer) => answer,
        // Not `Unavailable`: whoever retries what passes would wait for a world that is gone.
        Outcome::Killed => Err(StateError { kind: ErrorKind::Cancelled, action, message: "killed".to_owned() }.into()),
        Outcome::Failed { .. } | Outcome::ToldExists => {
            Err(StateError { kind: ErrorKind::Unavailable, action, message: "failed as planned".to_owned() }.into())
        }
    }
}

#[async_trait]
impl State for FaultyState {
    async fn lease(&self, dataset: &DatasetName, owner: &str, now: Timestamp) -> Result<Lease, StateError> {
        let action = format!("lease {dataset}");
        let outcome = self.plan.effect(format!("state.{action}"), self.inner.lease(dataset, owner, now)).await;
        // The contract: a lease whose taker was told of an error is not live. The inner state cannot know, so it is told here.
        if let Outcome::Failed { performed: Some(Ok(lease)) } = &outcome {
            self.inner.release(lease).await?;
        }
        answer(outcome, action)
    }

    fn lease_length(&self) -> Option<Duration> {
        self.inner.lease_length()
    }

    async fn renew(&self, lease: &Lease) -> Result<(), StateError> {
        self.effect(format!("renew {}", lease.dataset), self.inner.renew(lease)).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StateError> {
        self.effect(format!("release {}", lease.dataset), self.inner.release(lease)).await
    }

    async fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetState>, StateError> {
        self.effect(format!("dataset {dataset}"), self.inner.dataset(dataset)).await
    }

    async fn datasets(&self) -> Result<Vec<(DatasetName, DatasetState)>, StateError> {
        self.effect("datasets".to_owned(), self.inner.datasets()).await
    }

    async fn note_batch(&self, lease: &Lease, note: &BatchNote) -> Result<(), StateError> {
        self.effect(format!("note_batch {} {}", lease.dataset, note.seq), self.inner.note_batch(lease, note)).await
    }

    async fn open_batches(&self, dataset: &DatasetName) -> Result<Vec<BatchNote>, StateError> {
        self.effect(format!("open_batches {dataset}"), self.inner.open_batches(dataset)).await
    }

    async fn mark_batch(&self, lease: &Lease, batch: BatchId, status: BatchStatus) -> Result<(), StateError> {
        self.effect(format!("mark_batch {}", lease.dataset), self.inner.mark_batch(lease, batch, status)).await
    }

    async fn advance(&self, lease: &Lease, state: &DatasetState, done: Option<BatchId>) -> Result<(), StateError> {
        self.effect(format!("advance {} {}", lease.dataset, state.seq), self.inner.advance(lease, state, done)).await
    }

    async fn start_run(&self, run: &RunRow) -> Result<(), StateError> {
        self.effect(format!("start_run {}", run.job), self.inner.start_run(run)).await
    }

    async fn finish_run(&self, run: &RunRow) -> Result<(), StateError> {
        self.effect(format!("finish_run {}", run.job), self.inner.finish_run(run)).await
    }

    async fn runs(&self, job: Option<&JobName>, limit: u32) -> Result<Vec<RunRow>, StateError> {
        self.effect("runs".to_owned(), self.inner.runs(job, limit)).await
    }

    async fn note_event(&self, at: Timestamp, job: Option<&JobName>, kind: &str, text: &str) -> Result<(), StateError> {
        self.effect(format!("note_event {kind}"), self.inner.note_event(at, job, kind, text)).await
    }

    async fn events(&self, job: Option<&JobName>, limit: u32) -> Result<Vec<EventRow>, StateError> {
        self.effect("events".to_owned(), self.inner.events(job, limit)).await
    }

    async fn last_done(&self, jobs: &[JobName]) -> Result<BTreeMap<JobName, Timestamp>, StateError> {
        self.effect("last_done".to_owned(), self.inner.last_done(jobs)).await
    }

    async fn conditions(&self) -> Result<Vec<Condition>, StateError> {
        self.effect("conditions".to_owned(), self.inner.conditions()).await
    }

    async fn put_condition(&self, condition: &Condition) -> Result<(), StateError> {
        let key = &condition.key;
        self.effect(format!("put_condition {} {}", key.job, key.kind), self.inner.put_condition(condition)).await
    }

    async fn drop_condition(&self, key: &ConditionKey) -> Result<(), StateError> {
        self.effect(format!("drop_condition {} {}", key.job, key.kind), self.inner.drop_condition(key)).await
    }

    async fn ping(&self) -> Result<(), StateError> {
        self.effect("ping".to_owned(), self.inner.ping()).await
    }

    async fn due_times(&self) -> Result<Vec<(JobName, DueTimes)>, StateError> {
        self.effect("due_times".to_owned(), self.inner.due_times()).await
    }

    async fn set_due_times(&self, rows: &[(JobName, DueTimes)]) -> Result<(), StateError> {
        self.effect(format!("set_due_times {}", rows.len()), self.inner.set_due_times(rows)).await
    }

    async fn claim_due(
        &self,
        job: &JobName,
        due_at: Timestamp,
        claim: ClaimId,
        next_due: Option<Timestamp>,
    ) -> Result<bool, StateError> {
        self.effect(format!("claim_due {job} {due_at}"), self.inner.claim_due(job, due_at, claim, next_due)).await
    }

    async fn forget_due_times(&self, jobs: &[JobName]) -> Result<(), StateError> {
        self.effect(format!("forget_due_times {}", jobs.len()), self.inner.forget_due_times(jobs)).await
    }

    async fn end(&self) {
        self.inner.end().await;
    }
}

#[async_trait]
impl Ledger for FaultyState {
    async fn entry(&self, account: &str) -> Result<Option<LedgerEntry>, LedgerError> {
        self.effect(format!("entry {account}"), self.inner.entry(account)).await
    }

    async fn entries(&self) -> Result<Vec<LedgerEntry>, LedgerError> {
        self.effect("entries".to_owned(), self.inner.entries()).await
    }

    async fn put_entry(&self, account: &str, before: u64, text: &str, at: Timestamp) -> Result<bool, LedgerError> {
        self.effect(format!("put_entry {account} {before}"), self.inner.put_entry(account, before, text, at)).await
    }

    fn shared_for(&self) -> Option<Duration> {
        self.inner.shared_for()
    }

    async fn shared_entry(&self, account: &str) -> Result<(Option<LedgerEntry>, Timestamp), LedgerError> {
        self.effect(format!("shared_entry {account}"), self.inner.shared_entry(account)).await
    }
}

#[async_trait]
impl TokenVault for FaultyState {
    async fn tokens(&self, credential: &str) -> Result<Option<VaultEntry>, VaultError> {
        self.effect("tokens".to_owned(), self.inner.tokens(credential)).await
    }

    async fn put_tokens(&self, credential: &str, before: u64, text: &SecretString, at: Timestamp) -> Result<bool, VaultError> {
        self.effect(format!("put_tokens {before}"), self.inner.put_tokens(credential, before, text, at)).await
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Ending, Side};
    use crate::state::contract::state_contract;
    use crate::state::memory::MemoryState;

    #[tokio::test]
    async fn keeps_the_contract_when_nothing_goes_wrong() {
        let plan = Arc::new(FaultPlan::none());
        state_contract(&FaultyState::new(Arc::new(MemoryState::new()), Arc::clone(&plan))).await;
        assert_eq!(plan.log()[1], "state.lease leased");
    }

    #[tokio::test]
    async fn a_lease_whose_answer_is_lost_can_be_taken_again() {
        let inner = Arc::new(MemoryState::new());
        let state = FaultyState::new(inner, Arc::new(FaultPlan::none().error_after(1)));
        let dataset = DatasetName::new("orders");
        state.lease(&dataset, "me", Timestamp::UNIX_EPOCH).await.unwrap_err();
        assert_eq!(state.lease(&dataset, "me", Timestamp::UNIX_EPOCH).await.unwrap().epoch, 2);
    }

    #[tokio::test]
    async fn an_entry_whose_answer_is_lost_is_written_once() {
        let inner = Arc::new(MemoryState::new());
        let plan = Arc::new(FaultPlan::none().error_after(1));
        let state = FaultyState::new(inner.clone(), Arc::clone(&plan));
        let put = async || state.put_entry("api", 0, "{}", Timestamp::UNIX_EPOCH).await;
        assert_eq!(put().await.unwrap_err().kind, ErrorKind::Unavailable);
        assert!(put().await.unwrap());
        assert_eq!(state.entry("api").await.unwrap().map(|entry| entry.version), Some(1));
        assert_eq!(state.entries().await.unwrap().len(), 1);
        assert_eq!(plan.log(), ["state.put_entry api 0", "state.put_entry api 0", "state.entry api", "state.entries"]);
    }

    #[tokio::test]
    async fn a_kill_loses_the_answer_and_the_next_process_takes_over() {
        let inner = Arc::new(MemoryState::new());
        let dead = FaultyState::new(inner.clone(), Arc::new(FaultPlan::kill(2, Side::After, Ending::InProcess)));
        let dataset = DatasetName::new("orders");
        let lease = dead.lease(&dataset, "me", Timestamp::UNIX_EPOCH).await.unwrap();
        let advanced = DatasetState { seq: 1, ..DatasetState::default() };
        let told = dead.advance(&lease, &advanced, None).await.unwrap_err();
        assert_eq!(told.kind, ErrorKind::Cancelled);
        assert!(dead.release(&lease).await.is_err());
        let next = inner.reopen();
        assert_eq!(next.dataset(&dataset).await.unwrap(), Some(advanced));
        assert_eq!(next.lease(&dataset, "next", Timestamp::UNIX_EPOCH).await.unwrap().epoch, 2);
    }
}
