//! A staged slice becomes a record: the machine decides what to do, this file does it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::Counts;
use crate::config::catalog::{Job, Mode};
use crate::dataset::DatasetState;
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::ids::{BatchId, PartitionKey};
use crate::page::Answered;
use crate::schema::TableSchema;
use crate::sink::SinkError;
use crate::sink::commit::{CommitMachine, Outcome, Verdict};
use crate::sink::current::Current;
use crate::sink::delta::Exposed;
use crate::sink::history::coverage_at;
use crate::sink::layout;
use crate::sink::live::index_before;
use crate::sink::record::{FileEntry, Record, RecordKind, Restored, fingerprint, hash};
use crate::sink::settle::Head;
use crate::sink::stage::{StagedFile, entries};
use crate::slice::Cover;
use crate::state::{BatchNote, BatchStatus, Lease};

use super::blank::{blank, blank_as};
use super::effects::{Subject, exposure};
use super::read::Replaced;
use super::{Ports, RunError, RunReport, settle};

/// A slice whose files are staged and verified.
pub(super) struct StagedSlice {
    pub batch: BatchId,
    pub set: PartitionKey,
    pub cover: Option<Cover>,
    pub replaces: Replaced,
    pub files: Vec<StagedFile>,
    pub counts: Counts,
    pub read_schema: TableSchema,
    pub schema: TableSchema,
    pub answered: Option<Answered>,
}

/// What became of a staged slice.
pub(super) enum Committed {
    /// The new end of the log.
    Yes(Box<Head>),
    /// A rival was there first with rows or columns that this slice did not know of: read it again from the new end.
    ReadAgain(Box<Head>),
}

/// Commits a slice on top of `head`.
///
/// A batch that loses its seq is given up and its range planned again: a rival's record may cover the same rows, or give columns
/// their ids.
pub(super) async fn commit(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    head: &Head,
    slice: &StagedSlice,
    index: &mut Option<Current>,
    report: &mut RunReport,
) -> Result<Committed, RunError> {
    let record = load_record(job, ports, head, slice);
    check_counts(&record, ports.guards)?;
    foresee(job, ports, &record, index).await?;
    let (verdict, new_head) = decide(job, ports, lease, head, record, index).await?;
    match verdict {
        Verdict::Committed => Ok(Committed::Yes(Box::new(new_head))),
        Verdict::Lost { .. } | Verdict::StagedLost => {
            let settled = settle::settle(job, ports, lease, index, report).await?;
            Ok(Committed::ReadAgain(Box::new(settled)))
        }
        verdict => Err(unfinished(verdict, "a slice")),
    }
}

/// What the Delta log would refuse is refused before the record counts.
pub(super) async fn foresee(job: &Job, ports: &Ports, record: &Record, index: &Option<Current>) -> Result<(), RunError> {
    if let Some(exposure) = Box::pin(exposure(job, ports, record, index)).await?
        && let Exposed::Displaced(path) = exposure.foresee(&job.partition_by, Arc::clone(&ports.store)).await?
    {
        let message = format!(
            "`{path}` is not part of the Delta table {} any more: another writer has rewritten it; bring it back to an older version (RESTORE), or move the table's folder and `_highwater/{}` away and load it anew",
            job.table, job.dataset
        );
        return Err(RunError::new(ErrorKind::Data, message));
    }
    Ok(())
}

/// Why a commit of `what` came to no good end.
pub(super) fn unfinished(verdict: Verdict, what: &str) -> RunError {
    let unavailable = |message: String| RunError::new(ErrorKind::Unavailable, message);
    match verdict {
        Verdict::Fenced { reason } => RunError::new(ErrorKind::Conflict, reason),
        Verdict::Undecided { reason } => {
            unavailable(format!("the commit of {what} is undecided and the next run settles it: {reason}"))
        }
        Verdict::Unfinished { reason } => {
            unavailable(format!("{what} is committed but not wholly visible, and the next run finishes it: {reason}"))
        }
        verdict => RunError::new(ErrorKind::Bug, format!("the commit of {what} ended in {verdict:?}")),
    }
}

/// What does not add up is not committed: every record of the source is in a file, or it is known why not.
pub(super) fn check_counts(record: &Record, guards: Guards) -> Result<(), RunError> {
    if record.counts_add_up() || !guards.counts_add_up {
        return Ok(());
    }
    let (seq, counts) = (record.seq, &record.counts);
    Err(RunError::new(ErrorKind::Bug, format!("the counts of record {seq} of {} do not add up: {counts:?}", record.job)))
}

