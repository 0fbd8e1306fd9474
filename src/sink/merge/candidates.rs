//! Which files of a table can hold a key at all, and the keys that they hold.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;

use crate::cursor::CursorKey;
use crate::error::{ErrorKind, chain};
use crate::fault::Guards;
use crate::store::{Store, StoreError};

use super::super::SinkError;
use super::super::current::CurrentFile;
use super::super::own::{self, Ranges};
use super::super::stored_file::{FileRows, StoredFile, Unwatched};

/// Files whose bloom filters are asked for at the same time.
const FILTERS_AT_ONCE: usize = 8;
/// Rows of one batch while a file is read.
const BATCH_ROWS: usize = 16 * 1024;

/// The keys that are looked for.
pub(super) struct Wanted<'a> {
    /// Sorted; `None` where they are too many to hold.
    pub keys: Option<&'a [String]>,
    /// Of all of them.
    pub ranges: &'a Ranges,
    pub guards: Guards,
}

impl Wanted<'_> {
    fn may_be_in(&self, file: &Ranges) -> bool {
        let Some((least, greatest)) = &file.keys else { return true };
        if !self.guards.keys_in_range {
            let inside = |key: &String| least < key && key < greatest;
            return self.keys.is_none_or(|keys| keys.iter().any(inside));
        }
        match (self.keys, &self.ranges.keys) {
            (Some(keys), _) => {
                let first = keys.partition_point(|key| key < least);
                keys.get(first).is_some_and(|key| key <= greatest)
            }
            (None, Some((wanted_least, wanted_greatest))) => wanted_least <= greatest && least <= wanted_greatest,
            (None, None) => false,
        }
    }
}

/// The files that may hold one of the keys, in order of path.
pub(super) async fn candidates(
    store: &Arc<dyn Store>,
    files: impl Iterator<Item = (&String, &CurrentFile)>,
    wanted: &Wanted<'_>,
) -> Result<Vec<(String, CurrentFile)>, SinkError> {
    let in_range = files.filter(|(_, file)| wanted.may_be_in(&file.ranges)).map(|(path, file)| (path.clone(), file.clone()));
    let Some(keys) = wanted.keys else { return Ok(in_range.collect()) };
    let asked = in_range.map(|(path, file)| async move {
        let has_one = filter_has_one(store, &path, &file, keys).await?;
        Ok::<_, SinkError>((has_one && wanted.guards.keys_in_filter).then_some((path, file)))
    });
    let asked: Vec<_> = asked.collect();
    futures::stream::iter(asked).buffered(FILTERS_AT_ONCE).try_filter_map(|found| async move { Ok(found) }).try_collect().await
}

/// Whether a file's bloom filters know one of the keys; true where it has none.
async fn filter_has_one(store: &Arc<dyn Store>, path: &str, file: &CurrentFile, keys: &[String]) -> Result<bool, SinkError> {
    let mut builder = open(store, path, file).await?;
    let column = key_column(&builder, path)?;
    let keys: Vec<&String> = keys.iter().filter(|key| file.ranges.may_hold(key)).collect();
    for group in 0..builder.metadata().num_row_groups() {
        let filter = builder.get_row_group_column_bloom_filter(group, column).await;
        match filter.map_err(|error| unreadable(path, error))? {
            Some(filter) if !keys.iter().any(|key| filter.check(key.as_str())) => {}
            _ => return Ok(true),
        }
    }
    Ok(false)
}

fn key_column(builder: &ParquetRecordBatchStreamBuilder<StoredFile>, path: &str) -> Result<usize, SinkError> {
    let columns = builder.parquet_schema().columns();
    columns.iter().position(|column| column.path().string() == own::KEY).ok_or_else(|| no_keys(path))
}

fn no_keys(path: &str) -> SinkError {
    SinkError::new(
        ErrorKind::Config,
        format!(
            "the rows of `{path}` carry no keys, so it cannot be told which of them are read again: load the table anew with `run JOB --full`, or into another table"
        ),
    )
}

