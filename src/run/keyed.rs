//! A slice whose rows are told apart by their keys before any of them is written: for a merge, and for an append that reads
//! something a second time.
//!
//! Pages are read and spooled as ever; what they say of keys is collected ([`Keyed`]). At the slice's end it is resolved against the
//! table, and then the pages are gone over once more, from the spool, and only what counts is encoded.

use std::collections::{BTreeSet, HashSet};

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;

use crate::batch::{Batch, Counts, RowMarks};
use crate::config::catalog::{Job, Mode, OnDelete};
use crate::cursor::CursorKey;
use crate::error::ErrorKind;
use crate::ids::{BatchId, Generation};
use crate::reject::Reject;
use crate::schema::TableSchema;
use crate::sink::content::bytes_hash;
use crate::sink::current::Current;
use crate::sink::merge::{Fate, OpKind, Ops, Resolution, Rules, known_rejects, resolve};
use crate::sink::own::is_keyed;
use crate::sink::partition;
use crate::sink::settle::Head;
use crate::slice::{Coverage, Reach, Slice};

use super::refine::Refined;
use super::{Ports, RunError};

/// What the pages of a slice say of keys.
pub(super) struct Keyed {
    ops: Ops,
    /// The table's columns as the pages so far leave them.
    pub schema: Option<TableSchema>,
    /// The partitions of the rows; `None` where rows may have to be looked for everywhere.
    partitions: Option<BTreeSet<Vec<Option<String>>>>,
    /// Operations of the pages so far, for the second time over them.
    place: usize,
    pub resolution: Resolution,
    /// Of the rejects of the pages so far.
    rejects: Vec<i64>,
    /// Rejects that lie among the dead letters, where the slice may read something again.
    known_rejects: HashSet<i64>,
}

impl Keyed {
    pub(super) fn new(job: &Job, ports: &Ports, batch: BatchId) -> Self {
        let spill = ports.spool.join(format!("{batch}.ops"));
        Keyed {
            ops: Ops::new(&spill, ports.memory / 8, job.mode == Mode::Append),
            schema: None,
            partitions: job.partition_immutable.then(BTreeSet::new),
            place: 0,
            resolution: Resolution::default(),
            rejects: Vec::new(),
            known_rejects: HashSet::new(),
        }
    }

    /// Forgets what was said: the pages are read anew, with other types.
    pub(super) fn begin_anew(&mut self, job: &Job) {
        self.ops.clear();
        self.schema = None;
        self.partitions = job.partition_immutable.then(BTreeSet::new);
        self.place = 0;
        self.resolution = Resolution::default();
        self.rejects.clear();
        self.known_rejects.clear();
    }

