//! A state that lives in this process: a fast stand-in for sweeps and simulations, with the same contract.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    BatchNote, BatchStatus, CLOSED_BATCHES_MAX, Condition, ConditionKey, DatasetState, DueTimes, EventRow, HISTORY_MAX, Lease,
    RunRow, State, StateError,
};
use crate::config::secret::SecretString;
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::ids::{BatchId, ClaimId, DatasetName, Epoch, JobName};
use crate::ledger::{self, Ledger, LedgerEntry, LedgerError};
use crate::vault::{self, TokenVault, VaultEntry, VaultError};

/// What would be the file, and the leases of what would be the process.
#[derive(Default)]
pub struct MemoryState {
    kept: Arc<Mutex<Kept>>,
    live: Mutex<BTreeMap<DatasetName, Epoch>>,
}

#[derive(Clone, Default)]
struct Kept {
    datasets: BTreeMap<DatasetName, (Epoch, DatasetState)>,
    batches: BTreeMap<BatchId, (DatasetName, BatchNote)>,
    runs: Vec<RunRow>,
    events: Vec<EventRow>,
    conditions: BTreeMap<ConditionKey, Condition>,
    due: BTreeMap<JobName, (DueTimes, Option<ClaimId>)>,
    ledger: BTreeMap<String, LedgerEntry>,
    vault: BTreeMap<String, VaultEntry>,
}

impl MemoryState {
    pub fn new() -> Self {
        MemoryState::default()
    }

    /// A copy that goes its own way, as no process has it.
    pub fn fork(&self) -> Self {
        MemoryState { kept: Arc::new(Mutex::new(self.kept().clone())), live: Mutex::default() }
    }

