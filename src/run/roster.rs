//! Which parents a stream's coverage holds for: of each parent its own mark, at the cost of a few bytes in the lake and none in memory.
//!
//! A slice goes over all parents, so that one span of coverage tells of all of them. What is otherwise is kept apart: a parent that was
//! never met has nothing of what is covered, and one that was missing, or gone when it was asked for, lacks what was covered
//! meanwhile. It is read together with the slice once it is there (again). The table of known parents is the lake's
//! (`sink::parents`): a record that covers a slice adds what the slice changed of it, in the same commit.

pub(super) mod sheet;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use jiff::Timestamp;

use crate::config::catalog::Job;
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::ids::{BatchId, PartitionKey};
use crate::page::ParentId;
use crate::scratch::Scratch;
use crate::sink::SinkError;
use crate::sink::current::Current;
use crate::sink::live::index_at;
use crate::sink::parents::{Lack, ParentRow, read_parents, to_batch};
use crate::sink::settle::Head;
use crate::slice::{Coverage, Slice, Span};

use super::{Ports, RunError};
use sheet::{Collector, Groups, Sheet, SheetWriter, merge, push_group};

/// Files that a set's table of parents may have; with the next commit they become one.
const FILES_MAX: usize = 8;

/// What a run knows of parents. One for a run of a job whose parents are told apart.
pub struct Roster {
    scratch: Arc<Scratch>,
    at: Mutex<At>,
}

#[derive(Default)]
struct At {
    set: PartitionKey,
    base: Base,
    /// What the slice at work makes of `base`, for when it is committed.
    next: Option<(BatchId, Base)>,
    /// What is covered of the set, for parents that lack nothing.
    covered: Vec<Span>,
    /// A slice is at work.
    works: bool,
    /// By the place of a parent's first row: it was there.
    seen: Vec<u64>,
    seen_count: u64,
    /// One that lacked something was there.
    made_up: bool,
    fresh: Collector,
    guards: Guards,
}

/// The table of known parents of a set, and the files of the lake that it was read from.
#[derive(Default)]
struct Base {
    sheet: Arc<Sheet>,
    paths: Vec<String>,
}

/// What a slice changes of the table.
pub(super) struct Change {
    pub sheet: Arc<Sheet>,
    /// Files whose rows stand in `sheet`, too.
    pub replaces: Vec<String>,
}

/// Rows that are written at once.
const BATCH_ROWS: usize = 8 * 1024;

impl Change {
    pub(super) fn rows(&self) -> Result<ChangeRows<'_>, RunError> {
        Ok(ChangeRows { rows: self.sheet.read().map_err(|error| failed(&error))? })
    }
}

/// The rows of a change, batch by batch.
pub(super) struct ChangeRows<'a> {
    rows: sheet::Rows<'a>,
}

impl ChangeRows<'_> {
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, RunError> {
        let rows: io::Result<Vec<ParentRow>> = self.rows.by_ref().take(BATCH_ROWS).collect();
        let rows = rows.map_err(|error| failed(&error))?;
        if rows.is_empty() { Ok(None) } else { Ok(Some(to_batch(&rows)?)) }
    }
}

impl Roster {
    pub fn new(scratch: Arc<Scratch>) -> Self {
        Roster { scratch, at: Mutex::default() }
    }

    fn at(&self) -> std::sync::MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slice is about to be read, on top of `head`.
    pub(super) async fn begin(
        &self,
        job: &Job,
        ports: &Ports,
        head: &Head,
        slice: &Slice,
        index: &mut Option<Current>,
    ) -> Result<(), RunError> {
        let index = index_at(ports.store.as_ref(), &job.dataset, head, index).await?;
        let set = &slice.partition;
        let files: Vec<(&String, _)> = index.parents.iter().filter(|(_, file)| file.set == *set).collect();
        let paths: Vec<String> = files.iter().map(|(path, _)| (*path).clone()).collect();
        let known = self.known(set, &paths);
        let base = match known {
            Some(base) => base,
            None => {
                let mut base = Sheet::default();
                // Of one record several files may be parts: only together are they in order, and say all of a parent.
                for part in files.chunk_by(|(a, _), (b, _)| seq_of(a) == seq_of(b)) {
                    let mut writer = SheetWriter::new(&self.scratch);
                    for (path, file) in part {
                        let push = |row: ParentRow| {
                            writer.push(&row).map_err(|error| SinkError::new(ErrorKind::Unavailable, disk_failed(&error)))
                        };
                        read_parents(&ports.store, path, file, push).await?;
                    }
                    let later = writer.finish().map_err(|error| failed(&error))?;
                    base = merge(&self.scratch, &base, &later).map_err(|error| failed(&error))?;
                }
                Base { sheet: Arc::new(base), paths }
            }
        };
        self.start(set, base, head.state.coverage.spans(set), ports.guards);
        Ok(())
    }

    fn start(&self, set: &PartitionKey, base: Base, covered: &[Span], guards: Guards) {
        let words = usize::try_from(base.sheet.rows().div_ceil(64)).unwrap_or(usize::MAX);
        let seen = vec![0; words];
        *self.at() = At { set: set.clone(), base, covered: covered.to_vec(), works: true, seen, guards, ..At::default() };
    }

    /// The table as it is known already, where the lake's is that one.
    fn known(&self, set: &PartitionKey, paths: &[String]) -> Option<Base> {
        let mut at = self.at();
        if at.set != *set {
            return None;
        }
        if at.base.paths == paths {
            return Some(std::mem::take(&mut at.base));
        }
        let (batch, next) = at.next.take()?;
        let batch = batch.to_string();
        let (added, kept): (Vec<String>, Vec<String>) = paths.iter().cloned().partition(|path| path.contains(&batch));
        (!added.is_empty() && kept == next.paths).then(|| Base { sheet: next.sheet, paths: paths.to_vec() })
    }

