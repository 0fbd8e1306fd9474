//! The files of a table that count now, and how to read them.

use bytes::Bytes;
use futures::StreamExt;

use crate::config::catalog::{Job, TableFormat};
use crate::ids::{DatasetName, Seq};
use crate::schema::TableSchema;
use crate::store::Store;

use super::current::Current;
use super::record::{Record, hash};
use super::settle::Head;
use super::{SinkError, layout};

/// Files that are looked for at the same time.
const LOOKS_AT_ONCE: usize = 16;
/// Within so many bytes an index says which record it is of.
const POSITION_MAX: u64 = 512;
/// From so many bytes on an index is of so many files that making values of them takes several times its text, for each run at work.
const LARGE: usize = 256 * 1024;

/// A table as a reader sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveTable {
    pub table: String,
    /// How other readers find the files that count: by their folder, or by a Delta log.
    pub format: TableFormat,
    pub seq: Seq,
    pub schema: TableSchema,
    pub partition_keys: Vec<String>,
    pub files: Vec<LiveFile>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LiveFile {
    /// Relative to the sink's root.
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
    /// Directory keys and values; `None` is the null partition.
    pub partition: Vec<(String, Option<String>)>,
}

/// The live files of a job's table; `None` if nothing was ever committed.
pub async fn live_table(store: &dyn Store, job: &Job) -> Result<Option<LiveTable>, SinkError> {
    let current = load_index(store, &job.dataset, None).await?;
    if current.seq == 0 {
        return Ok(None);
    }
    let files = current.files.into_iter().map(|(path, file)| LiveFile {
        path,
        bytes: file.bytes,
        rows: file.rows,
        partition: file.partition,
    });
    Ok(Some(LiveTable {
        table: current.table,
        format: job.sink.format,
        seq: current.seq,
        schema: current.schema,
        partition_keys: current.partition_by,
        files: files.collect(),
    }))
}

/// The index after the record `at` (its seq and hash), or after the last one that can be seen: read from `current.json`, and from the
/// log where that lags, is missing, or belongs to another chain.
pub async fn load_index(store: &dyn Store, dataset: &DatasetName, at: Option<(Seq, &str)>) -> Result<Current, SinkError> {
    let found = store.get(&layout::current(dataset), layout::INDEX_MAX).await?;
    index_from(store, dataset, found, at).await
}

/// [`load_index`], where `found` is what `current.json` holds.
async fn index_from(
    store: &dyn Store,
    dataset: &DatasetName,
    found: Option<Bytes>,
    at: Option<(Seq, &str)>,
) -> Result<Current, SinkError> {
    let mut index = found.and_then(|bytes| Current::from_bytes(&bytes)).unwrap_or_default();
    let foreign = match at {
        Some((seq, hash)) => index.seq > seq || index.seq == seq && index.record_hash != hash,
        None => index.seq > 0 && !is_in_log(store, dataset, &index).await?,
    };
    if foreign {
        index = Current::default();
    }
    let unknown = index.seq == 0;
    loop {
        let next = index.seq + 1;
        if at.is_some_and(|(seq, _)| next > seq) {
            return Ok(index);
        }
        let Some(bytes) = store.get(&layout::record(dataset, next), layout::SMALL_OBJECT_MAX).await? else {
            return Ok(index);
        };
        let record = Record::from_bytes(&bytes, dataset, next)?;
        // The index may lag for a moment behind a record that is on its way; and for long, where a slow writer put back its own.
        if at.is_none() && !can_be_seen(store, dataset, &record).await? {
            return Ok(index);
        }
        if record.previous != index.record_hash {
            if index.seq == 0 || unknown {
                return Err(SinkError::data(format!(
                    "record {next} of the log of {dataset} does not follow record {}",
                    index.seq
                )));
            }
            index = Current::default();
            continue;
        }
        index.apply(&record, &hash(&bytes));
    }
}

/// What `current.json` is to hold after a record that was decided, whose bytes have this hash; and the index itself, where it was needed
/// for that.
pub async fn index_after(
    store: &dyn Store,
    dataset: &DatasetName,
    record: &Record,
    record_hash: &str,
) -> Result<(Bytes, Option<Current>), SinkError> {
    let found = store.get(&layout::current(dataset), layout::INDEX_MAX).await?;
    if let Some(before) = found.as_ref().filter(|bytes| bytes.len() >= LARGE)
        && let Some(grown) = Current::grown(before, record, record_hash)
    {
        return Ok((grown, None));
    }
    let index = index_from(store, dataset, found, Some((record.seq, record_hash))).await?;
    Ok((index.to_bytes()?, Some(index)))
}

/// Whether the record that an index is of is the log's own.
async fn is_in_log(store: &dyn Store, dataset: &DatasetName, index: &Current) -> Result<bool, SinkError> {
    let found = store.get(&layout::record(dataset, index.seq), layout::SMALL_OBJECT_MAX).await?;
    Ok(found.is_some_and(|bytes| hash(&bytes) == index.record_hash))
}

/// Whether all files of a record can be read. Nothing is decided after one that cannot.
async fn can_be_seen(store: &dyn Store, dataset: &DatasetName, record: &Record) -> Result<bool, SinkError> {
    if store.size(&layout::record(dataset, record.seq + 1)).await?.is_some() {
        return Ok(true);
    }
    let looks: Vec<_> = record.add.iter().map(|file| store.size(&file.path)).collect();
    let mut sizes = futures::stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
    while let Some(size) = sizes.next().await {
        if size?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Which record `current.json` is of, and its hash; `None` where there is no index of ours. However large the index is, only its
/// beginning is read.
pub async fn index_position(store: &dyn Store, dataset: &DatasetName) -> Result<Option<(Seq, String)>, SinkError> {
    let path = layout::current(dataset);
    let Some(size) = store.size(&path).await? else { return Ok(None) };
    let beginning = store.get_range(&path, 0..size.min(POSITION_MAX)).await?;
    Ok(Current::position(&beginning))
}

/// The live files after the record that `head` names: `index` where it is that one, else read from the store and kept there.
pub async fn index_at<'i>(
    store: &dyn Store,
    dataset: &DatasetName,
    head: &Head,
    index: &'i mut Option<Current>,
) -> Result<&'i Current, SinkError> {
    let (seq, hash) = (head.state.seq, &head.state.record_hash);
    let known = index.take().filter(|index| index.seq == seq && index.record_hash == *hash);
    let known = match known {
        Some(known) => known,
        None => load_index(store, dataset, Some((seq, hash))).await?,
    };
    Ok(index.insert(known))
}

/// The live files before a record.
pub async fn index_before(store: &dyn Store, dataset: &DatasetName, record: &Record) -> Result<Current, SinkError> {
    if record.seq <= 1 {
        return Ok(Current::default());
    }
    load_index(store, dataset, Some((record.seq - 1, &record.previous))).await
}
