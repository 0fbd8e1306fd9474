//! A Parquet file in a store, as the Parquet reader wants it.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};

use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::store::{Store, StoreError};

/// The footer is asked for with this much before it: most are smaller, and one request does.
const FOOTER_GUESS: usize = 64 * 1024;
/// Ranges that lie closer together are fetched as one: a request costs more than this many bytes.
const GAP_MAX: u64 = 256 * 1024;

/// Whoever counts what is read, and wants to know an error as the store told it.
pub(super) trait Watch: Send + Sync {
    fn read(&self, bytes: u64);
    fn failed(&self, error: &StoreError);
}

/// Nobody watches.
pub(super) struct Unwatched;

impl Watch for Unwatched {
    fn read(&self, _bytes: u64) {}
    fn failed(&self, _error: &StoreError) {}
}

pub(super) struct StoredFile {
    store: Arc<dyn Store>,
    path: String,
    size: u64,
    watch: Arc<dyn Watch>,
}

impl StoredFile {
    pub fn new(store: &Arc<dyn Store>, path: &str, size: u64, watch: Arc<dyn Watch>) -> Self {
        StoredFile { store: Arc::clone(store), path: path.to_owned(), size, watch }
    }

    /// The footer, without page indexes.
    pub async fn footer(&mut self) -> Result<Arc<ParquetMetaData>, ParquetError> {
        let size = self.size;
        let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_GUESS));
        let footer = reader.load_and_finish(self, size).await?;
        check(&footer, size)?;
        Ok(Arc::new(footer))
    }
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            let wanted = range.end.saturating_sub(range.start);
            let bytes = self.store.get_range(&self.path, range).await.map_err(|error| {
                self.watch.failed(&error);
                ParquetError::External(Box::new(error))
            })?;
            self.watch.read(bytes.len() as u64);
            match bytes.len() as u64 == wanted {
                true => Ok(bytes),
                false => Err(ParquetError::EOF(format!("the store gave {} bytes instead of {wanted}", bytes.len()))),
            }
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let mut fetched: Vec<(Range<u64>, Bytes)> = Vec::new();
            for range in merge(&ranges) {
                let bytes = self.get_bytes(range.clone()).await?;
                fetched.push((range, bytes));
            }
            let mut parts = Vec::with_capacity(ranges.len());
            for range in &ranges {
                let whole = fetched.iter().find(|(whole, _)| whole.start <= range.start && range.end <= whole.end);
                let Some((whole, bytes)) = whole else { return Err(ParquetError::General("a range was not fetched".to_owned())) };
                parts.push(bytes.slice((range.start - whole.start) as usize..(range.end - whole.start) as usize));
            }
            Ok(parts)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move { self.footer().await }.boxed()
    }
}

/// The rows of a file, batch by batch. The reader gives up with a panic on some pages that no writer writes: that is damage like any
/// other, and no reason for a run to end without a word of the file.
pub(super) struct FileRows(Option<ParquetRecordBatchStream<StoredFile>>);

impl FileRows {
    pub fn new(rows: ParquetRecordBatchStream<StoredFile>) -> Self {
        FileRows(Some(rows))
    }

    /// The next rows; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, ParquetError> {
        let Some(mut rows) = self.0.take() else { return Ok(None) };
        let read = AssertUnwindSafe(async {
            let batch = rows.try_next().await;
            (rows, batch)
        });
        let (rows, batch) = read
            .catch_unwind()
            .await
            .map_err(|_| ParquetError::General("a page of it cannot be decoded: the file is damaged".to_owned()))?;
        self.0 = Some(rows);
        batch
    }
}

/// A column's bytes lie within the file: the reader believes what a footer says of them, and reckons with it unchecked.
fn check(footer: &ParquetMetaData, size: u64) -> Result<(), ParquetError> {
    for (group, column) in footer.row_groups().iter().flat_map(|group| group.columns().iter().map(move |column| (group, column)))
    {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let end = start.checked_add(column.compressed_size()).and_then(|end| u64::try_from(end).ok());
        let is_within = start >= 0 && column.data_page_offset() >= start && column.compressed_size() >= 0;
        if !is_within || end.is_none_or(|end| end > size) || group.num_rows() < 0 || column.num_values() < 0 {
            return Err(ParquetError::General(format!(
                "the footer places column `{}` outside of the file",
                column.column_path()
            )));
        }
        let bloom = column.bloom_filter_offset().map(|at| (at, column.bloom_filter_length().unwrap_or(0)));
        if bloom.is_some_and(|(at, length)| at < 0 || length < 0 || u64::try_from(at).is_ok_and(|at| at > size)) {
            return Err(ParquetError::General(format!(
                "the footer places the filter of column `{}` outside of the file",
                column.column_path()
            )));
        }
    }
    Ok(())
}

/// Fewer and longer ranges that hold all of `ranges`.
fn merge(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP_MAX) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_ranges_are_one_request() {
        let found = merge(&[5_000_000..5_000_010, 0..10, 10..20, 100..110, 5..8]);
        assert_eq!(found, [0..110, 5_000_000..5_000_010]);
        assert!(merge(&[]).is_empty());
    }
}