/// One record through the machine. The head is the new one where the verdict says committed.
pub(super) async fn decide(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    head: &Head,
    record: Record,
    index: &mut Option<Current>,
) -> Result<(Verdict, Head), RunError> {
    let bytes = record.to_bytes()?;
    let mut state = DatasetState {
        seq: record.seq,
        record_hash: hash(&bytes),
        generation: record.generation,
        coverage: head.state.coverage.clone(),
        pending: head.state.pending.clone(),
        // A record may be of another definition than the job's: one that goes back, or takes back.
        fingerprint: with_steps(record.fingerprint.clone(), job),
    };
    let dataset = &record.dataset;
    record.apply_to(&mut state.coverage);
    state.forget_pending(&record.covers);
    state.forget_pending(&record.uncovers);
    let note = BatchNote {
        batch: record.batch,
        seq: record.seq,
        status: BatchStatus::Prepared,
        // Dropped where the batch comes to nothing; what comes back from the history must stay there then.
        staged: record.add.iter().map(|file| &file.staged).filter(|path| !layout::is_history(dataset, path)).cloned().collect(),
        covers: record.covers.clone(),
        rows: record.add.iter().map(|file| file.rows).sum(),
        bytes: record.add.iter().map(|file| file.bytes).sum(),
        noted_at: ports.clock.now(),
    };
    let mut machine = CommitMachine::new(record.clone(), bytes, ports.guards);
    let new_head = Head { state: state.clone(), record: Some(record.clone()), ..Head::default() };
    let done = Some(record.batch);
    let mut subject = Subject { job, ports, lease, index, note: Some(note), record: Some(record), state, done };
    let mut effects = machine.step(Outcome::Begin);
    while !effects.is_empty() {
        let outcomes = subject.perform(effects).await;
        effects = outcomes.into_iter().flat_map(|outcome| machine.step(outcome)).collect();
    }
    let verdict = machine.verdict().ok_or_else(|| RunError::new(ErrorKind::Bug, "the commit stopped half way"))?;
    Ok((verdict, new_head))
}

/// What of the job its coverage depends on: the steps too, for a filter decides whether there is anything to commit.
pub(super) fn state_fingerprint(job: &Job) -> BTreeMap<String, String> {
    with_steps(fingerprint(job), job)
}

fn with_steps(mut parts: BTreeMap<String, String>, job: &Job) -> BTreeMap<String, String> {
    let steps: Vec<String> = job.steps.iter().map(|step| format!("{:?}", step.kind)).collect();
    parts.insert("steps".to_owned(), hash(steps.join("\n").as_bytes()));
    parts
}

fn load_record(job: &Job, ports: &Ports, head: &Head, slice: &StagedSlice) -> Record {
    let mut covers = head.state.pending.clone();
    covers.extend(slice.cover.clone());
    if !ports.guards.record_coverage {
        covers.clear();
    }
    let kind = match job.mode {
        Mode::Append => RecordKind::Load,
        Mode::Merge => RecordKind::Merge,
        Mode::Replace => RecordKind::Replace,
    };
    let blank = blank(job, ports, &head.state, kind, slice.batch);
    Record {
        covers,
        read_schema: slice.read_schema.clone(),
        schema: slice.schema.clone(),
        counts: slice.counts,
        add: entries(job, &slice.set, blank.seq, slice.batch, &slice.files),
        remove: slice.replaces.paths.clone(),
        carried: slice.replaces.carried,
        superseded: slice.replaces.superseded,
        answered: slice.answered.clone().map(|answered| (slice.set.clone(), answered)),
        content: slice.replaces.content.clone().map(|content| (slice.set.clone(), content)),
        ..blank
    }
}

/// A record of work on files alone: it means what the last one meant, reads nothing and covers nothing. `None` before the first.
pub(super) fn upkeep_record(job: &Job, ports: &Ports, head: &Head, kind: RecordKind) -> Option<Record> {
    Some(blank_as(head.record.clone()?, blank(job, ports, &head.state, kind, ports.clock.batch_id())))
}

