//! `current.json`: the live files of a dataset, for readers that want exactness over several files.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::{DatasetName, PartitionKey, Seq};
use crate::page::Answered;
use crate::schema::TableSchema;

use super::own::Ranges;
use super::record::{FORMAT, FileEntry, FileRole, Record, RecordKind};
use super::{SinkError, layout};

/// What stands before the live data files. A quote in a text is escaped, and no name in what stands before them is a user's: it is the
/// first such place.
const BEFORE_FILES: &[u8] = b",\"files\":";

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

    /// The index after a record that takes nothing away, written into the text of the one before: of very many files only those that
    /// came are made values. `None` where the record does more than that, or the text is not of the record before it or says what cannot be.
    pub fn grown(before: &[u8], record: &Record, record_hash: &str) -> Option<Bytes> {
        if !record.remove.is_empty() || !record.restore.is_empty() {
            return None;
        }
        let (beginning, known, end) = split(before)?;
        let mut index = Self::from_bytes(&[beginning, b"{}", end].concat())?;
        if index.seq.checked_add(1) != Some(record.seq) || index.record_hash != record.previous {
            return None;
        }
        let (rows, bytes) = (index.rows, index.bytes);
        index.apply(record, record_hash);
        (index.rows, index.bytes) = (index.rows.checked_add(rows)?, index.bytes.checked_add(bytes)?);
        let written = index.to_bytes().ok()?;
        let (beginning, added, end) = split(&written)?;
        let (known, added) = (inside(known)?, inside(added)?);
        let comma: &[u8] = if known.is_empty() || added.is_empty() { b"" } else { b"," };
        Some(Bytes::from([beginning, b"{", known, comma, added, b"}", end].concat()))
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

/// What stands before the live data files, their object, and what stands behind it.
fn split(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let begin = text.windows(BEFORE_FILES.len()).position(|window| window == BEFORE_FILES)? + BEFORE_FILES.len();
    let (beginning, rest) = text.split_at_checked(begin)?;
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
    let files = values.next()?.ok()?.get().len();
    let (files, end) = rest.split_at_checked(files)?;
    Some((beginning, files, end))
}

/// What stands between the brackets of an object.
fn inside(object: &[u8]) -> Option<&[u8]> {
    Some(object.strip_prefix(b"{")?.strip_suffix(b"}")?.trim_ascii())
}

/// Where a dataset's index stands.
pub fn path(dataset: &DatasetName) -> String {
    layout::current(dataset)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sink::live::index_after;
    use crate::sink::record::hash;
    use crate::store::Store;
    use crate::store::memory::MemoryStore;

    /// A file whose place, folder and parameter set would rather be something else.
    fn entry(role: &str, number: u64) -> Value {
        let kind = [",\"files\":{", "}}", "ä \\ \"", "plain"][number as usize % 4];
        json!({
            "role": role, "path": format!("t/kind={kind}/part-{number}"), "staged": "s", "bytes": number + 7, "rows": number,
            "sha256": "", "partition": [["kind", kind], ["other", null]], "set": kind,
        })
    }

    fn record(seq: Seq, previous: &str, add: &[Value], others: Value) -> Record {
        let mut record = json!({
            "format": FORMAT, "seq": seq, "generation": 1, "batch": uuid::Uuid::from_u128(u128::from(seq)), "kind": "load",
            "dataset": "t", "job": "t", "table": "t\",\"files\":{", "fingerprint": {}, "covers": [],
            "read_schema": TableSchema::default(), "schema": TableSchema::default(), "partition_by": ["kind", ",\"files\":{"],
            "counts": crate::batch::Counts::default(), "add": add, "remove": [], "created_at": "2026-01-01T00:00:00Z",
            "previous": previous,
        });
        record.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        serde_json::from_value(record).expect("a record")
    }

    #[test]
    fn an_index_grows_in_its_text_as_it_does_in_its_values() {
        let answered = |question: &str| json!({ "answered": [question, { "asked": ",\"files\":{\"" }] });
        let steps = [
            (vec![entry("data", 1), entry("data", 2), entry("dead_letters", 3)], answered("a")),
            (vec![], answered("b")),
            (vec![entry("data", 5)], answered("b")),
            (vec![entry("tombstones", 6), entry("parents", 7)], json!({ "content": ["a", "digest"] })),
            (vec![entry("data", 8), entry("data", 9)], json!({ "kind": "replace", "content": ["a", "other"] })),
            (vec![entry("data", 10)], json!({ "kind": "compact" })),
        ];
        let (mut index, mut text) = (Current::default(), Current::default().to_bytes().unwrap());
        for (seq, (add, others)) in (1..).zip(steps) {
            let (before, hash) = (index.clone(), format!("hash {seq}"));
            let next = record(seq, &index.record_hash, &add, others.clone());
            index.apply(&next, &hash);
            // The very first index says nothing of its format.
            text = match seq {
                1 => index.to_bytes().unwrap(),
                _ => Current::grown(&text, &next, &hash).expect("it only adds"),
            };
            assert_eq!(Current::from_bytes(&text).as_ref(), Some(&index), "{}", String::from_utf8_lossy(&text));
            assert_eq!(Current::position(&text), Some((seq, hash.clone())));

            let more = |key: &str, value: Value| {
                let mut others = others.clone();
                others.as_object_mut().unwrap().insert(key.to_owned(), value);
                record(seq, &before.record_hash, &add, others)
            };
            let text = before.to_bytes().unwrap();
            let removes = more("remove", json!(["t/part"]));
            let restores = more("restore", json!({ "files": { "f": { "bytes": 1, "rows": 1 } } }));
            let (later, foreign) = (more("seq", json!(seq + 1)), more("previous", json!("another")));
            for refused in [removes, restores, later, foreign] {
                assert_eq!(Current::grown(&text, &refused, &hash), None, "{refused:?}");
            }
            let pretty = serde_json::to_vec_pretty(&before).unwrap();
            for (cut, text) in [&text[..text.len() - 1], &text[..text.len() / 2], &pretty, b"", b",\"files\":", b",\"files\":7}"]
                .iter()
                .enumerate()
            {
                assert_eq!(Current::grown(text, &next, &hash), None, "{cut}");
            }
        }
    }

    #[tokio::test]
    async fn a_large_index_is_written_on_without_being_read_whole() {
        let dataset = DatasetName::new("t");
        for (files, is_large) in [(5, false), (3_000, true)] {
            let store = MemoryStore::new();
            let first = record(1, "", &(0..files).map(|number| entry("data", number)).collect::<Vec<_>>(), json!({}));
            let (mut before, first_bytes) = (Current::default(), first.to_bytes().unwrap());
            before.apply(&first, &hash(&first_bytes));
            let second = record(2, &before.record_hash, &[entry("data", files)], json!({}));
            let second_bytes = second.to_bytes().unwrap();
            let second_hash = hash(&second_bytes);
            store.put(&layout::record(&dataset, 1), first_bytes).await.unwrap();
            store.put(&layout::record(&dataset, 2), second_bytes).await.unwrap();
            let mut expected = before.clone();
            expected.apply(&second, &second_hash);
            // As it should be there; of nobody; gone.
            for (found, grows) in
                [(Some(before.to_bytes().unwrap()), is_large), (Some(Bytes::from_static(b"{}")), false), (None, false)]
            {
                match found {
                    Some(found) => store.put(&path(&dataset), found).await.unwrap(),
                    None => store.delete(&path(&dataset)).await.unwrap(),
                }
                let (bytes, index) = index_after(&store, &dataset, &second, &second_hash).await.unwrap();
                assert_eq!((Current::from_bytes(&bytes).as_ref(), index.is_none()), (Some(&expected), grows), "{files} files");
            }
        }
    }

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
