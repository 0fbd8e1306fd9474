//! The names of things in the lake. Paths are relative to the sink's root.
//!
//! Readers glob a table's folder; everything of ours stands under `_highwater`, which globs over a table never reach.

use crate::ids::{BatchId, DatasetName, Seq};

/// Largest record or other small object that is read whole, bytes.
pub const SMALL_OBJECT_MAX: u64 = 256 * 1024 * 1024;
/// Largest index that is read, bytes: of some ten million files.
pub const INDEX_MAX: u64 = 4 << 30;

/// All of ours, of every table.
pub const OWN: &str = "_highwater";

/// All of ours but the table's own files.
pub fn own_folder(dataset: &DatasetName) -> String {
    format!("_highwater/{dataset}")
}

pub fn log_folder(dataset: &DatasetName) -> String {
    format!("_highwater/{dataset}/log")
}

pub fn record(dataset: &DatasetName, seq: Seq) -> String {
    format!("_highwater/{dataset}/log/{seq:020}.json")
}

/// Whether an object of ours is a record of some table's log.
pub fn is_record(path: &str) -> bool {
    path.contains("/log/") && path.ends_with(".json")
}

pub fn current(dataset: &DatasetName) -> String {
    format!("_highwater/{dataset}/current.json")
}

pub fn batch_folder(dataset: &DatasetName, batch: BatchId) -> String {
    format!("_highwater/{dataset}/staging/{batch}")
}

pub fn staged(dataset: &DatasetName, batch: BatchId, number: usize) -> String {
    format!("{}/{number:04}.staged", batch_folder(dataset, batch))
}

/// `directory` is the hive part, such as `created_at_month=2026-01`, empty for a table without partitions.
///
/// The name holds seq and batch: nobody else can write it, publishing again cannot make a second file, and no name is ever used
/// for two contents.
pub fn data_file(table: &str, directory: &str, seq: Seq, number: usize, batch: BatchId) -> String {
    let slash = if directory.is_empty() { "" } else { "/" };
    format!("{table}/{directory}{slash}{}", file_name(seq, number, batch))
}

/// A file's own name.
pub fn file_name(seq: Seq, number: usize, batch: BatchId) -> String {
    format!("part-{seq:020}-{number:04}-{batch}.parquet")
}

/// Where a file that left the table with the record `seq` is kept: how long it was there is told by its record.
pub fn history(dataset: &DatasetName, seq: Seq, path: &str) -> String {
    format!("_highwater/{dataset}/history/{seq:020}/{path}")
}

pub fn history_folder(dataset: &DatasetName) -> String {
    format!("_highwater/{dataset}/history")
}

/// Whether a path is one in the history.
pub fn is_history(dataset: &DatasetName, path: &str) -> bool {
    before_history(dataset, path).is_some()
}

/// The record with which a file in the history left the table, and the path that it had there.
pub fn before_history<'p>(dataset: &DatasetName, path: &'p str) -> Option<(Seq, &'p str)> {
    let (seq, path) = path.strip_prefix(&history_folder(dataset))?.strip_prefix('/')?.split_once('/')?;
    Some((seq.parse().ok()?, path))
}

pub fn staging_folder(dataset: &DatasetName) -> String {
    format!("_highwater/{dataset}/staging")
}

/// The batch that a staged object belongs to, as text.
pub fn batch_of_staged<'p>(dataset: &DatasetName, path: &'p str) -> Option<&'p str> {
    Some(path.strip_prefix(&staging_folder(dataset))?.strip_prefix('/')?.split_once('/')?.0)
}

/// The seq in the name of a file that we wrote; `None` for others.
pub fn seq_of_file(path: &str) -> Option<Seq> {
    let name = path.rsplit('/').next()?.strip_prefix("part-")?.strip_suffix(".parquet")?;
    let (seq, rest) = name.split_at_checked(20)?;
    let (number, batch) = rest.strip_prefix('-')?.split_once('-')?;
    let ours = number.len() >= 4 && number.bytes().all(|byte| byte.is_ascii_digit()) && uuid::Uuid::try_parse(batch).is_ok();
    ours.then(|| seq.parse().ok()).flatten()
}

/// Written and looked at to learn what the store takes for now.
pub fn clock(dataset: &DatasetName) -> String {
    format!("_highwater/{dataset}/gc/clock")
}

/// The files of a control table.
pub fn control(dataset: &DatasetName, table: &str) -> String {
    format!("_highwater/{dataset}/{table}")
}

/// How far the log was looked through for a control table.
pub fn looked(dataset: &DatasetName, table: &str) -> String {
    format!("_highwater/{dataset}/{table}.json")
}

/// The folders with files that records name: the table's, then those of ours.
pub fn folders_of_files(table: &str, dataset: &DatasetName) -> [String; 4] {
    let ours = |role: &str| format!("_highwater/{dataset}/{role}");
    [table.to_owned(), ours("tombstones"), ours("parents"), ours("dead_letters")]
}

/// Keys that were deleted, for versions of them that come late.
pub fn tombstones_file(dataset: &DatasetName, seq: Seq, number: usize, batch: BatchId) -> String {
    format!("_highwater/{dataset}/tombstones/part-{seq:020}-{number:04}-{batch}.parquet")
}

/// Parents that the coverage holds for.
pub fn parents_file(dataset: &DatasetName, seq: Seq, number: usize, batch: BatchId) -> String {
    format!("_highwater/{dataset}/parents/part-{seq:020}-{number:04}-{batch}.parquet")
}

pub fn dead_letters_file(dataset: &DatasetName, seq: Seq, number: usize, batch: BatchId) -> String {
    format!("_highwater/{dataset}/dead_letters/part-{seq:020}-{number:04}-{batch}.parquet")
}