    /// Takes in what a page says.
    pub(super) fn collect(&mut self, job: &Job, refined: &Refined) -> Result<(), RunError> {
        self.rejects.extend(refined.rejects.iter().map(|reject| bytes_hash(&reject.record)));
        let marks = refined.batch.marks.as_ref().ok_or_else(|| RunError::new(ErrorKind::Bug, "rows came without their keys"))?;
        let mut gone = refined.gone.iter().peekable();
        for (row, key) in marks.keys.iter().enumerate() {
            while let Some(gone) = gone.next_if(|gone| gone.before <= row) {
                self.ops.push(&gone.key, &gone.cursor, 0, gone.kind)?;
            }
            let cursor = marks.cursors.get(row).unwrap_or(&CursorKey::NONE);
            self.ops.push(key, cursor, marks.hashes[row], OpKind::Upsert)?;
        }
        for gone in gone {
            self.ops.push(&gone.key, &gone.cursor, 0, gone.kind)?;
        }
        if !refined.gone.is_empty() {
            // A record that leaves no row does not say where its row stands.
            self.partitions = None;
        }
        if let Some(partitions) = &mut self.partitions {
            let split = partition::split(&refined.batch.rows, &job.partition_by)?;
            partitions.extend(split.into_iter().map(|(values, _)| values));
            // A value that fits its column no more stands in another one: the row's partition was not always that of no value.
            if partitions.iter().any(|values| values.contains(&None)) {
                self.partitions = None;
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.rejects.is_empty()
    }

    /// Resolves all of it against the table as `index` knows it.
    pub(super) async fn resolve(
        &mut self,
        job: &Job,
        ports: &Ports,
        head: &Head,
        index: &Current,
        holes: bool,
    ) -> Result<(), RunError> {
        let rules = Rules {
            append: job.mode == Mode::Append,
            soft: job.on_delete == OnDelete::Soft && job.stream.deleted.is_some(),
            holes,
            guards: ports.guards,
            memory: ports.memory / 2,
        };
        let (files, tombstones) = (&index.files, &index.tombstones);
        let only = self.partitions.as_ref();
        self.resolution = resolve(&ports.store, files, tombstones, &mut self.ops, rules, only).await?;
        // From a number or a text on, the last records are read again by every run.
        let by_mark = job.stream.window_cursor().is_some_and(|cursor| cursor.cursor_type.has_mark());
        if !self.rejects.is_empty() && (by_mark || reads_again(job, head.state.generation)) {
            self.known_rejects = known_rejects(&ports.store, &index.dead_letters).await?;
        }
        self.place = 0;
        Ok(())
    }

    /// No more distinct keys than this are written: those of the slice, and those of the files that it touches.
    pub(super) fn keys_max(&self) -> u64 {
        let carried: u64 = self.resolution.touched.iter().map(|touched| touched.file.rows).sum();
        carried.saturating_add(self.ops.len())
    }

    /// Whether anything of the slice changes the table.
    pub(super) fn changes_something(&mut self) -> Result<bool, RunError> {
        let mut changes = !self.resolution.touched.is_empty();
        changes |= self.rejects.iter().any(|reject| !self.known_rejects.contains(reject));
        let fates = &self.resolution.fates;
        self.ops.for_each(|place, op| {
            changes |= match fates[place as usize] {
                Fate::Counts => op.kind == OpKind::Upsert,
                Fate::Buried => true,
                Fate::Superseded | Fate::Unchanged => false,
            };
        })?;
        Ok(changes)
    }

    /// What became of a slice's records where nothing of it counts.
    pub(super) fn counts_of_nothing(&mut self, collected: &Counts) -> Result<Counts, RunError> {
        let mut counts = Counts { kept: 0, rejected: 0, ..*collected };
        counts.duplicate += collected.rejected;
        let fates = &self.resolution.fates;
        self.ops.for_each(|place, op| match fates[place as usize] {
            _ if op.kind != OpKind::Upsert => {}
            Fate::Unchanged => counts.unchanged += 1,
            Fate::Superseded | Fate::Counts | Fate::Buried => counts.duplicate += 1,
        })?;
        Ok(counts)
    }

    /// A page the second time: the rows that count, the keys to be buried, and what became of the others.
    pub(super) fn pick(&mut self, refined: Refined) -> Result<Picked, RunError> {
        let Refined { batch, mut rejects, mut counts, gone, .. } = refined;
        rejects.retain(|reject| !self.known_rejects.contains(&bytes_hash(&reject.record)));
        counts.duplicate += counts.rejected - rejects.len() as u64;
        counts.rejected = rejects.len() as u64;
        let Batch { rows, page, extracted_at, marks } = batch;
        let marks = marks.ok_or_else(|| RunError::new(ErrorKind::Bug, "rows came without their keys"))?;
        let mut picked = RowMarks::default();
        let (mut mask, mut buried_keys, mut buried_cursors) = (Vec::with_capacity(marks.keys.len()), Vec::new(), Vec::new());
        let mut gone = gone.into_iter().peekable();
        for row in 0..=marks.keys.len() {
            while let Some(gone) = gone.next_if(|gone| gone.before <= row) {
                if self.next_fate()? == Fate::Buried {
                    buried_keys.push(gone.key);
                    buried_cursors.push(gone.cursor);
                }
            }
            let Some(key) = marks.keys.get(row) else { break };
            let fate = self.next_fate()?;
            mask.push(Some(fate == Fate::Counts));
            match fate {
                Fate::Counts | Fate::Buried => {
                    picked.keys.push(key.clone());
                    picked.cursors.extend(marks.cursors.get(row).cloned());
                    picked.hashes.push(marks.hashes[row]);
                }
                Fate::Superseded => counts.duplicate += 1,
                Fate::Unchanged => counts.unchanged += 1,
            }
        }
        counts.kept = picked.keys.len() as u64;
        let rows = filter_record_batch(&rows, &BooleanArray::from(mask))
            .map_err(|error| RunError::new(ErrorKind::Bug, format!("rows cannot be picked: {error}")))?;
        let batch = Batch { rows, page, extracted_at, marks: Some(picked) };
        Ok(Picked { batch, rejects, counts, buried_keys, buried_cursors })
    }

    fn next_fate(&mut self) -> Result<Fate, RunError> {
        let fate = self.resolution.fates.get(self.place).copied();
        self.place += 1;
        fate.ok_or_else(|| RunError::new(ErrorKind::Bug, "the pages say more the second time than the first"))
    }
}

/// What counts of a page.
pub(super) struct Picked {
    pub batch: Batch,
    pub rejects: Vec<Reject>,
    pub counts: Counts,
    pub buried_keys: Vec<String>,
    pub buried_cursors: Vec<CursorKey>,
}

/// Whether a slice's rows must be compared with the table's before they are written. An append that only goes on reads nothing twice.
pub(super) fn is_needed(job: &Job, generation: Generation) -> bool {
    match job.mode {
        Mode::Merge => true,
        Mode::Append => is_keyed(job) && reads_again(job, generation),
        Mode::Replace => false,
    }
}

/// Whether a slice may read what was read before.
fn reads_again(job: &Job, generation: Generation) -> bool {
    job.window.lookback.is_some() || generation > 1
}

/// Whether something before the slice is not read yet, so that older versions of its keys may still come.
pub(super) fn has_holes(job: &Job, coverage: &Coverage, slice: &Slice) -> bool {
    let Reach::Time(span) = &slice.reach else { return false };
    let Some(from) = span.from else { return false };
    let begins = job.window.start.is_some_and(|start| from <= start);
    !begins && coverage.mark(&slice.partition, job.window.start).is_none_or(|mark| mark < from)
}
