//! Delta tables: the log beside a table's files that says to readers which of them count.
//!
//! Our own record decides, as for every table (ADR 34). Publishing ends with one commit to the Delta log that carries
//! `txn(dataset, seq)`: readers see all of a record at once, and whoever publishes again finds that it is done. Removed files stay
//! where they are for readers of older versions, until `upkeep` takes them away.
//!
//! Deliberately absent: deletion vectors, column mapping, widening of types, and rows that other writers bring.

mod commit;
mod engine;
mod guards;
mod schema;
mod stats;
mod upkeep;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::catalog::{Job, PartitionColumn, PartitionUnit, TableFormat};
use crate::fault::Guards;
use crate::ids::DatasetName;
use crate::schema::Field;
use crate::store::Store;

use super::current::Current;
use super::live::load_index;
use super::own::OwnColumns;
use super::record::{Record, RecordKind};
use super::verify::UNFINISHED;
use super::{SinkError, layout};

pub use guards::check;
pub use upkeep::{named_files, vacuum};

/// What became of a record in the Delta log.
#[derive(Debug, PartialEq, Eq)]
pub enum Exposed {
    /// Readers see it, now or since before.
    Done,
    /// A file that it replaces is not part of the table any more: another writer has rewritten the table.
    Displaced(String),
}

/// A record on its way into the Delta log.
#[derive(Clone)]
pub struct Exposure {
    record: Record,
    own: Vec<Field>,
    by: Vec<PartitionColumn>,
    /// Nothing of what stood in the table stays.
    replaces_all: bool,
    now: Timestamp,
    guards: Guards,
}

impl Exposure {
    /// `None` for what has no part in the Delta log: records of other tables, and those that change no file of the table.
    /// `before` are the live files before the record; needed where it removes any.
    pub fn of(job: &Job, record: &Record, before: Option<&Current>, now: Timestamp, guards: Guards) -> Option<Self> {
        let adds = record.add.iter().any(|file| record.is_in_delta_table(&file.path));
        let removes = record.remove.iter().any(|path| record.is_in_delta_table(path));
        if record.table_format != TableFormat::Delta || !adds && !removes {
            return None;
        }
        let gone: HashSet<&String> = record.remove.iter().collect();
        // Rows of others stay where ours are only joined, grow old, or have newer versions, be it all of them.
        let replaces_all = matches!(record.kind, RecordKind::Replace | RecordKind::Rewind | RecordKind::Rollback)
            && removes
            && before.is_some_and(|before| before.files.keys().all(|path| gone.contains(path)));
        let (own, by) = (OwnColumns::of(job).fields(), partitions_of(record));
        Some(Exposure { record: record.clone(), own, by, replaces_all, now, guards })
    }

    /// Whether what is to be exposed, by the job's own partitions, can be: asked before the record is decided, for afterwards there
    /// is only forward.
    pub async fn foresee(mut self, by: &[PartitionColumn], store: Arc<dyn Store>) -> Result<Exposed, SinkError> {
        self.by = by.to_vec();
        Box::pin(commit::run(store, self, true)).await
    }

    /// Commits the record to the Delta log, or finds that this was done.
    ///
    /// # Errors
    /// Never mean that it was not committed: do it again.
    pub async fn expose(self, store: Arc<dyn Store>) -> Result<Exposed, SinkError> {
        // On the heap: it lies deep within a run, whose stack is that of a thread.
        Box::pin(commit::run(store, self, false)).await
    }
}

/// By what a record's files are partitioned, as it says itself: the job's file may say something else by now, and what is decided
/// is published as it was decided. A key that is a column of the rows holds its values; any other is a column cut by time.
fn partitions_of(record: &Record) -> Vec<PartitionColumn> {
    let is_column = |key: &String| record.schema.fields.iter().any(|field| field.name == *key);
    let partition = |key: &String| match is_column(key) {
        true => PartitionColumn { column: key.clone(), unit: PartitionUnit::Value },
        false => PartitionColumn::from_key(key),
    };
    record.partition_by.iter().map(partition).collect()
}

/// The paths of the files that count to readers of the Delta log, below the sink's root; `None` where there is no such log.
pub async fn active_files(store: Arc<dyn Store>, table: &str) -> Result<Option<BTreeSet<String>>, SinkError> {
    commit::active_files(store, table).await
}

/// In which files the Delta log and our own records differ, a sentence each; nothing for tables of another kind.
pub async fn verify(store: Arc<dyn Store>, dataset: &DatasetName) -> Result<Vec<String>, SinkError> {
    let index = load_index(store.as_ref(), dataset, None).await?;
    if index.seq == 0 {
        return Ok(Vec::new());
    }
    let Some(active) = active_files(Arc::clone(&store), &index.table).await? else {
        return Ok(Vec::new());
    };
    // The last one may still be on its way to the Delta log.
    let last = store.get(&layout::record(dataset, index.seq), layout::SMALL_OBJECT_MAX).await?;
    let last = last.map(|bytes| Record::from_bytes(&bytes, dataset, index.seq)).transpose()?;
    let of_last: HashSet<&String> =
        last.iter().flat_map(|last| last.add.iter().map(|file| &file.path).chain(&last.remove)).collect();
    let why = |path: &String, else_: &str| match of_last.contains(path) {
        true => format!(": {UNFINISHED}"),
        false => else_.to_owned(),
    };
    let here = index.files.keys().filter(|path| !active.contains(*path)).map(|path| {
        format!("`{}` does not count to readers of the Delta log{}", store.address(path), why(path, ", though a record names it"))
    });
    let there = active.iter().filter(|path| !index.files.contains_key(*path)).map(|path| {
        format!("`{}` counts to readers of the Delta log{}", store.address(path), why(path, ", though no record names it"))
    });
    Ok(here.chain(there).collect())
}

/// Where the log of a Delta table stands.
pub fn log_folder(table: &str) -> String {
    format!("{table}/_delta_log")
}

#[cfg(test)]
mod tests;