    /// What is read of a parent besides the slice; nothing for most.
    pub(super) fn also(&self, parent: &ParentId) -> Result<Vec<Span>, RunError> {
        let at = self.at();
        if !at.works || at.covered.is_empty() || !at.guards.known_parents {
            return Ok(Vec::new());
        }
        let found = at.base.sheet.find(parent).map_err(|error| failed(&error))?;
        Ok(match found {
            None => at.covered.clone(),
            Some(found) => lacking(&at.covered, &found.lacks),
        })
    }

    /// A parent was there: its children are being read.
    pub(super) fn seen(&self, parent: &ParentId) -> Result<(), RunError> {
        let mut at = self.at();
        if !at.works {
            return Ok(());
        }
        let found = at.base.sheet.find(parent).map_err(|error| failed(&error))?;
        let Some(found) = found else {
            return at.fresh.insert(&self.scratch, *parent).map(drop).map_err(|error| failed(&error));
        };
        let (word, bit) = ((found.place / 64) as usize, 1 << (found.place % 64));
        if let Some(word) = at.seen.get_mut(word)
            && *word & bit == 0
        {
            *word |= bit;
            at.seen_count += 1;
            at.made_up |= !found.lacks.is_empty();
        }
        Ok(())
    }

    /// What the slice, of which `span` was read, changes of the table; `None` where that is nothing.
    pub(super) fn change(&self, span: &Span, batch: BatchId) -> Result<Option<Change>, RunError> {
        let mut at = self.at();
        let all_there = at.seen_count == at.base.sheet.parents();
        if !at.works || at.fresh.is_empty() && all_there && !at.made_up {
            return Ok(None);
        }
        let failed = |error: io::Error| failed(&error);
        let fresh = std::mem::take(&mut at.fresh).into_sheet(&self.scratch).map_err(failed)?;
        let is_last = at.covered.last().is_none_or(|last| last.to <= span.to);
        let missed = Lack { from: span.from.map(Timestamp::as_microsecond), to: (!is_last).then(|| span.to.as_microsecond()) };
        let moved = self.moved(&at, missed).map_err(failed)?;
        let delta = merge(&self.scratch, &moved, &fresh).map_err(failed)?;
        if delta.rows() == 0 {
            return Ok(None);
        }
        let whole = Arc::new(merge(&self.scratch, &at.base.sheet, &delta).map_err(failed)?);
        let is_many = at.base.paths.len() >= FILES_MAX;
        let kept = if is_many { Vec::new() } else { at.base.paths.clone() };
        let change = match is_many {
            true => Change { sheet: Arc::clone(&whole), replaces: at.base.paths.clone() },
            false => Change { sheet: Arc::new(delta), replaces: Vec::new() },
        };
        at.next = Some((batch, Base { sheet: whole, paths: kept }));
        Ok(Some(change))
    }

    /// The known parents of whom something else is to be said: those that were missing, and those that have caught up.
    fn moved(&self, at: &At, missed: Lack) -> io::Result<Sheet> {
        let mut writer = SheetWriter::new(&self.scratch);
        let mut groups = Groups::new(at.base.sheet.read()?);
        let mut place = 0u64;
        while let Some(((parent, lacks), rows)) = groups.next()? {
            let was_there = at.seen.get((place / 64) as usize).is_some_and(|word| word & (1 << (place % 64)) != 0);
            let now = if was_there { Vec::new() } else { with(&lacks, missed) };
            if now != lacks {
                push_group(&mut writer, &(parent, now))?;
            }
            place += rows;
        }
        writer.finish()
    }
}

fn failed(error: &io::Error) -> RunError {
    RunError::new(ErrorKind::Unavailable, disk_failed(error))
}

fn disk_failed(error: &io::Error) -> String {
    format!("the parents cannot be kept on the local disk: {error}; make room there")
}

/// The record that a file belongs to: its name begins with it.
fn seq_of(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.get(..25).unwrap_or(name)
}

/// What is covered of others and lacking of one.
fn lacking(covered: &[Span], lacks: &[Lack]) -> Vec<Span> {
    let at = |micros: i64| Timestamp::from_microsecond(micros).ok();
    let mut found = Coverage::default();
    let set = PartitionKey::default();
    for lack in lacks {
        let (from, to) = (lack.from.and_then(at), lack.to.and_then(at).unwrap_or(Timestamp::MAX));
        for span in covered {
            let from = span.from.max(from);
            let to = span.to.min(to);
            if from.is_none_or(|from| from < to) {
                found.add(&crate::slice::Cover::Span { partition: set.clone(), from, to });
            }
        }
    }
    found.spans(&set).to_vec()
}

/// One more stretch; those that touch become one.
fn with(lacks: &[Lack], more: Lack) -> Vec<Lack> {
    let ends = |end: Option<i64>| end.unwrap_or(i64::MAX);
    let mut all: Vec<Lack> = lacks.iter().copied().chain([more]).collect();
    all.sort();
    let mut joined: Vec<Lack> = Vec::with_capacity(all.len());
    for lack in all {
        match joined.last_mut() {
            Some(last) if lack.from.is_none_or(|from| from <= ends(last.to)) => {
                last.to = last.to.zip(lack.to).map(|(a, b)| a.max(b));
            }
            _ => joined.push(lack),
        }
    }
    joined
}

#[cfg(test)]
mod tests;