    /// What the next process finds: everything that was written, no live lease. The one before must not be used any more.
    pub fn reopen(&self) -> Self {
        for run in &mut self.kept().runs {
            if run.status == "running" {
                run.status = "failed".to_owned();
                run.error = Some("the process ended before the run did".to_owned());
            }
        }
        MemoryState { kept: Arc::clone(&self.kept), live: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<DatasetName, Epoch>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn fenced(&mut self, lease: &Lease) -> Result<&mut DatasetState, StateError> {
        match self.datasets.get_mut(&lease.dataset) {
            Some((epoch, known)) if *epoch == lease.epoch || !Guards::standing().epoch_fences => Ok(known),
            _ => {
                let message = format!("the lease of `{}` was taken over by another run", lease.dataset);
                Err(StateError { kind: ErrorKind::Conflict, action: format!("write to {}", lease.dataset), message })
            }
        }
    }

    fn set_status(&mut self, dataset: &DatasetName, batch: BatchId, status: BatchStatus) {
        if let Some((of, note)) = self.batches.get_mut(&batch)
            && of == dataset
        {
            note.status = status;
        }
    }

    fn forget_closed(&mut self, dataset: &DatasetName) {
        let is_closed = |note: &BatchNote| matches!(note.status, BatchStatus::Done | BatchStatus::Dropped);
        let of_dataset = self.batches.values().filter(|(of, note)| of == dataset && is_closed(note));
        let mut closed: Vec<_> = of_dataset.map(|(_, note)| (note.seq, note.batch)).collect();
        closed.sort_by(|one, other| other.cmp(one));
        for (_, batch) in closed.into_iter().skip(CLOSED_BATCHES_MAX as usize) {
            self.batches.remove(&batch);
        }
    }
}

#[async_trait]
impl State for MemoryState {
    async fn lease(&self, dataset: &DatasetName, owner: &str, _now: Timestamp) -> Result<Lease, StateError> {
        let mut live = self.live();
        if live.contains_key(dataset) && Guards::standing().lease_excludes {
            let message = format!("another run of this process works on `{dataset}`");
            return Err(StateError { kind: ErrorKind::Conflict, action: format!("take the lease of {dataset}"), message });
        }
        let mut kept = self.kept();
        let (epoch, _) = kept.datasets.entry(dataset.clone()).or_default();
        *epoch += 1;
        live.insert(dataset.clone(), *epoch);
        Ok(Lease { dataset: dataset.clone(), owner: owner.to_owned(), epoch: *epoch })
    }

    async fn renew(&self, _lease: &Lease) -> Result<(), StateError> {
        Ok(())
    }

    async fn release(&self, lease: &Lease) -> Result<(), StateError> {
        let mut live = self.live();
        if live.get(&lease.dataset) == Some(&lease.epoch) {
            live.remove(&lease.dataset);
        }
        Ok(())
    }

    async fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetState>, StateError> {
        Ok(self.kept().datasets.get(dataset).map(|(_, known)| known.clone()))
    }

    async fn datasets(&self) -> Result<Vec<(DatasetName, DatasetState)>, StateError> {
        let kept = self.kept();
        Ok(kept.datasets.iter().map(|(name, (_, known))| (name.clone(), known.clone())).collect())
    }

    async fn note_batch(&self, lease: &Lease, note: &BatchNote) -> Result<(), StateError> {
        let mut kept = self.kept();
        kept.fenced(lease)?;
        kept.batches.insert(note.batch, (lease.dataset.clone(), note.clone()));
        Ok(())
    }

    async fn open_batches(&self, dataset: &DatasetName) -> Result<Vec<BatchNote>, StateError> {
        let kept = self.kept();
        let is_open = |note: &BatchNote| matches!(note.status, BatchStatus::Prepared | BatchStatus::Aborted);
        let of_dataset = kept.batches.values().filter(|(of, note)| of == dataset && is_open(note));
        let mut open: Vec<_> = of_dataset.map(|(_, note)| note.clone()).collect();
        open.sort_by_key(|note| (note.seq, note.batch));
        Ok(open)
    }

    async fn mark_batch(&self, lease: &Lease, batch: BatchId, status: BatchStatus) -> Result<(), StateError> {
        let mut kept = self.kept();
        kept.fenced(lease)?;
        kept.set_status(&lease.dataset, batch, status);
        Ok(())
    }

    async fn advance(&self, lease: &Lease, state: &DatasetState, done: Option<BatchId>) -> Result<(), StateError> {
        let mut kept = self.kept();
        *kept.fenced(lease)? = state.clone();
        if let Some(batch) = done {
            kept.set_status(&lease.dataset, batch, BatchStatus::Done);
            kept.forget_closed(&lease.dataset);
        }
        Ok(())
    }

    async fn start_run(&self, run: &RunRow) -> Result<(), StateError> {
        self.finish_run(run).await
    }

    async fn finish_run(&self, run: &RunRow) -> Result<(), StateError> {
        let runs = &mut self.kept().runs;
        runs.retain(|noted| noted.run != run.run);
        runs.push(run.clone());
        runs.sort_by_key(|run| (run.started_at, run.run));
        let of_job = runs.iter().filter(|noted| noted.job == run.job).count();
        if of_job > HISTORY_MAX as usize
            && let Some(oldest) = runs.iter().position(|noted| noted.job == run.job)
        {
            runs.remove(oldest);
        }
        Ok(())
    }

    async fn runs(&self, job: Option<&JobName>, limit: u32) -> Result<Vec<RunRow>, StateError> {
        let kept = self.kept();
        let newest = kept.runs.iter().rev().filter(|run| job.is_none_or(|job| run.job == *job));
        Ok(newest.take(limit as usize).cloned().collect())
    }

    async fn note_event(&self, at: Timestamp, job: Option<&JobName>, kind: &str, text: &str) -> Result<(), StateError> {
        let event = EventRow { at, job: job.cloned(), kind: kind.to_owned(), text: text.to_owned() };
        let events = &mut self.kept().events;
        if events.contains(&event) {
            return Ok(());
        }
        events.push(event);
        events.sort_by_key(|event| event.at);
        let of_job = events.iter().filter(|noted| noted.job.as_ref() == job).count();
        if of_job > HISTORY_MAX as usize
            && let Some(oldest) = events.iter().position(|noted| noted.job.as_ref() == job)
        {
            events.remove(oldest);
        }
        Ok(())
    }

    async fn events(&self, job: Option<&JobName>, limit: u32) -> Result<Vec<EventRow>, StateError> {
        let kept = self.kept();
        let newest = kept.events.iter().rev().filter(|event| job.is_none_or(|job| event.job.as_ref() == Some(job)));
        Ok(newest.take(limit as usize).cloned().collect())
    }

    async fn last_done(&self, jobs: &[JobName]) -> Result<BTreeMap<JobName, Timestamp>, StateError> {
        let kept = self.kept();
        let newest = |job: &JobName| kept.runs.iter().rev().find(|run| run.job == *job && run.status == "done");
        Ok(jobs.iter().filter_map(|job| Some((job.clone(), newest(job)?.started_at))).collect())
    }

    async fn conditions(&self) -> Result<Vec<Condition>, StateError> {
        Ok(self.kept().conditions.values().cloned().collect())
    }

    async fn put_condition(&self, condition: &Condition) -> Result<(), StateError> {
        self.kept().conditions.insert(condition.key.clone(), condition.clone());
        Ok(())
    }

    async fn drop_condition(&self, key: &ConditionKey) -> Result<(), StateError> {
        self.kept().conditions.remove(key);
        Ok(())
    }

    async fn ping(&self) -> Result<(), StateError> {
        Ok(())
    }

    async fn due_times(&self) -> Result<Vec<(JobName, DueTimes)>, StateError> {
        Ok(self.kept().due.iter().map(|(job, (known, _))| (job.clone(), known.clone())).collect())
    }

    async fn set_due_times(&self, rows: &[(JobName, DueTimes)]) -> Result<(), StateError> {
        let due = &mut self.kept().due;
        for (job, known) in rows {
            due.insert(job.clone(), (known.clone(), None));
        }
        Ok(())
    }

    async fn claim_due(
        &self,
        job: &JobName,
        due_at: Timestamp,
        claim: ClaimId,
        next_due: Option<Timestamp>,
    ) -> Result<bool, StateError> {
        let mut kept = self.kept();
        let Some((known, claimed)) = kept.due.get_mut(job) else { return Ok(false) };
        let again = known.last_due == Some(due_at) && *claimed == Some(claim);
        if !again && known.last_due.is_some_and(|last_due| last_due >= due_at) {
            return Ok(false);
        }
        (known.last_due, known.next_due, known.owed_after) = (Some(due_at), next_due, None);
        (known.parked_until, known.parked_reason) = (None, None);
        *claimed = Some(claim);
        Ok(true)
    }

    async fn forget_due_times(&self, jobs: &[JobName]) -> Result<(), StateError> {
        let due = &mut self.kept().due;
        for job in jobs {
            due.remove(job);
        }
        Ok(())
    }

    async fn end(&self) {}
}

#[async_trait]
impl Ledger for MemoryState {
    async fn entry(&self, account: &str) -> Result<Option<LedgerEntry>, LedgerError> {
        Ok(self.kept().ledger.get(account).cloned())
    }

    async fn entries(&self) -> Result<Vec<LedgerEntry>, LedgerError> {
        Ok(self.kept().ledger.values().cloned().collect())
    }

    async fn put_entry(&self, account: &str, before: u64, text: &str, at: Timestamp) -> Result<bool, LedgerError> {
        ledger::check_text(account, text)?;
        // No version is as large as that, so another one stands there.
        let Some(version) = before.checked_add(1) else { return Ok(false) };
        let next = LedgerEntry { account: account.to_owned(), version, text: text.to_owned(), at };
        let ledger = &mut self.kept().ledger;
        let known = ledger.get(account);
        if known == Some(&next) {
            return Ok(true);
        }
        let fits = known.map_or(0, |known| known.version) == before;
        if fits {
            ledger.insert(next.account.clone(), next);
        }
        Ok(fits)
    }
}

#[async_trait]
impl TokenVault for MemoryState {
    async fn tokens(&self, credential: &str) -> Result<Option<VaultEntry>, VaultError> {
        Ok(self.kept().vault.get(credential).cloned())
    }

    async fn put_tokens(&self, credential: &str, before: u64, text: &SecretString, at: Timestamp) -> Result<bool, VaultError> {
        vault::check_text(text)?;
        // No version is as large as that, so another one stands there.
        let Some(version) = before.checked_add(1) else { return Ok(false) };
        let next = VaultEntry { credential: credential.to_owned(), version, text: text.clone(), at };
        let vault = &mut self.kept().vault;
        let known = vault.get(credential);
        if known == Some(&next) {
            return Ok(true);
        }
        let fits = known.map_or(0, |known| known.version) == before;
        if fits {
            vault.insert(next.credential.clone(), next);
        }
        if before == 0 {
            forget_old_tokens(vault, credential);
        }
        Ok(fits)
    }

    fn is_shared(&self) -> bool {
        false
    }
}

fn forget_old_tokens(vault: &mut BTreeMap<String, VaultEntry>, newest: &str) {
    let mut others: Vec<(Timestamp, String)> =
        vault.values().filter(|entry| entry.credential != newest).map(|entry| (entry.at, entry.credential.clone())).collect();
    others.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    for (_, credential) in others.into_iter().skip(vault::ENTRIES_MAX as usize - 1) {
        vault.remove(&credential);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::contract::{reopened_state_contract, state_contract};

    #[tokio::test]
    async fn keeps_the_contract() {
        let state = MemoryState::new();
        state_contract(&state).await;
        reopened_state_contract(&state.reopen()).await;
    }
}
