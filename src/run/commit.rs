//! A staged slice becomes a record: the machine decides what to do, this file does it.

use std::collections::BTreeMap;

use crate::batch::Counts;
use crate::config::catalog::Job;
use crate::dataset::DatasetState;
use crate::error::ErrorKind;
use crate::ids::BatchId;
use crate::schema::TableSchema;
use crate::sink::commit::{CommitMachine, Outcome, Verdict};
use crate::sink::current::Current;
use crate::sink::record::{FORMAT, Record, RecordKind, fingerprint, hash};
use crate::sink::settle::Head;
use crate::sink::stage::{StagedFile, entries};
use crate::slice::Cover;
use crate::state::{BatchNote, BatchStatus, Lease};

use super::effects::Subject;
use super::{Ports, RunError, RunReport, settle};

/// How often a batch that lost its seq to a rival moves on to the next.
const REBASES_MAX: u32 = 20;

/// A slice whose files are staged and verified.
pub(super) struct StagedSlice {
    pub batch: BatchId,
    pub cover: Option<Cover>,
    pub files: Vec<StagedFile>,
    pub counts: Counts,
    pub read_schema: TableSchema,
    pub schema: TableSchema,
}

/// What became of a staged slice.
pub(super) enum Committed {
    /// The new end of the log.
    Yes(Box<Head>),
    /// A rival was there first with rows or columns that this slice did not know of: read it again from the new end.
    ReadAgain(Box<Head>),
}

/// Commits a slice on top of `head`.
pub(super) async fn commit(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    mut head: Head,
    slice: &StagedSlice,
    index: &mut Option<Current>,
    report: &mut RunReport,
) -> Result<Committed, RunError> {
    if !slice.counts.add_up() {
        return Err(RunError::new(
            ErrorKind::Bug,
            format!("the counts of a slice of {} do not add up: {:?}", job.name, slice.counts),
        ));
    }
    for _ in 0..REBASES_MAX {
        let record = load_record(job, ports, &head, slice);
        match decide(job, ports, lease, &head, record, index).await? {
            (Verdict::Committed, new_head) => return Ok(Committed::Yes(Box::new(new_head))),
            (Verdict::Lost { .. }, _) => {
                let settled = settle::settle(job, ports, lease, index, report).await?;
                if !may_rebase(&head, &settled, slice) {
                    ports.state.mark_batch(lease, slice.batch, BatchStatus::Aborted).await?;
                    return Ok(Committed::ReadAgain(Box::new(settled)));
                }
                head = settled;
            }
            (Verdict::StagedLost, _) => {
                let settled = settle::settle(job, ports, lease, index, report).await?;
                return Ok(Committed::ReadAgain(Box::new(settled)));
            }
            (Verdict::Fenced { reason }, _) => return Err(RunError::new(ErrorKind::Conflict, reason)),
            (Verdict::Undecided { reason }, _) => {
                let message = format!("the commit of a slice is undecided and the next run settles it: {reason}");
                return Err(RunError::new(ErrorKind::Unavailable, message));
            }
            (Verdict::Unfinished { reason }, _) => {
                let message = format!("a slice is committed but not wholly visible, the next run finishes it: {reason}");
                return Err(RunError::new(ErrorKind::Unavailable, message));
            }
        }
    }
    Err(RunError::new(ErrorKind::Conflict, format!("another writer commits to {} faster than this one", job.dataset)))
}

/// A batch that lost its seq may take the next one if nothing it was built on has changed.
fn may_rebase(before: &Head, after: &Head, slice: &StagedSlice) -> bool {
    let schemas = |head: &Head| head.record.as_ref().map(|record| (record.read_schema.clone(), record.schema.clone()));
    // A first record gives the columns their ids: rows written beside it know nothing of them.
    if schemas(before) != schemas(after) || before.state.generation != after.state.generation {
        return false;
    }
    let Some(cover) = &slice.cover else { return true };
    let mut with = after.state.coverage.clone();
    with.subtract(cover);
    with == after.state.coverage
}

/// One record through the machine. The head is the new one where the verdict says committed.
async fn decide(
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
        pending: Vec::new(),
    };
    record.apply_to(&mut state.coverage);
    let note = BatchNote {
        batch: record.batch,
        seq: record.seq,
        status: BatchStatus::Prepared,
        staged: record.add.iter().map(|file| file.staged.clone()).collect(),
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

fn load_record(job: &Job, ports: &Ports, head: &Head, slice: &StagedSlice) -> Record {
    let seq = head.state.seq + 1;
    let mut covers = head.state.pending.clone();
    covers.extend(slice.cover.clone());
    if !ports.guards.record_coverage {
        covers.clear();
    }
    Record {
        format: FORMAT,
        seq,
        generation: head.state.generation.max(1),
        batch: slice.batch,
        kind: RecordKind::Load,
        dataset: job.dataset.clone(),
        job: job.name.to_string(),
        table: job.table.clone(),
        fingerprint: fingerprint(job),
        covers,
        uncovers: Vec::new(),
        voids: None,
        read_schema: slice.read_schema.clone(),
        schema: slice.schema.clone(),
        partition_by: job.partition_by.iter().map(|column| column.key()).collect(),
        counts: slice.counts,
        add: entries(&job.dataset, &job.table, seq, slice.batch, &slice.files),
        remove: Vec::new(),
        created_at: ports.clock.now(),
        previous: head.state.record_hash.clone(),
    }
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
    let record = Record {
        seq: head.state.seq + 1,
        batch: ports.clock.batch_id(),
        kind: RecordKind::Void,
        covers: Vec::new(),
        uncovers: lost.covers.clone(),
        voids: Some(lost.seq),
        counts: Counts::default(),
        add: Vec::new(),
        remove: lost.add.iter().map(|file| file.path.clone()).collect(),
        created_at: ports.clock.now(),
        previous: head.state.record_hash.clone(),
        fingerprint: BTreeMap::clone(&lost.fingerprint),
        ..lost
    };
    match decide(job, ports, lease, &head, record, index).await? {
        (Verdict::Committed | Verdict::Lost { .. }, _) => Ok(()),
        (verdict, _) => {
            Err(RunError::new(ErrorKind::Unavailable, format!("record {} could not be voided: {verdict:?}", head.state.seq)))
        }
    }
}
