//! The names of things in the lake. Paths are relative to the sink's root.
//!
//! Readers glob a table's folder; everything of ours stands under `_highwater`, which globs over a table never reach.

use crate::ids::{BatchId, DatasetName, Seq};

/// Largest record, index or other small object that is read whole, bytes.
pub const SMALL_OBJECT_MAX: u64 = 256 * 1024 * 1024;

pub fn log_folder(dataset: &DatasetName) -> String {
    format!("_highwater/{dataset}/log")
}

pub fn record(dataset: &DatasetName, seq: Seq) -> String {
    format!("_highwater/{dataset}/log/{seq:020}.json")
}

pub fn current(dataset: &DatasetName) -> String {
    format!("_highwater/{dataset}/current.json")
}

pub fn staged(dataset: &DatasetName, batch: BatchId, number: usize) -> String {
    format!("_highwater/{dataset}/staging/{batch}/{number:04}.staged")
}

/// `directory` is the hive part, such as `created_at_month=2026-01`, empty for a table without partitions.
///
/// The name holds seq and batch: nobody else can write it, publishing again cannot make a second file, and no name is ever used
/// for two contents.
pub fn data_file(table: &str, directory: &str, seq: Seq, number: usize, batch: BatchId) -> String {
    let slash = if directory.is_empty() { "" } else { "/" };
    format!("{table}/{directory}{slash}part-{seq:020}-{number:04}-{batch}.parquet")
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
