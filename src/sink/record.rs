//! The decision record: one JSON object per seq, the truth of a dataset.
//!
//! Each names the hash of the one before, so that an edited, cut or swapped record is noticed by whoever reads on.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::batch::Counts;
use crate::config::catalog::{Cursor, DeclaredType, Job, TableFormat};
use crate::error::ErrorKind;
use crate::ids::{BatchId, DatasetName, Generation, PartitionKey, Seq};
use crate::page::{Answered, is_same_path, join_path};
use crate::schema::{ColumnType, TableSchema};
use crate::slice::{Cover, Coverage};

use super::SinkError;
use super::current::CurrentFile;
use super::layout::SMALL_OBJECT_MAX;
use super::own::{self, Ranges};

/// The version of everything under `_highwater` and of the files' layout.
pub const FORMAT: u32 = 1;
/// Columns with fewer levels can be read back for sure: each takes three levels of JSON at most, and a reader goes 128 deep.
const SURE_LEVELS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// Rows were added.
    Load,
    /// Rows were added, and took the place of older versions of themselves.
    Merge,
    /// Rows took the place of all there were.
    Replace,
    /// An operator wants something to be read again, or to count as read.
    Rewind,
    /// The table is what it was after an earlier record.
    Rollback,
    /// An earlier record whose staged files were lost is taken back.
    Void,
    /// Rows of many small files stand in fewer larger ones; nothing else of the table changes.
    Compact,
    /// Partitions that are older than what the job keeps left the table.
    Expire,
}

impl RecordKind {
    /// The work on files that is done to a table between runs: it reads nothing of the source and says nothing of it.
    pub fn is_upkeep(self) -> bool {
        matches!(self, RecordKind::Compact | RecordKind::Expire)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileRole {
    Data,
    DeadLetters,
    /// Keys that were deleted, with the cursor of the deletion.
    Tombstones,
    /// Parents that the coverage holds for, and what of it does not.
    Parents,
}

/// Directory keys and values in order; `None` is the null partition.
pub type PartitionValues = Vec<(String, Option<String>)>;

/// A file that a record adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub role: FileRole,
    pub path: String,
    /// Where it was staged.
    pub staged: String,
    pub bytes: u64,
    pub rows: u64,
    /// Hex.
    pub sha256: String,
    /// Directory keys and values in order; `None` is the null partition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition: Vec<(String, Option<String>)>,
    #[serde(default, skip_serializing_if = "Ranges::is_empty")]
    pub ranges: Ranges,
    /// The parameter set whose rows it holds; rows that a merge carries over may be of others.
    #[serde(default, skip_serializing_if = "PartitionKey::is_none")]
    pub set: PartitionKey,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    pub seq: Seq,
    pub generation: Generation,
    pub batch: BatchId,
    pub kind: RecordKind,
    pub dataset: DatasetName,
    pub job: String,
    pub table: String,
    /// What the table is made of.
    #[serde(default, skip_serializing_if = "is_parquet")]
    pub table_format: TableFormat,
    /// What of the job's definition the rows depend on; see [`fingerprint`].
    pub fingerprint: BTreeMap<String, String>,
    pub covers: Vec<Cover>,
    /// What a voided record had covered, or an operator wants to be read again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncovers: Vec<Cover>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voids: Option<Seq>,
    /// The source's records as they are decoded, before the steps.
    pub read_schema: TableSchema,
    /// The table's columns, with field ids. Columns that were always null are part of it and of no file.
    pub schema: TableSchema,
    pub partition_by: Vec<String>,
    pub counts: Counts,
    pub add: Vec<FileEntry>,
    pub remove: Vec<String>,
    /// What is removed moves into the history instead of being deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub history: bool,
    /// Rows of removed files that stand in added ones as they were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub carried: u64,
    /// Rows of removed files that are gone: an update, or nothing, stands in their place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub superseded: u64,
    /// In a replacement: the digest of its rows' content, so that the same answer does not replace itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<(PartitionKey, String)>,
    /// By what the source can be asked whether the parameter set whose rows these are has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<(PartitionKey, Answered)>,
    /// In a void: what the voided record had removed and counts again.
    #[serde(default, skip_serializing_if = "Restored::is_empty")]
    pub restore: Restored,
    /// In a rewind: who asked for what, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub created_at: Timestamp,
    /// Hex SHA-256 of the previous record's bytes; empty for the first.
    pub previous: String,
}

fn is_parquet(format: &TableFormat) -> bool {
    *format == TableFormat::Parquet
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Files that count again, as the index knew them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, CurrentFile>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tombstones: BTreeMap<String, CurrentFile>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parents: BTreeMap<String, CurrentFile>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dead_letters: BTreeMap<String, CurrentFile>,
}

impl Restored {
    pub fn is_empty(&self) -> bool {
        self.of_roles().iter().all(|files| files.is_empty())
    }