/// Takes back the last record, whose staged files are gone: what of it is visible goes, what it covered is read again.
pub(super) async fn void(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    head: Head,
    index: &mut Option<Current>,
) -> Result<(), RunError> {
    let Some(lost) = head.record.clone() else {
        return Err(RunError::new(ErrorKind::Bug, "there is no record to void"));
    };
    let restore = restored(job, ports, &lost).await?;
    let taken = |file: &FileEntry| {
        let staged = ports.guards.void_takes_staged.then(|| file.staged.clone());
        staged.into_iter().chain([file.path.clone()])
    };
    let before = before_rollback(job, ports, &lost).await?;
    let (covers, meant) = before.unwrap_or_else(|| (Vec::new(), lost.clone()));
    let record = Record {
        generation: lost.generation,
        covers,
        uncovers: lost.covers.clone(),
        voids: Some(lost.seq),
        // The staged copies too: an owner that was paused must find nothing to publish.
        remove: lost.add.iter().flat_map(taken).collect(),
        // What never counted is nothing to go back to.
        history: false,
        restore,
        ..blank_as(meant, blank(job, ports, &head.state, RecordKind::Void, ports.clock.batch_id()))
    };
    match decide(job, ports, lease, &head, record, index).await? {
        (Verdict::Committed | Verdict::Lost { .. }, _) => Ok(()),
        (verdict, _) => {
            Err(RunError::new(ErrorKind::Unavailable, format!("record {} could not be voided: {verdict:?}", head.state.seq)))
        }
    }
}

/// What was covered before a lost rollback, and the record whose table that was: a rollback took back what it did not bring.
async fn before_rollback(job: &Job, ports: &Ports, lost: &Record) -> Result<Option<(Vec<Cover>, Record)>, RunError> {
    if lost.kind != RecordKind::Rollback || lost.seq <= 1 {
        return Ok(None);
    }
    let (store, seq) = (ports.store.as_ref(), lost.seq - 1);
    let covers = coverage_at(store, &job.dataset, seq).await?.to_covers();
    let bytes = store.get(&layout::record(&job.dataset, seq), layout::SMALL_OBJECT_MAX).await.map_err(SinkError::from)?;
    let bytes = bytes.ok_or_else(|| SinkError::data(format!("record {seq} of the log of {} is missing", job.dataset)))?;
    Ok(Some((covers, Record::from_bytes(&bytes, &job.dataset, seq)?)))
}

/// The files that a lost record was to remove: they count again. They must be there still, for a record removes files only once all
/// of its own are seen.
async fn restored(job: &Job, ports: &Ports, lost: &Record) -> Result<Restored, RunError> {
    let mut restored = Restored::default();
    if lost.remove.is_empty() {
        return Ok(restored);
    }
    let before = index_before(ports.store.as_ref(), &job.dataset, lost).await?;
    for path in &lost.remove {
        if ports.store.size(path).await.map_err(SinkError::from)?.is_none() {
            let message = format!(
                "record {} of {} replaced files, and both its own and `{path}`, which it replaced, are gone: somebody removed them; restore the table's folder from a copy, or load it anew with `highwater run {} --full`",
                lost.seq, job.dataset, job.name
            );
            return Err(RunError::new(ErrorKind::Data, message));
        }
        for (known, again) in [
            (&before.files, &mut restored.files),
            (&before.tombstones, &mut restored.tombstones),
            (&before.parents, &mut restored.parents),
            (&before.dead_letters, &mut restored.dead_letters),
        ] {
            again.extend(known.get(path).map(|file| (path.clone(), file.clone())));
        }
    }
    Ok(restored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::record::FORMAT;

    /// A record of so many kept rows, whose one file has `rows`.
    fn record(kept: u64, rows: u64) -> Record {
        let counts = Counts { fetched: kept, kept, ..Counts::default() };
        let record = serde_json::json!({
            "format": FORMAT, "seq": 1, "generation": 1, "batch": uuid::Uuid::nil(), "kind": "load", "dataset": "orders",
            "job": "orders", "table": "orders", "fingerprint": {}, "covers": [], "read_schema": TableSchema::default(),
            "schema": TableSchema::default(), "partition_by": [], "counts": counts,
            "add": [{ "role": "data", "path": "orders/1", "staged": "1", "bytes": 1, "rows": rows, "sha256": "" }],
            "remove": [], "created_at": "2026-01-01T00:00:00Z", "previous": ""
        });
        serde_json::from_value(record).expect("a record")
    }

    #[test]
    fn a_record_that_lacks_a_row_is_not_committed() {
        // D-44
        assert!(check_counts(&record(2, 2), Guards::standing()).is_ok());
        let error = check_counts(&record(2, 1), Guards::standing()).expect_err("a row is gone");
        assert!(error.to_string().contains(" of orders do not add up"), "{error}");
        assert!(check_counts(&record(2, 1), Guards { counts_add_up: false, ..Guards::standing() }).is_ok());
    }
}
