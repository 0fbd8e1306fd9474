//! The files of a table, record after record: what it was at any place of its log, and where what left it is kept.
//!
//! A file that comes back gets a new name, for an owner that was paused while it removed the old one must not be able to take it
//! away again. What it is, is told by where it comes from: its staged copy is the one in the history.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::ids::{BatchId, DatasetName, Seq};
use crate::slice::Coverage;
use crate::store::Store;

use super::record::{FileEntry, FileRole, Record, hash};
use super::{SinkError, layout};

/// The live files of a table, with all that their records say of them. Memory is bounded by their number.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub live: BTreeMap<String, FileEntry>,
    /// What the last record took away: a void gives it back.
    taken: Vec<FileEntry>,
    /// Of live files that came back: the name that they had first.
    first_names: BTreeMap<String, String>,
}

impl Files {
    /// Takes over what the next record adds and removes; what it removed is returned.
    pub fn apply(&mut self, record: &Record) -> &[FileEntry] {
        let gone: Vec<FileEntry> = record.remove.iter().filter_map(|path| self.live.remove(path)).collect();
        let is_back = |file: &FileEntry| record.restore.names(&file.path);
        self.live.extend(self.taken.drain(..).filter(is_back).map(|file| (file.path.clone(), file)));
        for file in &record.add {
            if let Some((_, before)) = layout::before_history(&record.dataset, &file.staged) {
                let first = self.first_names.get(before).map_or(before, String::as_str).to_owned();
                self.first_names.insert(file.path.clone(), first);
            }
            self.live.insert(file.path.clone(), file.clone());
        }
        self.taken = gone;
        &self.taken
    }

    /// The name that a file's content had when it was written.
    fn first_name<'p>(&'p self, path: &'p str) -> &'p str {
        self.first_names.get(path).map_or(path, String::as_str)
    }
}

/// A file that comes back.
#[derive(Clone, Debug)]
pub struct Back {
    /// As it was last called.
    pub file: FileEntry,
    /// Where it is kept.
    pub kept: String,
}

/// A table as it was after an earlier record, against what it is now.
#[derive(Clone, Debug)]
pub struct LookBack {
    /// The record that it was after.
    pub record: Record,
    /// What was covered by then.
    pub coverage: Coverage,
    /// What is covered now, by all records.
    pub coverage_now: Coverage,
    /// Files that were live then and are not now.
    pub back: Vec<Back>,
    /// Files that are live now and were not then.
    pub leave: Vec<FileEntry>,
    /// Files that are live now and were so then.
    pub stay: Vec<FileEntry>,
    /// Of `back`: those that no history has, for they were deleted at once.
    pub not_kept: Vec<String>,
}

/// Reads the log from its beginning to the record `head`, its seq and hash.
///
/// # Errors
/// Of kind config where `to` is not a place in the log before its end; of kind data where the log is broken.
pub async fn look_back(store: &dyn Store, dataset: &DatasetName, to: Seq, head: (Seq, &str)) -> Result<LookBack, SinkError> {
    if to == 0 || to > head.0 {
        let message = format!(
            "there is no record {to} in the log of {dataset}: it goes from 1 to {}; to load all of it anew: `highwater run JOB --full`",
            head.0
        );
        return Err(SinkError::new(crate::error::ErrorKind::Config, message));
    }
    let mut files = Files::default();
    let mut coverage = Coverage::default();
    let mut then: Option<(Record, Coverage, BTreeMap<String, FileEntry>)> = None;
    // Where what was live then stands once it has left, by its first name; `None` where it was deleted.
    let mut left: BTreeMap<String, Option<Back>> = BTreeMap::new();
    let mut log = Log::default();
    while log.seq < head.0 {
        let Some(record) = log.next(store, dataset).await? else {
            return Err(SinkError::data(format!("record {} of the log of {dataset} is missing", log.seq + 1)));
        };
        record.apply_to(&mut coverage);
        let gone = files.apply(&record).to_vec();
        if then.is_some() {
            for file in gone {
                let first = files.first_name(&file.path).to_owned();
                let kept = layout::history(dataset, record.seq, &file.path);
                left.insert(first, record.history.then_some(Back { file, kept }));
            }
        }
        if record.seq == to {
            let by_first = files.live.values().map(|file| (files.first_name(&file.path).to_owned(), file.clone()));
            then = Some((record, coverage.clone(), by_first.collect()));
        }
    }
    if log.previous != head.1 {
        return Err(SinkError::data(format!(
            "the log of {dataset} is not the one that was known: run the job, which settles it"
        )));
    }
    let Some((record, coverage_then, then)) = then else {
        return Err(SinkError::bug(format!("record {to} of {dataset} was passed over")));
    };
    let now: BTreeSet<&str> = files.live.keys().map(|path| files.first_name(path)).collect();
    let (mut back, mut not_kept) = (Vec::new(), Vec::new());
    for (first, file) in &then {
        match left.get(first) {
            _ if now.contains(first.as_str()) => {}
            Some(Some(last)) => back.push(last.clone()),
            _ => not_kept.push(file.path.clone()),
        }
    }
    let was_there = |file: &FileEntry| then.contains_key(files.first_name(&file.path));
    let (stay, leave) = files.live.values().cloned().partition(was_there);
    Ok(LookBack { record, coverage: coverage_then, coverage_now: coverage, back, leave, stay, not_kept })
}