    /// Whether the file counts again.
    pub fn names(&self, path: &str) -> bool {
        self.of_roles().iter().any(|files| files.contains_key(path))
    }

    fn of_roles(&self) -> [&BTreeMap<String, CurrentFile>; 4] {
        [&self.files, &self.tombstones, &self.parents, &self.dead_letters]
    }
}

impl Record {
    /// Rows of a kind that the record adds.
    pub fn rows(&self, role: FileRole) -> u64 {
        self.add.iter().filter(|file| file.role == role).map(|file| file.rows).sum()
    }

    /// Whether a path is that of a table's file, which readers of a Delta table may still need once it was removed.
    pub fn is_in_delta_table(&self, path: &str) -> bool {
        self.table_format == TableFormat::Delta && path.strip_prefix(&self.table).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether every source record is in a file, or it is known why not.
    pub fn counts_add_up(&self) -> bool {
        let counts = &self.counts;
        let data = counts.kept + self.carried;
        if self.kind == RecordKind::Rollback || self.kind.is_upkeep() {
            // They read nothing: dead letters come back, or are joined, as they were.
            return *counts == Counts::default() && data == self.rows(FileRole::Data);
        }
        counts.add_up() && data == self.rows(FileRole::Data) && counts.rejected == self.rows(FileRole::DeadLetters)
    }

    pub fn to_bytes(&self) -> Result<Bytes, SinkError> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| SinkError::bug(format!("record {} of {} cannot be written: {error}", self.seq, self.dataset)))?;
        bytes.push(b'\n');
        self.check_size(bytes.len() as u64)?;
        self.check_levels(&bytes)?;
        Ok(Bytes::from(bytes))
    }

    /// What nobody could read back must not be decided: it would be the end of the table.
    fn check_size(&self, bytes: u64) -> Result<(), SinkError> {
        if bytes <= SMALL_OBJECT_MAX {
            return Ok(());
        }
        let (seq, table, files) = (self.seq, &self.table, self.add.len() + self.remove.len());
        Err(SinkError::data(format!(
            "record {seq} of {table} would name {files} files in {bytes} bytes, more than is read back: partition by less, or read \
             smaller slices (`step`)"
        )))
    }

    /// The same of columns.
    fn check_levels(&self, bytes: &[u8]) -> Result<(), SinkError> {
        let fields = self.schema.fields.iter().chain(&self.read_schema.fields);
        let Some(deepest) = fields.max_by_key(|field| field.column_type.levels()) else { return Ok(()) };
        let levels = deepest.column_type.levels();
        if levels < SURE_LEVELS || Record::from_bytes(bytes, &self.dataset, self.seq).is_ok() {
            return Ok(());
        }
        let name = &deepest.name;
        Err(SinkError::data(format!(
            "the column `{name}` of {} is nested `{levels}` levels deep, more than the table's log can hold: keep it as JSON text, `[columns] {name} = \"json\"`",
            self.table
        )))
    }

