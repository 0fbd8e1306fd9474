//! A table as polars asks for it: some columns, perhaps only the first rows.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use futures::StreamExt;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use polars::prelude::{AnonymousScan, AnonymousScanArgs, DataFrame, LazyFrame, PolarsError, PolarsResult, ScanArgsAnonymous};

use super::super::live::{LiveFile, LiveTable};
use super::super::stored_file::{FileRows, StoredFile, Watch};
use super::super::table::written;
use super::{QueryError, columns};
use crate::crossing;
use crate::error::chain;
use crate::schema::Field;
use crate::store::{Store, StoreError};

/// Footers that are fetched at the same time.
const FOOTERS_AT_ONCE: usize = 16;
/// Rows of one batch while a file is decoded.
const BATCH_ROWS: usize = 64 * 1024;

/// What went wrong below polars, which knows strings only.
#[derive(Debug)]
pub(super) enum Fault {
    /// At least so many bytes of columns.
    TooLarge {
        needed: u64,
    },
    Failed(QueryError),
}

/// What a query reads and holds, over all its tables.
pub(super) struct Meter {
    memory: u64,
    held: AtomicU64,
    read: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

impl Meter {
    pub fn new(memory: u64) -> Self {
        Meter { memory, held: AtomicU64::new(0), read: AtomicU64::new(0), fault: Mutex::new(None) }
    }

    pub fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub fn fail(&self, error: QueryError) {
        self.note(Fault::Failed(error));
    }

    pub fn take_fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The first fault is the cause; what comes after it follows from it.
    fn note(&self, fault: Fault) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
    }

    /// Counts bytes that will be held until the end of the query; false if they are too many.
    fn hold(&self, bytes: u64) -> bool {
        let needed = self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if needed > self.memory {
            self.note(Fault::TooLarge { needed });
        }
        needed <= self.memory
    }
}

impl Watch for Meter {
    fn read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Kept as it is, for its kind says what the caller may do.
    fn failed(&self, error: &StoreError) {
        self.fail(QueryError { kind: error.kind, message: chain(error) });
    }
}

/// A live table with its columns as a query sees them.
pub(super) struct OpenTable {
    table: LiveTable,
    store: Arc<dyn Store>,
    fields: Vec<Field>,
}

impl OpenTable {
    /// Reads one footer: that of the newest file, to learn which columns of our own the rows carry.
    pub async fn open(table: LiveTable, store: Arc<dyn Store>, meter: &Arc<Meter>) -> Result<Self, QueryError> {
        let mut fields = written(&table.schema).fields;
        if let Some(newest) = table.files.last() {
            let footer = footer(&store, newest, meter).await?;
            let arrow = arrow_metadata(&footer, newest)?;
            for field in arrow.schema().fields().iter().filter(|field| field.name().starts_with("_hw_")) {
                if fields.iter().all(|known| known.name != *field.name()) {
                    fields.push(Field::from_arrow(field).map_err(QueryError::data)?);
                }
            }
        }
        Ok(OpenTable { table, store, fields })
    }

    pub fn name(&self) -> &str {
        &self.table.table
    }

    /// The named columns of all files, or of the first `rows_max` rows.
    async fn read(&self, wanted: &[&Field], rows_max: Option<usize>, meter: &Arc<Meter>) -> Result<Vec<RecordBatch>, QueryError> {
        let files = self.files_for(rows_max);
        let mut footers = Vec::with_capacity(files.len());
        // All footers before the first column: a query that is too large is refused before it has read much.
        let fetched = files.iter().map(|file| async move {
            match is_read(file, wanted) {
                true => footer(&self.store, file, meter).await.map(Some),
                false => Ok(None),
            }
        });
        let mut fetched = futures::stream::iter(fetched.collect::<Vec<_>>()).buffered(FOOTERS_AT_ONCE);
        let mut left = rows_max.unwrap_or(usize::MAX) as u64;
        while let Some(footer) = fetched.next().await {
            let footer = footer?;
            if let Some(footer) = &footer {
                let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
                let share = rows.min(left) as f64 / rows.max(1) as f64;
                let bytes = footer.memory_size() as u64 + (decoded_bytes(footer, wanted) as f64 * share) as u64;
                left -= rows.min(left);
                if !meter.hold(bytes) {
                    return Err(QueryError::config("too large"));
                }
            }
            footers.push(footer);
        }
        drop(fetched);
        let schema = arrow_schema(wanted);
        let (mut batches, mut left) = (Vec::new(), rows_max.unwrap_or(usize::MAX));
        for (file, footer) in files.iter().zip(footers) {
            if left == 0 {
                break;
            }
            let read = read_file(&self.store, file, footer, wanted, &schema, left, meter).await?;
            left -= read.iter().map(RecordBatch::num_rows).sum::<usize>();
            batches.extend(read);
        }
        Ok(batches)
    }

