//! Going back by hand: a record of its own makes the table what it was after an earlier one. What was added since leaves, what was
//! removed since comes back from the history, and what was read since is read again by the next run.

use crate::config::catalog::{Job, TableFormat};
use crate::dataset::DatasetState;
use crate::error::ErrorKind;
use crate::ids::{PartitionKey, Seq};
use crate::sink::history::{LookBack, come_back, look_back};
use crate::sink::record::{FileEntry, FileRole, Record, RecordKind, fingerprint, fingerprint_changes};
use crate::slice::{Cover, Coverage};
use crate::store::Store;

use super::blank::{blank, blank_as};
use super::rewind::everything;
use super::{Ports, RunError, lost};

/// What a rollback comes to.
pub(super) struct RollbackPlan {
    pub look: LookBack,
    pub uncovers: Vec<Cover>,
    pub covers: Vec<Cover>,
    /// What is covered afterwards.
    pub coverage: Coverage,
    pub changes: bool,
}

impl RollbackPlan {
    /// Files, rows and bytes that come back, and that leave: rows of the table alone.
    pub fn back(&self) -> (u64, u64, u64) {
        measure(self.look.back.iter().map(|back| &back.file))
    }

    pub fn leave(&self) -> (u64, u64, u64) {
        measure(&self.look.leave)
    }

    /// In what the job differs from what the table was written by then.
    pub fn definition_changes(&self, job: &Job) -> Vec<String> {
        fingerprint_changes(&self.look.record.fingerprint, &fingerprint(job))
    }
}

fn measure<'f>(files: impl IntoIterator<Item = &'f FileEntry>) -> (u64, u64, u64) {
    let data = files.into_iter().filter(|file| file.role == FileRole::Data);
    data.fold((0, 0, 0), |(files, rows, bytes), file| (files + 1, rows + file.rows, bytes + file.bytes))
}

/// Reads the log and looks for what has to come back.
///
/// # Errors
/// Of kind config where there is no such record; of kind data where a file is gone for good.
pub(super) async fn plan(job: &Job, to: Seq, state: &DatasetState, store: &dyn Store) -> Result<RollbackPlan, RunError> {
    if job.sink.format == TableFormat::Delta {
        let message = format!(
            "the table {} is a Delta table, which does not go back here: its older versions can be read as they are, or load it anew with `highwater run {} --full`",
            job.table, job.name
        );
        return Err(RunError::new(ErrorKind::Config, message));
    }
    let look = look_back(store, &job.dataset, to, (state.seq, &state.record_hash)).await?;
    let gone = |path: &str, count: usize| {
        let message = format!(
            "the table {} cannot go back to record {to}: of the files that have left it since, {count} are gone for good, such as `{path}`; go back less far (files are kept for `history`), or load it anew with `highwater run {} --full`",
            job.table, job.name
        );
        Err(RunError::new(ErrorKind::Data, message))
    };
    if let Some(first) = look.not_kept.first() {
        return gone(first, look.not_kept.len());
    }
    let missing = lost::of(store, look.back.iter().map(|back| (back.kept.as_str(), back.file.bytes))).await?;
    if let Some(first) = missing.first() {
        let named = look.back.iter().find(|back| back.kept == *first).map_or(*first, |back| &back.file.path);
        return gone(named, missing.len());
    }
    // Who has no way to get them back rather goes back without them.
    let stay = look.stay.iter().filter(|_| lost::may_leave(job));
    let missing = lost::of(store, stay.map(|file| (file.path.as_str(), file.bytes))).await?;
    if let Some(first) = missing.first() {
        let message = format!(
            "the table {} cannot go back to record {to}: of the files that it has had since then, {} are not in the lake any more, or of another size, such as `{first}`; put them back, or read all of it again with `highwater run {} --full`",
            job.table,
            missing.len(),
            job.name
        );
        return Err(RunError::new(ErrorKind::Data, message));
    }
    let known = state.coverage.partitions.keys().chain(job.sets.iter().map(|set| &set.partition));
    let mut sets: Vec<PartitionKey> = known.cloned().collect();
    sets.sort();
    sets.dedup();
    let uncovers: Vec<Cover> = sets.iter().map(|set| everything(job, &state.coverage, set)).collect();
    let covers = look.coverage.to_covers();
    let mut coverage = state.coverage.clone();
    uncovers.iter().for_each(|cover| coverage.forget(cover));
    covers.iter().for_each(|cover| coverage.add(cover));
    // Rows that are read again leave with what covers them, so an append needs no key for it. Empty slices that no record names
    // yet are no reason to go back.
    let changes = !look.back.is_empty() || !look.leave.is_empty() || look.coverage != look.coverage_now;
    Ok(RollbackPlan { look, uncovers, covers, coverage, changes })
}

/// The record that does it, on top of `state`.
pub(super) fn record(job: &Job, ports: &Ports, state: &DatasetState, planned: RollbackPlan, note: String) -> Record {
    let blank = blank(job, ports, state, RecordKind::Rollback, ports.clock.batch_id());
    let LookBack { record: then, back, leave, .. } = planned.look;
    // What is brought back can be taken back, too: that is in the history as long as the job keeps any.
    let add = come_back(&back, blank.seq, blank.batch);
    Record {
        generation: blank.generation + 1,
        covers: planned.covers,
        uncovers: planned.uncovers,
        carried: measure(&add).1,
        add,
        remove: leave.into_iter().map(|file| file.path).collect(),
        note: Some(note),
        ..blank_as(then, blank)
    }
}