/// What a file says of one of its rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredRow<'a> {
    /// Counted from 0 within the file.
    pub row: u64,
    pub key: &'a str,
    pub cursor: &'a CursorKey,
    pub content: i64,
    pub deleted: bool,
}

/// Goes over the keys of a file's rows, in order.
pub(super) async fn scan_keys(
    store: &Arc<dyn Store>,
    path: &str,
    file: &CurrentFile,
    mut take: impl FnMut(StoredRow<'_>),
) -> Result<(), SinkError> {
    let builder = open(store, path, file).await?;
    key_column(&builder, path)?;
    let wanted = [own::KEY, own::CURSOR, own::HASH, own::DELETED];
    let roots = builder.schema().fields().iter().enumerate();
    let roots = roots.filter(|(_, field)| wanted.contains(&field.name().as_str())).map(|(root, _)| root).collect::<Vec<_>>();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let stream = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
    let mut stream = FileRows::new(stream.map_err(|error| unreadable(path, error))?);
    let mut first = 0;
    while let Some(batch) = stream.next().await.map_err(|error| unreadable(path, error))? {
        take_rows(path, &batch, first, &mut take)?;
        first += batch.num_rows() as u64;
    }
    check_rows(path, file, first)
}

fn take_rows(path: &str, batch: &RecordBatch, first: u64, take: &mut impl FnMut(StoredRow<'_>)) -> Result<(), SinkError> {
    let column = |name: &str| batch.column_by_name(name);
    let keys = column(own::KEY).and_then(own::read_keys).ok_or_else(|| no_keys(path))?;
    let cursors = column(own::CURSOR).and_then(own::read_cursors);
    let contents = column(own::HASH).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let deleted = column(own::DELETED).and_then(|column| column.as_boolean_opt());
    for (index, key) in keys.into_iter().enumerate() {
        take(StoredRow {
            row: first + index as u64,
            key,
            cursor: cursors.as_ref().map_or(&CursorKey::NONE, |cursors| &cursors[index]),
            content: contents.map_or(0, |contents| contents.value(index)),
            deleted: deleted.is_some_and(|deleted| deleted.is_valid(index) && deleted.value(index)),
        });
    }
    Ok(())
}

/// All columns of a file, batch by batch.
pub(in crate::sink) async fn read_rows(store: &Arc<dyn Store>, path: &str, file: &CurrentFile) -> Result<FileRows, SinkError> {
    let builder = open(store, path, file).await?;
    builder.with_batch_size(BATCH_ROWS).build().map(FileRows::new).map_err(|error| unreadable(path, error))
}

/// What was read of a file must be what was written: rows are about to be left behind with it.
pub(in crate::sink) fn check_rows(path: &str, file: &CurrentFile, rows: u64) -> Result<(), SinkError> {
    match rows == file.rows {
        true => Ok(()),
        false => Err(SinkError::data(format!("`{path}` has {rows} rows, its record says {}: it was changed", file.rows))),
    }
}

pub(in crate::sink) async fn open(
    store: &Arc<dyn Store>,
    path: &str,
    file: &CurrentFile,
) -> Result<ParquetRecordBatchStreamBuilder<StoredFile>, SinkError> {
    let stored = StoredFile::new(store, path, file.bytes, Arc::new(Unwatched));
    ParquetRecordBatchStreamBuilder::new(stored).await.map_err(|error| unreadable(path, error))
}

/// A file that cannot be read: passing trouble of the store, or damage.
pub(in crate::sink) fn unreadable(path: &str, error: ParquetError) -> SinkError {
    let message = format!("cannot read `{path}`: {}", chain(&error));
    let kind = match &error {
        ParquetError::External(inner) => inner.downcast_ref::<StoreError>().map_or(ErrorKind::Unavailable, |error| error.kind),
        _ => ErrorKind::Data,
    };
    SinkError::new(kind, message)
}