    /// Reads the record at `seq`. One of a newer format, of another seq, or that is no whole record is an error: whoever reads
    /// on would build on sand.
    pub fn from_bytes(bytes: &[u8], dataset: &DatasetName, seq: Seq) -> Result<Self, SinkError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let spoilt = |error: serde_json::Error| {
            SinkError::data(format!(
                "record {seq} of the log of {dataset} cannot be read ({error}): it was cut or edited; restore it from a copy of the bucket"
            ))
        };
        let format = serde_json::from_slice::<Format>(bytes).map_err(spoilt)?.format;
        if format > FORMAT {
            let message =
                format!("the log of {dataset} is of format {format}, this program reads up to {FORMAT}: install a newer one");
            return Err(SinkError::new(ErrorKind::Config, message));
        }
        let record: Record = serde_json::from_slice(bytes).map_err(spoilt)?;
        match record.seq == seq && record.dataset == *dataset {
            true => Ok(record),
            false => Err(SinkError::data(format!(
                "record {seq} of the log of {dataset} says it is record {} of {}: the log was tampered with",
                record.seq, record.dataset
            ))),
        }
    }

    /// What the record does to the coverage.
    pub fn apply_to(&self, coverage: &mut Coverage) {
        for cover in &self.uncovers {
            match self.kind {
                // Whatever was known of it: the state may have known of empty slices that no record names.
                RecordKind::Rewind | RecordKind::Rollback => coverage.forget(cover),
                _ => coverage.subtract(cover),
            }
        }
        for cover in &self.covers {
            coverage.add(cover);
        }
    }
}

/// Hex SHA-256.
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).expect("a nibble is a digit"));
        }
    }
    text
}

/// The part of a fingerprint that says whether rows belong to parameter sets.
const FOR_EACH: &str = "for_each";
/// The part that says as what types keys are compared.
const KEY_TYPES: &str = "primary_key as";
/// The part that says what the table is made of.
pub const TABLE_FORMAT: &str = "type";

/// What of a job's definition its rows depend on, by name. A change of one of these within a table mixes two meanings, so it
/// needs a new reading; everything else may be edited freely.
pub fn fingerprint(job: &Job) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let mut put = |name: &str, value: String| parts.insert(name.to_owned(), value);
    put("source", job.source.name.clone());
    put("stream", job.stream.name.clone());
    let parameters = job.parameters.iter().filter(|(_, value)| !value.is_empty());
    put("parameters", parameters.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", "));
    // The sets themselves are not part of it: each has its own coverage, and one more fills its own.
    put(FOR_EACH, if job.is_for_each() { "sets of parameters" } else { "" }.to_owned());
    let cursor = job.stream.window_cursor();
    let zone = |cursor: &Cursor| cursor.timezone.iana_name().map(|zone| format!(" in {zone}")).unwrap_or_default();
    put(
        "cursor",
        cursor.map(|cursor| format!("{} as {:?}{}", cursor.field, cursor.cursor_type, zone(cursor))).unwrap_or_default(),
    );
    let epochs = job.columns.iter().filter(|(_, declared)| !matches!(declared, DeclaredType::Column(_)));
    put("epochs", epochs.map(|(path, declared)| format!("{path} as {declared:?}")).collect::<Vec<_>>().join(", "));
    if let Some(parent) = &job.stream.parent {
        let carry = parent.carry.iter().map(|(column, steps)| format!("{column} from {}", join_path(steps)));
        let changed = if parent.changed_only { ", changed ones only" } else { "" };
        put("parent", format!("{}{changed}: {}", parent.stream.name, carry.collect::<Vec<_>>().join(", ")));
    }
    put("primary_key", job.stream.primary_key.join(", "));
    put(KEY_TYPES, if own::is_keyed(job) { key_types(job) } else { String::new() });
    put("mode", job.mode.name().to_owned());
    put(TABLE_FORMAT, if job.sink.format == TableFormat::Delta { "delta" } else { "" }.to_owned());
    put("partition_by", job.partition_by.iter().map(|column| column.key()).collect::<Vec<_>>().join(", "));
    parts
}

