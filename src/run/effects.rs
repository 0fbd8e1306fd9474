//! Performing the effects of the protocol's machines: each is one call of a port, its outcome fed back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use crate::config::catalog::Job;
use crate::dataset::DatasetState;
use crate::error::{ErrorKind, chain};
use crate::ids::BatchId;
use crate::sink::commit::{Effect, Outcome};
use crate::sink::current::Current;
use crate::sink::delta::{Exposed, Exposure};
use crate::sink::live::{index_after, index_before, index_position};
use crate::sink::record::Record;
use crate::sink::{SinkError, layout};
use crate::state::{BatchNote, Lease, StateError};
use crate::store::{Published, PutAbsent, StoreError};

use super::Ports;

/// Files published at the same time.
const SIDE_BY_SIDE: usize = 8;
/// The first pause after a failed attempt; it doubles, with full jitter.
const PAUSE: Duration = Duration::from_millis(200);

/// What the effects of one batch or one settlement are about.
pub(super) struct Subject<'a> {
    pub job: &'a Job,
    pub ports: &'a Ports,
    pub lease: &'a Lease,
    /// The live files before the record; read when first needed.
    pub index: &'a mut Option<Current>,
    /// What `Note` notes.
    pub note: Option<BatchNote>,
    /// The record that `Index` and `Advance` are about.
    pub record: Option<Record>,
    /// What `Advance` writes.
    pub state: DatasetState,
    pub done: Option<BatchId>,
}

impl Subject<'_> {
    /// Performs effects in order, publications side by side, and returns their outcomes in the same order.
    pub(super) async fn perform(&mut self, effects: Vec<Effect>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(effects.len());
        let (together, alone): (Vec<_>, Vec<_>) = effects
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Publish { .. } | Effect::Delete { .. } | Effect::Retire { .. }));
        for effect in alone {
            outcomes.extend(self.perform_one(effect).await);
        }
        let ports = self.ports;
        let side_by_side = futures::stream::iter(together).map(|effect| perform_file(ports, effect)).buffered(SIDE_BY_SIDE);
        outcomes.extend(side_by_side.collect::<Vec<_>>().await);
        outcomes
    }

    async fn perform_one(&mut self, effect: Effect) -> Option<Outcome> {
        Some(match effect {
            Effect::Wait { attempt } => {
                let ceiling = PAUSE.saturating_mul(1 << attempt.min(8));
                self.ports.clock.sleep(ceiling.mul_f64(self.ports.clock.fraction())).await;
                return None;
            }
            Effect::Note => match &self.note {
                Some(note) => from_state(self.ports.state.note_batch(self.lease, note).await),
                None => Outcome::Failed { reason: "there is no batch to note".to_owned(), fenced: false, hopeless: false },
            },
            Effect::Decide { bytes, only_if_absent } => self.decide(bytes, only_if_absent).await,
            Effect::Read { seq } => self.read(seq).await,
            Effect::Expose => match Box::pin(self.expose()).await {
                Ok(Exposed::Done) => Outcome::Done,
                Ok(Exposed::Displaced(path)) => Outcome::Displaced { path },
                Err(error) => Outcome::Failed { reason: chain(&error), fenced: false, hopeless: false },
            },
            Effect::LookAtIndex => self.look_at_index().await,
            Effect::Index => self.put_index().await,
            Effect::Advance => from_state(self.ports.state.advance(self.lease, &self.state, self.done).await),
            Effect::Publish { .. } | Effect::Delete { .. } | Effect::Retire { .. } => perform_file(self.ports, effect).await,
        })
    }

    /// A record that is there is built upon from here on, so it must stay, whoever wrote it and whatever became of that.
    async fn read(&self, seq: u64) -> Outcome {
        let (store, path) = (&self.ports.store, layout::record(&self.job.dataset, seq));
        let found = match store.get(&path, layout::SMALL_OBJECT_MAX).await {
            Ok(Some(found)) => found,
            Ok(None) => return Outcome::Found(None),
            Err(error) => return failed(&error),
        };
        if !self.ports.guards.found_is_kept {
            return Outcome::Found(Some(found));
        }
        match store.sync(&path).await {
            Ok(()) => Outcome::Found(Some(found)),
            Err(error) => failed(&error),
        }
    }

    async fn decide(&self, bytes: Bytes, only_if_absent: bool) -> Outcome {
        let Some(record) = &self.record else {
            return Outcome::Failed { reason: "there is no record to decide".to_owned(), fenced: false, hopeless: false };
        };
        let path = layout::record(&self.job.dataset, record.seq);
        if !only_if_absent {
            return match self.ports.store.put(&path, bytes).await {
                Ok(()) => Outcome::Done,
                Err(error) => failed(&error),
            };
        }
        match self.ports.store.put_absent(&path, bytes).await {
            Ok(PutAbsent::Written) => Outcome::Done,
            Ok(PutAbsent::Exists) => Outcome::Exists,
            Err(error) => failed(&error),
        }
    }

    async fn expose(&mut self) -> Result<Exposed, SinkError> {
        let Some(record) = &self.record else { return Ok(Exposed::Done) };
        let exposure = exposure(self.job, self.ports, record, self.index).await?;
        match exposure {
            Some(exposure) => exposure.expose(Arc::clone(&self.ports.store)).await,
            None => Ok(Exposed::Done),
        }
    }

    async fn look_at_index(&self) -> Outcome {
        match index_position(self.ports.store.as_ref(), &self.job.dataset).await {
            Ok(Some((seq, hash))) if seq == self.state.seq && hash == self.state.record_hash => Outcome::Done,
            Ok(_) => Outcome::Stale,
            Err(error) => Outcome::Failed { reason: chain(&error), fenced: false, hopeless: false },
        }
    }

    /// Writes `current.json` as it is after the record; nothing to write where there is none.
    async fn put_index(&mut self) -> Outcome {
        match self.try_put_index().await {
            Ok(()) => Outcome::Done,
            Err(reason) => Outcome::Failed { reason, fenced: false, hopeless: false },
        }
    }

    async fn try_put_index(&mut self) -> Result<(), String> {
        let Some(record) = &self.record else { return Ok(()) };
        let (store, dataset) = (self.ports.store.as_ref(), &self.job.dataset);
        // Who decided the next record has written the index of this one, or of a later one, meanwhile.
        let next = layout::record(dataset, record.seq + 1);
        if store.size(&next).await.map_err(|error| chain(&error))?.is_some() {
            return Ok(());
        }
        let hash = &self.state.record_hash;
        let (bytes, index) = match self.index.take() {
            Some(mut index) if index.seq + 1 == record.seq || index.seq == record.seq => {
                if index.seq < record.seq {
                    index.apply(record, hash);
                }
                (index.to_bytes().map_err(|error| chain(&error))?, Some(index))
            }
            _ => index_after(store, dataset, record, hash).await.map_err(|error| chain(&error))?,
        };
        store.put(&layout::current(dataset), bytes).await.map_err(|error| chain(&error))?;
        *self.index = index;
        Ok(())
    }
}

