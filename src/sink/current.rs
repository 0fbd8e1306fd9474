//! `current.json`: the live files of a dataset, for readers that want exactness over several files.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{DatasetName, PartitionKey, Seq};
use crate::page::Answered;
use crate::schema::TableSchema;

use super::own::Ranges;
use super::record::{FORMAT, FileEntry, FileRole, Record, RecordKind};
use super::{SinkError, layout};

/// The live data files after a record, and how to read them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Current {
    pub format: u32,
    pub seq: Seq,
    /// Hex SHA-256 of the record's bytes: the index belongs to this chain and no other.
    #[serde(default)]
    pub record_hash: String,
    pub table: String,
    pub schema: TableSchema,
    pub partition_by: Vec<String>,
    pub rows: u64,
    pub bytes: u64,
    /// By path.
    pub files: BTreeMap<String, CurrentFile>,
    /// Files of keys that were deleted; not for readers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tombstones: BTreeMap<String, CurrentFile>,
    /// Files of parents that are known; not for readers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parents: BTreeMap<String, CurrentFile>,
    /// Files of records that did not fit; not for readers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dead_letters: BTreeMap<String, CurrentFile>,
    /// What a replaced table holds of each parameter set, as a digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contents: BTreeMap<PartitionKey, String>,
    /// What was answered for each parameter set, where the table holds all of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<PartitionKey, Answered>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurrentFile {
    pub bytes: u64,
    pub rows: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition: Vec<(String, Option<String>)>,
    #[serde(default, skip_serializing_if = "Ranges::is_empty")]
    pub ranges: Ranges,
    #[serde(default, skip_serializing_if = "PartitionKey::is_none")]
    pub set: PartitionKey,
}

impl Current {
    /// Takes over what a record adds and removes. `record_hash` is that of its bytes.
    pub fn apply(&mut self, record: &Record, record_hash: &str) {
        record_hash.clone_into(&mut self.record_hash);
        for path in &record.remove {
            self.files.remove(path);
            self.tombstones.remove(path);
            self.parents.remove(path);
            self.dead_letters.remove(path);
        }
        // Who only joins files, or drops what is old, says nothing of the source.
        if !record.kind.is_upkeep() {
            self.note_answers(record);
        }
        self.files.extend(record.restore.files.clone());
        self.tombstones.extend(record.restore.tombstones.clone());
        self.parents.extend(record.restore.parents.clone());
        self.dead_letters.extend(record.restore.dead_letters.clone());
        for file in &record.add {
            let FileEntry { role, path, bytes, rows, partition, ranges, set, .. } = file.clone();
            let current = CurrentFile { bytes, rows, partition, ranges, set };
            match role {
                FileRole::Data => drop(self.files.insert(path, current)),
                FileRole::Tombstones => drop(self.tombstones.insert(path, current)),
                FileRole::Parents => drop(self.parents.insert(path, current)),
                FileRole::DeadLetters => drop(self.dead_letters.insert(path, current)),
            }
        }
        self.format = FORMAT;
        self.seq = record.seq;
        self.table = record.table.clone();
        self.schema = record.schema.clone();
        self.partition_by = record.partition_by.clone();
        self.rows = self.files.values().map(|file| file.rows).sum();
        self.bytes = self.files.values().map(|file| file.bytes).sum();
    }

    fn note_answers(&mut self, record: &Record) {
        // What was voided is to be read and written again, whatever stood there before; and what came back is not what was read last.
        if record.kind == RecordKind::Rollback || record.kind != RecordKind::Replace && !record.remove.is_empty() {
            self.contents.clear();
        }
        self.contents.extend(record.content.clone());
        match &record.answered {
            Some((set, answered)) => drop(self.answers.insert(set.clone(), answered.clone())),
            // Whichever set it is about: what is there of it is another thing now.
            None => self.answers.clear(),
        }
    }

    /// Whether a file counts, whatever it is for.
    pub fn names(&self, path: &str) -> bool {
        [&self.files, &self.tombstones, &self.parents, &self.dead_letters].iter().any(|files| files.contains_key(path))
    }

    pub fn to_bytes(&self) -> Result<Bytes, SinkError> {
        let bytes =
            serde_json::to_vec(self).map_err(|error| SinkError::bug(format!("current.json cannot be written: {error}")))?;
        Ok(Bytes::from(bytes))
    }

    /// Of which record an index is, and that record's hash, from its first bytes: they stand before all that can be long.
    pub fn position(beginning: &[u8]) -> Option<(Seq, String)> {
        #[derive(Deserialize)]
        struct Position {
            format: u32,
            seq: Seq,
            record_hash: String,
        }
        const NEXT: &[u8] = b",\"table\":";
        let end = beginning.windows(NEXT.len()).position(|window| window == NEXT)?;
        let whole = [&beginning[..end], b"}"].concat();
        let position = serde_json::from_slice::<Position>(&whole).ok().filter(|position| position.format == FORMAT)?;
        Some((position.seq, position.record_hash))
    }

    /// `None` where the bytes are no current file of ours: it is only an index, and is made again from the log.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Current>(bytes).ok().filter(|current| current.format == FORMAT)
    }
}

/// Where a dataset's index stands.
pub fn path(dataset: &DatasetName) -> String {
    layout::current(dataset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_says_in_its_first_bytes_of_which_record_it_is() {
        let hash = "0123456789abcdef".repeat(4);
        let table = "t,\"table\":".repeat(9);
        let index = Current { format: FORMAT, seq: u64::MAX, record_hash: hash.clone(), table, ..Current::default() };
        let bytes = index.to_bytes().expect("an index");
        assert_eq!(Current::position(&bytes[..bytes.len().min(256)]), Some((u64::MAX, hash)));
        let newer = Current { format: FORMAT + 1, ..index }.to_bytes().expect("an index");
        for foreign in [&newer[..], b"", b"{}", b",\"table\":", b"{\"seq\":1,\"table\":", &bytes[..40]] {
            assert_eq!(Current::position(foreign), None);
        }
    }
}