/// The declared types of key fields by which `decode` makes one key of several ways to write a value.
fn key_types(job: &Job) -> String {
    let of = |path: &String| {
        let mut declared = job.columns.iter().filter(|(declared, _)| is_same_path(declared, path));
        declared.find_map(|(_, declared)| match declared {
            DeclaredType::Column(
                column @ (ColumnType::Int64 | ColumnType::Boolean | ColumnType::Decimal { .. } | ColumnType::Text),
            ) => Some(format!("{path} as {column}")),
            _ => None,
        })
    };
    job.stream.primary_key.iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

/// The parts in which a job differs from what its table was written by, a sentence each.
pub fn fingerprint_changes(written: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let differs = |(name, value): (&String, &String)| match written.get(name) {
        Some(before) if before != value => Some(format!("{name} was `{before}` and is `{value}`")),
        // Records from before there were sets, or other tables.
        None if [FOR_EACH, TABLE_FORMAT].contains(&name.as_str()) && !value.is_empty() => {
            Some(format!("{name} was not there and is `{value}`"))
        }
        _ => None,
    };
    now.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ColumnType, Field};

    #[test]
    fn a_spoilt_record_is_refused() {
        // D-43
        let dataset = DatasetName::new("orders");
        let error = Record::from_bytes(b"{\"format\": 1, \"seq\":", &dataset, 3).expect_err("cut");
        assert!(error.to_string().contains("record 3 of the log of orders"), "{error}");
        // D-59
        let error = Record::from_bytes(b"{\"format\": 2}", &dataset, 3).expect_err("newer");
        assert_eq!(error.kind, ErrorKind::Config);
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let record = |levels: usize| {
            let nest = |inner: ColumnType, level: usize| match level % 2 {
                0 => ColumnType::Struct(vec![Field::new("f", inner)]),
                _ => ColumnType::List(Box::new(Field::new("item", inner))),
            };
            let column_type = (0..levels).fold(ColumnType::Json, nest);
            let record = serde_json::json!({
                "format": FORMAT, "seq": 1, "generation": 1, "batch": uuid::Uuid::nil(), "kind": "load", "dataset": "orders",
                "job": "orders", "table": "orders", "fingerprint": {}, "covers": [], "read_schema": [], "schema": [],
                "partition_by": [], "counts": Counts::default(), "add": [], "remove": [],
                "created_at": "2026-01-01T00:00:00Z", "previous": ""
            });
            let record: Record = serde_json::from_value(record).expect("a record");
            Record { schema: TableSchema { fields: vec![Field::new("replies", column_type)] }, ..record }
        };
        for levels in 0..100 {
            match record(levels).to_bytes() {
                Ok(bytes) => assert_eq!(Record::from_bytes(&bytes, &DatasetName::new("orders"), 1).ok(), Some(record(levels))),
                Err(error) => {
                    assert!(levels > SURE_LEVELS, "{levels}");
                    assert!(error.to_string().contains("`[columns] replies = \"json\"`"), "{error}");
                }
            }
        }
        assert!(record(99).to_bytes().is_err());
        // Nor one that is larger than what is read.
        assert!(record(1).check_size(SMALL_OBJECT_MAX).is_ok());
        let error = record(1).check_size(SMALL_OBJECT_MAX + 1).expect_err("too large");
        assert!(error.to_string().contains("smaller slices"), "{error}");
    }

    #[test]
    fn keys_stay_what_they_are_or_the_table_is_another() {
        let part = |text: &str| BTreeMap::from([(KEY_TYPES.to_owned(), text.to_owned())]);
        for (before, now) in [("", "id as int64"), ("id as int64", ""), ("id as text", "id as text, no as int64")] {
            assert!(fingerprint_changes(&part(before), &part(before)).is_empty());
            let changes = fingerprint_changes(&part(before), &part(now));
            assert_eq!(changes, [format!("primary_key as was `{before}` and is `{now}`")]);
            assert!(
                fingerprint_changes(&BTreeMap::new(), &part(now)).is_empty(),
                "of a record from before there was such a part"
            );
        }
    }

    #[test]
    fn hashes_are_hex() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