/// What the Delta log is to be told of a record; `None` where it is told nothing. `index` are the live files before the record,
/// where they are known.
pub(super) async fn exposure(
    job: &Job,
    ports: &Ports,
    record: &Record,
    index: &Option<Current>,
) -> Result<Option<Exposure>, SinkError> {
    let loaded = match index {
        Some(known) if known.seq + 1 == record.seq && known.record_hash == record.previous => None,
        _ if record.remove.is_empty() => None,
        _ => Some(index_before(ports.store.as_ref(), &job.dataset, record).await?),
    };
    let before = loaded.as_ref().or(index.as_ref());
    Ok(Exposure::of(job, record, before, ports.clock.now(), ports.guards))
}

async fn perform_file(ports: &Ports, effect: Effect) -> Outcome {
    match effect {
        Effect::Publish { number, staged, target, size } => match ports.store.publish(&staged, &target, size).await {
            Ok(Published::Done) => Outcome::Published { number, staged_missing: false },
            Ok(Published::StagedMissing) => Outcome::Published { number, staged_missing: true },
            Err(error) => Outcome::PublishFailed { number, reason: chain(&error) },
        },
        Effect::Delete { path } => match ports.store.delete(&path).await {
            Ok(()) => Outcome::Done,
            Err(error) => failed(&error),
        },
        Effect::Retire { path, kept } => match retire(ports, &path, &kept).await {
            Ok(()) => Outcome::Done,
            Err(error) => failed(&error),
        },
        other => Outcome::Failed { reason: format!("{other:?} is no effect on a file"), fenced: false, hopeless: false },
    }
}

/// Repeatable at every step: where both stand, the copy is whole, for a store shows none that is not.
async fn retire(ports: &Ports, path: &str, kept: &str) -> Result<(), StoreError> {
    let store = ports.store.as_ref();
    if !ports.guards.history_first {
        return store.delete(path).await;
    }
    let Some(size) = store.size(path).await? else { return Ok(()) };
    match store.publish(path, kept, size).await? {
        Published::Done => store.delete(path).await,
        // Whoever works on the same record at the same time was faster.
        Published::StagedMissing => Ok(()),
    }
}

fn failed(error: &StoreError) -> Outcome {
    Outcome::Failed { reason: chain(error), fenced: false, hopeless: error.kind == ErrorKind::Config }
}

fn from_state(result: Result<(), StateError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed { reason: chain(&error), fenced: error.kind == ErrorKind::Conflict, hopeless: false },
    }
}