    /// The files that hold the first `rows_max` rows.
    fn files_for(&self, rows_max: Option<usize>) -> &[LiveFile] {
        let Some(rows_max) = rows_max else { return &self.table.files };
        let mut rows = 0_u64;
        for (index, file) in self.table.files.iter().enumerate() {
            if rows >= rows_max as u64 {
                return &self.table.files[..index];
            }
            rows = rows.saturating_add(file.rows);
        }
        &self.table.files
    }
}

/// Whether the file itself has to be read, or its directory says it all.
fn is_read(file: &LiveFile, wanted: &[&Field]) -> bool {
    wanted.iter().any(|field| file.partition.iter().all(|(key, _)| *key != field.name))
}

async fn footer(store: &Arc<dyn Store>, file: &LiveFile, meter: &Arc<Meter>) -> Result<Arc<ParquetMetaData>, QueryError> {
    let mut stored = StoredFile::new(store, &file.path, file.bytes, Arc::clone(meter) as Arc<dyn Watch>);
    stored.footer().await.map_err(|error| unreadable(file, &error))
}

fn arrow_metadata(footer: &Arc<ParquetMetaData>, file: &LiveFile) -> Result<ArrowReaderMetadata, QueryError> {
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(footer), ArrowReaderOptions::new());
    metadata.map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &LiveFile, error: &(dyn std::error::Error + 'static)) -> QueryError {
    QueryError::data(format!("cannot read `{}`: {}", file.path, chain(error)))
}

/// Bytes of the wanted columns once they stand in memory, from the footer. Encoded sizes alone would mislead: a dictionary makes
/// a column of a million equal values a few bytes long.
fn decoded_bytes(footer: &ParquetMetaData, wanted: &[&Field]) -> u64 {
    let mut bytes = 0_u64;
    for chunk in footer.row_groups().iter().flat_map(|group| group.columns()) {
        let root = chunk.column_path().parts().first();
        if root.is_some_and(|root| wanted.iter().any(|field| field.name == *root)) {
            bytes = bytes.saturating_add(chunk_bytes(chunk));
        }
    }
    bytes
}

fn chunk_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    let width = match chunk.column_type() {
        PhysicalType::BOOLEAN => 1,
        PhysicalType::INT32 | PhysicalType::FLOAT => 4,
        PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
        PhysicalType::INT96 | PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY => 16,
    };
    let values = u64::try_from(chunk.num_values()).unwrap_or(0).saturating_mul(width);
    values.max(u64::try_from(chunk.uncompressed_size()).unwrap_or(0))
}

fn arrow_schema(wanted: &[&Field]) -> SchemaRef {
    Arc::new(Schema::new(wanted.iter().map(|field| field.to_arrow()).collect::<Vec<_>>()))
}

async fn read_file(
    store: &Arc<dyn Store>,
    file: &LiveFile,
    footer: Option<Arc<ParquetMetaData>>,
    wanted: &[&Field],
    schema: &SchemaRef,
    rows_max: usize,
    meter: &Arc<Meter>,
) -> Result<Vec<RecordBatch>, QueryError> {
    let Some(footer) = footer else {
        let rows = usize::try_from(file.rows).unwrap_or(usize::MAX).min(rows_max);
        return Ok(vec![assemble(file, wanted, schema, None, rows)?]);
    };
    let metadata = arrow_metadata(&footer, file)?;
    let present = metadata.schema().fields().iter().enumerate();
    let roots: Vec<usize> =
        present.filter(|(_, field)| wanted.iter().any(|want| want.name == *field.name())).map(|(root, _)| root).collect();
    let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
    let stored = StoredFile::new(store, &file.path, file.bytes, Arc::clone(meter) as Arc<dyn Watch>);
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(stored, metadata);
    let stream = builder.with_projection(mask).with_batch_size(BATCH_ROWS).with_limit(rows_max).build();
    let mut stream = FileRows::new(stream.map_err(|error| unreadable(file, &error))?);
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await.map_err(|error| unreadable(file, &error))? {
        batches.push(assemble(file, wanted, schema, Some(&batch), batch.num_rows())?);
    }
    Ok(batches)
}