/// What comes back as files that a record adds: each under a new name, its staged copy the one in the history.
pub fn come_back(back: &[Back], seq: Seq, batch: BatchId) -> Vec<FileEntry> {
    let entry = |(number, Back { file, kept }): (usize, &Back)| {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        // Of parents the order of records is the order in which they were learned of.
        let seq = if file.role == FileRole::Parents { layout::seq_of_file(&file.path).unwrap_or(seq) } else { seq };
        let path = format!("{folder}/{}", layout::file_name(seq, number, batch));
        FileEntry { path, staged: kept.clone(), ..file.clone() }
    };
    back.iter().enumerate().map(entry).collect()
}

/// The files that count after the record `head`, its seq and hash, by the log alone.
///
/// # Errors
/// Of kind data where the log is broken or ends before that.
pub async fn files_at(
    store: &dyn Store,
    dataset: &DatasetName,
    head: (Seq, &str),
) -> Result<BTreeMap<String, FileEntry>, SinkError> {
    let mut files = Files::default();
    let mut log = Log::default();
    while log.seq < head.0 {
        let Some(record) = log.next(store, dataset).await? else {
            return Err(SinkError::data(format!("record {} of the log of {dataset} is missing", log.seq + 1)));
        };
        files.apply(&record);
    }
    if log.previous != head.1 {
        return Err(SinkError::data(format!("the log of {dataset} is not the one that was known")));
    }
    Ok(files.live)
}

/// What is covered after the record `seq`.
pub async fn coverage_at(store: &dyn Store, dataset: &DatasetName, seq: Seq) -> Result<Coverage, SinkError> {
    let mut coverage = Coverage::default();
    let mut log = Log::default();
    while log.seq < seq {
        let Some(record) = log.next(store, dataset).await? else { break };
        record.apply_to(&mut coverage);
    }
    Ok(coverage)
}

/// The last record that was decided by then; `None` if there was none yet.
pub async fn seq_at(store: &dyn Store, dataset: &DatasetName, at: Timestamp) -> Result<Option<Seq>, SinkError> {
    let mut found = None;
    let mut log = Log::default();
    while let Some(record) = log.next(store, dataset).await? {
        if record.created_at <= at {
            found = Some(record.seq);
        }
    }
    Ok(found)
}

/// Reads a log from its beginning, and that each record follows the one before.
#[derive(Debug, Default)]
pub struct Log {
    /// The record that was read last.
    pub seq: Seq,
    /// Its hash.
    pub previous: String,
}

impl Log {
    /// The next record; `None` at the log's end.
    pub async fn next(&mut self, store: &dyn Store, dataset: &DatasetName) -> Result<Option<Record>, SinkError> {
        let seq = self.seq + 1;
        let Some(bytes) = store.get(&layout::record(dataset, seq), layout::SMALL_OBJECT_MAX).await? else { return Ok(None) };
        let record = Record::from_bytes(&bytes, dataset, seq)?;
        if record.previous != self.previous {
            let message = format!("record {seq} of the log of {dataset} does not follow record {}", self.seq);
            return Err(SinkError::data(message));
        }
        self.seq = seq;
        self.previous = hash(&bytes);
        Ok(Some(record))
    }
}