/// The wanted columns, in order: from the file, else from its directory, else null.
fn assemble(
    file: &LiveFile,
    wanted: &[&Field],
    schema: &SchemaRef,
    read: Option<&RecordBatch>,
    rows: usize,
) -> Result<RecordBatch, QueryError> {
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(wanted.len());
    for field in wanted {
        let named = |error: QueryError| QueryError {
            kind: error.kind,
            message: format!("column `{}` of `{}`: {}", field.name, file.path, error.message),
        };
        let column = read.and_then(|read| read.column_by_name(&field.name));
        let directory = file.partition.iter().find(|(key, _)| *key == field.name);
        arrays.push(match (column, directory) {
            (Some(column), _) => columns::conform(column, &field.column_type).map_err(named)?,
            (None, Some((_, value))) => columns::constant(value.as_deref(), &field.column_type, rows).map_err(named)?,
            (None, None) => new_null_array(&field.column_type.to_arrow(), rows),
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options);
    batch.map_err(|error| QueryError::bug(format!("the columns of `{}` make no batch: {error}", file.path)))
}

/// What polars calls.
pub(super) struct TableScan {
    pub table: Arc<OpenTable>,
    pub meter: Arc<Meter>,
    pub runtime: tokio::runtime::Handle,
}

impl TableScan {
    pub fn into_frame(self) -> Result<LazyFrame, QueryError> {
        let empty = empty_frame(&self.table.fields).map_err(QueryError::bug)?;
        let args = ScanArgsAnonymous { schema: Some(Arc::clone(empty.schema())), name: "TABLE", ..Default::default() };
        LazyFrame::anonymous_scan(Arc::new(self), args).map_err(|error| QueryError::bug(error.to_string()))
    }

    fn frame(&self, args: &AnonymousScanArgs) -> Result<DataFrame, QueryError> {
        let wanted: Vec<&Field> = match &args.with_columns {
            None => self.table.fields.iter().collect(),
            Some(names) => {
                let named = names.iter().map(|name| self.table.fields.iter().find(|field| field.name == name.as_str()));
                named.collect::<Option<_>>().ok_or_else(|| QueryError::bug("a column was asked for that the table lacks"))?
            }
        };
        let batches = self.runtime.block_on(self.table.read(&wanted, args.n_rows, &self.meter))?;
        let fields: Vec<Field> = wanted.into_iter().cloned().collect();
        let mut frame = empty_frame(&fields).map_err(QueryError::bug)?;
        let mut height = 0;
        for batch in batches {
            height += batch.num_rows();
            if batch.num_columns() > 0 {
                let part = crossing::to_frame(&batch).map_err(QueryError::bug)?;
                frame.vstack_mut_owned(part).map_err(|error| QueryError::bug(error.to_string()))?;
            }
        }
        match fields.is_empty() {
            true => Ok(DataFrame::empty_with_height(height)),
            false => Ok(frame),
        }
    }
}

fn empty_frame(fields: &[Field]) -> Result<DataFrame, String> {
    let fields: Vec<&Field> = fields.iter().collect();
    let schema = arrow_schema(&fields);
    let columns = schema.fields().iter().map(|field| new_empty_array(field.data_type())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(0));
    let batch = RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| error.to_string())?;
    crossing::to_frame(&batch)
}

impl AnonymousScan for TableScan {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn scan(&self, args: AnonymousScanArgs) -> PolarsResult<DataFrame> {
        self.frame(&args).map_err(|error| {
            let message = error.message.clone();
            self.meter.fail(error);
            PolarsError::ComputeError(message.into())
        })
    }

    fn allows_projection_pushdown(&self) -> bool {
        true
    }
}
