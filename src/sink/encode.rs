//! Rows to the bytes of Parquet files: one open file a partition, bounded in number and in memory. No input or output: the bytes
//! are handed out in pieces as they come to be, for whoever stages them.

mod ceilings;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, RecordBatch, StringArray, StringViewArray, StringViewBuilder, TimestampMicrosecondArray, UInt64Array,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use crate::batch::Batch;
use crate::config::catalog::{Compression, ParquetSettings, PartitionColumn, PartitionUnit};
use crate::cursor::CursorKey;
use crate::ids::{BatchId, PartitionKey};
use crate::reject::Reject;
use crate::schema::{Field, TableSchema};

use super::distinct::without_dictionary;
use super::own::{self, OwnColumns, Ranges, cursor_array};
use super::pages::Packer;
use super::parquet_file::{self, ParquetFile};
use super::partition::{Values, directory, split};
use super::record::{FileRole, hex};
use super::{SinkError, table};

/// Open files at the same time; past it the one that waits longest is closed and its partition gets another file later.
const OPEN_MAX: usize = 256;
/// The same for files whose keys have a bloom filter, which takes half a megabyte while its file is open.
const KEYED_OPEN_MAX: usize = 64;
/// Distinct keys of a row group that a bloom filter is laid out for, where no less is known; it is folded to what there are
/// (`Sbbf::fold_to_target_fpp`), which takes longer the more it was laid out for.
const BLOOM_KEYS_MAX: u64 = 1 << 18;
/// How often a bloom filter takes a key for one it has.
const BLOOM_ERRORS: f64 = 0.01;
/// Rows of a row group of parents.
const PARENTS_ROWS: usize = 1 << 16;
/// Bytes are handed out once so many are there, or with the file's end.
const PIECE_MIN: usize = 1024 * 1024;
/// A row group has no more rows, however small they are.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// A page is closed once its values come to so many bytes: below the heap's `LARGE` with all that a growing buffer takes more, for pages
/// of their own from the kernel would be made and zeroed for each. Larger ones pack hardly better: zstd(1) looks back 512 KiB.
const DATA_PAGE: usize = 480 * 1024;
/// Rows wait for others until they come to so many bytes: the more are encoded at once, the better they share out.
const WAITING_MAX: usize = 2 * 1024 * 1024;

/// How a slice's files are to be made.
#[derive(Clone, Debug)]
pub struct EncodeSettings {
    pub parquet: ParquetSettings,
    pub partition_by: Vec<PartitionColumn>,
    /// The table's schema with ids, as the slice leaves it.
    pub schema: TableSchema,
    /// The columns of our own that rows carry.
    pub own: OwnColumns,
    pub batch: BatchId,
    /// The parameter set that the rows are of.
    pub set: PartitionKey,
    /// Ceiling on rows held in open row groups over all files, bytes.
    pub memory: usize,
    /// Bytes of a file that whoever stages it holds until they are a part to send, and ceiling on those of all open files.
    pub part: usize,
    pub held: usize,
    /// Ceiling on what is kept of row groups that open files have ended, bytes.
    pub ended: usize,
    /// No file has more distinct keys than this, where that is known.
    pub keys_max: Option<u64>,
}

/// Bytes of one file, in order within it.
#[derive(Debug)]
pub struct Piece {
    /// Files count from 0 in the order in which they were opened.
    pub file: usize,
    pub bytes: Bytes,
    /// The file ends here.
    pub closed: Option<Closed>,
}

/// What is known of a file once it is whole.
#[derive(Clone, Debug)]
pub struct Closed {
    pub role: FileRole,
    /// The hive directory, empty without partitions.
    pub directory: String,
    pub partition: Vec<(String, Option<String>)>,
    pub rows: u64,
    pub bytes: u64,
    /// Hex SHA-256 of all the file's bytes.
    pub sha256: String,
    /// Of keys and cursors, where the rows have such columns.
    pub ranges: Ranges,
}

pub struct Encoder {
    settings: EncodeSettings,
    written: TableSchema,
    arrow: SchemaRef,
    /// The columns of the files, our own included.
    filed: TableSchema,
    file_schema: SchemaRef,
    /// Packs the pages of all files, where `parquet` does not.
    packer: Option<Arc<Packer>>,
    open: HashMap<Key, OpenFile>,
    opened: usize,
    /// Counts batches, to know which file waits longest.
    turn: u64,
    /// What waits in all files to be encoded, bytes.
    waiting: usize,
    /// A file of rows was begun: the columns are what they are.
    data: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Data(Values),
    DeadLetters,
    Tombstones,
    Parents,
}

struct OpenFile {
    file: usize,
    parquet: ParquetFile,
    role: FileRole,
    directory: String,
    partition: Vec<(String, Option<String>)>,
    rows: u64,
    bytes: u64,
    hash: Sha256,
    ranges: Ranges,
    last_turn: u64,
}

impl Encoder {
    pub fn new(settings: EncodeSettings) -> Self {
        let (written, filed) = columns(&settings);
        let (arrow, file_schema) = (written.to_arrow(), filed.to_arrow());
        let packer = Packer::of(compression(&settings));
        Encoder {
            packer,
            settings,
            written,
            arrow,
            filed,
            file_schema,
            open: HashMap::new(),
            opened: 0,
            turn: 0,
            waiting: 0,
            data: false,
        }
    }

    /// Gives the rows to come other columns; only before the first of them.
    pub fn set_schema(&mut self, schema: TableSchema) {
        assert!(!self.data, "columns do not change within a file");
        self.settings.schema = schema;
        (self.written, self.filed) = columns(&self.settings);
        (self.arrow, self.file_schema) = (self.written.to_arrow(), self.filed.to_arrow());
    }

    /// Whether the files have a column of this name.
    pub fn has_column(&self, name: &str) -> bool {
        self.filed.fields.iter().any(|field| field.name == name)
    }

    /// Files opened so far.
    pub fn files(&self) -> usize {
        self.opened
    }

    /// Takes rows in. What comes out may be of this or of earlier rows.
    pub fn add(&mut self, batch: &Batch) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        if batch.rows.num_rows() == 0 {
            return Ok(pieces);
        }
        self.turn += 1;
        let for_partitions = self.partition_source(batch)?;
        let bytes = for_partitions.get_array_memory_size();
        for (values, rows) in split(&for_partitions, &self.settings.partition_by.clone())? {
            let rows = self.file_rows(&rows, batch)?;
            // Texts of all partitions lie in the same memory.
            let share = bytes.saturating_mul(rows.num_rows()) / batch.rows.num_rows();
            self.write(Key::Data(values), &rows, share, &mut pieces)?;
        }
        Ok(pieces)
    }

    /// Takes in rows of a file that this batch replaces, as they are, into the partition that they stood in.
    pub fn add_carried(&mut self, partition: &[(String, Option<String>)], rows: &RecordBatch) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        if rows.num_rows() == 0 {
            return Ok(pieces);
        }
        self.turn += 1;
        let values = partition.iter().map(|(_, value)| value.clone()).collect();
        let rows = table::conform(rows, &self.filed, &self.file_schema)?;
        self.write(Key::Data(values), &rows, rows.get_array_memory_size(), &mut pieces)?;
        Ok(pieces)
    }

    /// Takes in rows of a file of our own beside the table, as they are.
    pub fn add_joined(&mut self, role: FileRole, rows: &RecordBatch) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        let key = match role {
            FileRole::DeadLetters => Key::DeadLetters,
            FileRole::Tombstones => Key::Tombstones,
            FileRole::Data | FileRole::Parents => return Err(SinkError::bug("such files are not joined as they are")),
        };
        if rows.num_rows() > 0 {
            self.turn += 1;
            self.write(key, rows, rows.get_array_memory_size(), &mut pieces)?;
        }
        Ok(pieces)
    }

    /// Takes in keys that were deleted, with the cursor of their deletion ([`CursorKey::NONE`] for a stream without one).
    pub fn add_tombstones(&mut self, keys: &[String], cursors: &[CursorKey]) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        if keys.is_empty() {
            return Ok(pieces);
        }
        self.turn += 1;
        let mut columns: Vec<(&str, ArrayRef)> = vec![(own::KEY, Arc::new(StringViewArray::from_iter_values(keys)))];
        if let Some(cursor) = &self.settings.own.cursor {
            columns.push((own::CURSOR, cursor_array(cursors, cursor)?));
        }
        let batch = self.settings.batch.to_string();
        columns.push((own::COMMIT, Arc::new(StringArray::from_iter_values(std::iter::repeat_n(batch, keys.len())))));
        let rows = RecordBatch::try_from_iter(columns).map_err(|error| SinkError::bug(error.to_string()))?;
        self.write(Key::Tombstones, &rows, rows.get_array_memory_size(), &mut pieces)?;
        Ok(pieces)
    }

    /// Takes in what is known of parents, in order ([`parents`](super::parents)).
    pub fn add_parents(&mut self, rows: &RecordBatch) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        if rows.num_rows() == 0 {
            return Ok(pieces);
        }
        self.turn += 1;
        self.write(Key::Parents, rows, rows.get_array_memory_size(), &mut pieces)?;
        Ok(pieces)
    }

    /// The rows with every column that is written; partition columns that were always null come along as nulls.
    fn partition_source(&self, batch: &Batch) -> Result<RecordBatch, SinkError> {
        let rows = &batch.rows;
        let mut conformed = table::conform(rows, &self.written, &self.arrow)?;
        for by in &self.settings.partition_by {
            if conformed.column_by_name(&by.column).is_none()
                && let Some(column) = rows.column_by_name(&by.column)
            {
                let mut fields: Vec<_> = conformed.schema().fields().iter().cloned().collect();
                let mut columns = conformed.columns().to_vec();
                fields.push(Arc::new(ArrowField::new(&by.column, column.data_type().clone(), true)));
                columns.push(column.clone());
                conformed = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
                    .map_err(|error| SinkError::bug(error.to_string()))?;
            }
        }
        if let Some(marks) = &batch.marks {
            let mut fields: Vec<_> = conformed.schema().fields().iter().cloned().collect();
            let mut columns = conformed.columns().to_vec();
            for (field, column) in own::mark_columns(marks, &self.settings.own)? {
                fields.push(Arc::new(field.to_arrow()));
                columns.push(column);
            }
            conformed = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
                .map_err(|error| SinkError::bug(error.to_string()))?;
        }
        Ok(conformed)
    }

    fn file_rows(&self, rows: &RecordBatch, batch: &Batch) -> Result<RecordBatch, SinkError> {
        let count = rows.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.file_schema.fields().len());
        for field in self.file_schema.fields() {
            columns.push(match field.name().as_str() {
                own::COMMIT => repeated(&self.settings.batch.to_string(), count)?,
                own::SET => repeated(self.settings.set.as_str(), count)?,
                own::EXTRACTED_AT => {
                    let at = TimestampMicrosecondArray::from_value(batch.extracted_at.as_microsecond(), count);
                    Arc::new(at.with_timezone("UTC"))
                }
                name => {
                    rows.column_by_name(name).cloned().ok_or_else(|| SinkError::bug(format!("the column `{name}` is lost")))?
                }
            });
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.file_schema.clone(), columns, &options)
            .map_err(|error| SinkError::bug(error.to_string()))
    }

    /// Takes rejects in; they become a file of the dead letters.
    pub fn add_rejects(&mut self, rejects: &[Reject]) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        if !rejects.is_empty() {
            self.turn += 1;
            let rows = dead_letter_rows(rejects, self.settings.batch)?;
            self.write(Key::DeadLetters, &rows, rows.get_array_memory_size(), &mut pieces)?;
        }
        Ok(pieces)
    }

    /// `bytes` is about what the rows take.
    fn write(&mut self, key: Key, rows: &RecordBatch, bytes: usize, pieces: &mut Vec<Piece>) -> Result<(), SinkError> {
        let open_max = if self.settings.own.keyed { KEYED_OPEN_MAX } else { OPEN_MAX };
        if !self.open.contains_key(&key) && self.open.len() >= open_max {
            pieces.extend(self.encode_waiting()?);
            let oldest = self.open.iter().min_by_key(|(_, file)| file.last_turn).map(|(key, _)| key.clone());
            if let Some(file) = oldest.filter(|_| self.open.len() >= open_max).and_then(|key| self.open.remove(&key)) {
                pieces.extend(file.close()?);
            }
        }
        // What is much by itself is encoded part by part.
        let at_once = (rows.num_rows().saturating_mul(WAITING_MAX) / bytes.max(1)).max(1);
        for first in (0..rows.num_rows()).step_by(at_once) {
            let part = rows.slice(first, at_once.min(rows.num_rows() - first));
            let share = bytes.saturating_mul(part.num_rows()) / rows.num_rows();
            self.wait(&key, part, share, pieces)?;
        }
        Ok(())
    }

    /// Puts rows behind those that wait in an open file, where it is still open.
    fn wait(&mut self, key: &Key, rows: RecordBatch, bytes: usize, pieces: &mut Vec<Piece>) -> Result<(), SinkError> {
        if !self.open.contains_key(key) {
            let file = self.open_file(key, &rows)?;
            self.open.insert(key.clone(), file);
        }
        let file = self.open.get_mut(key).ok_or_else(|| SinkError::bug("an open file is lost"))?;
        file.last_turn = self.turn;
        file.rows += rows.num_rows() as u64;
        file.note_ranges(&rows);
        file.parquet.push(rows, bytes);
        self.waiting += bytes.max(1);
        let fills = file.bytes + (file.parquet.row_group_bytes() + file.parquet.waiting_bytes()) as u64;
        if self.waiting >= WAITING_MAX || fills >= self.settings.parquet.file_size {
            pieces.extend(self.encode_waiting()?);
        }
        Ok(())
    }

    /// What waits to be encoded, bytes: about.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Encodes what waits.
    pub fn encode_waiting(&mut self) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        if std::mem::take(&mut self.waiting) == 0 {
            return Ok(pieces);
        }
        parquet_file::encode(self.open.values_mut().map(|file| &mut file.parquet)).map_err(encode_error)?;
        let row_group = usize::try_from(self.settings.parquet.row_group_size).unwrap_or(usize::MAX);
        for key in self.in_order() {
            let Some(file) = self.open.get_mut(&key) else { continue };
            // There may be millions of parents, all at once: they must not wait for a row group of the size that is good for readers.
            let has_enough = key == Key::Parents && file.parquet.rows() >= PARENTS_ROWS;
            if has_enough || file.parquet.rows() >= ROW_GROUP_ROWS || file.parquet.row_group_bytes() >= row_group {
                file.parquet.end_row_group().map_err(encode_error)?;
            }
            pieces.extend(file.take_pieces(if has_enough { 1 } else { PIECE_MIN }));
            if file.bytes + (file.parquet.row_group_bytes() + file.parquet.ready()) as u64 >= self.settings.parquet.file_size
                && let Some(file) = self.open.remove(&key)
            {
                pieces.extend(file.close()?);
            }
        }
        pieces.extend(self.keep_within_memory()?);
        Ok(pieces)
    }

    /// The open files, as they were opened.
    fn in_order(&self) -> Vec<Key> {
        let mut keys: Vec<(usize, &Key)> = self.open.iter().map(|(key, file)| (file.file, key)).collect();
        keys.sort_by_key(|(file, _)| *file);
        keys.into_iter().map(|(_, key)| key.clone()).collect()
    }

    fn open_file(&mut self, key: &Key, first: &RecordBatch) -> Result<OpenFile, SinkError> {
        let (role, folder, partition) = match key {
            Key::DeadLetters => (FileRole::DeadLetters, String::new(), Vec::new()),
            Key::Tombstones => (FileRole::Tombstones, String::new(), Vec::new()),
            Key::Parents => (FileRole::Parents, String::new(), Vec::new()),
            Key::Data(values) => {
                self.data = true;
                let keys = self.settings.partition_by.iter().map(PartitionColumn::key);
                (FileRole::Data, directory(&self.settings.partition_by, values)?, keys.zip(values.iter().cloned()).collect())
            }
        };
        let (properties, compression) = (properties(&self.settings, first), compression(&self.settings));
        let parquet = ParquetFile::new(first.schema(), properties, compression, self.packer.clone()).map_err(encode_error)?;
        let file = self.opened;
        self.opened += 1;
        Ok(OpenFile {
            file,
            parquet,
            role,
            directory: folder,
            partition,
            rows: 0,
            bytes: 0,
            hash: Sha256::new(),
            ranges: Ranges::default(),
            last_turn: self.turn,
        })
    }

    /// Ends all files.
    pub fn finish(&mut self) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = self.encode_waiting()?;
        let mut files: Vec<OpenFile> = self.open.drain().map(|(_, file)| file).collect();
        files.sort_by_key(|file| file.file);
        for file in files {
            pieces.extend(file.close()?);
        }
        Ok(pieces)
    }
}

/// One text in every row, held once.
fn repeated(text: &str, count: usize) -> Result<ArrayRef, SinkError> {
    let mut rows = StringViewBuilder::with_capacity(count);
    let block = rows.append_block(Buffer::from(text.as_bytes()));
    let length = u32::try_from(text.len()).map_err(|_| SinkError::bug("a text of our own is too long"))?;
    for _ in 0..count {
        rows.try_append_view(block, 0, length).map_err(|error| SinkError::bug(error.to_string()))?;
    }
    Ok(Arc::new(rows.finish()))
}

/// What of the table's columns is written, and what of that stands in the files, with our own columns.
fn columns(settings: &EncodeSettings) -> (TableSchema, TableSchema) {
    let path_only = |name: &str| settings.partition_by.iter().any(|by| by.unit == PartitionUnit::Value && by.column == name);
    let written = table::written(&settings.schema);
    let mut fields: Vec<Field> = written.fields.iter().filter(|field| !path_only(&field.name)).cloned().collect();
    fields.extend(settings.own.fields());
    (written, TableSchema { fields })
}

impl OpenFile {
    fn note_ranges(&mut self, rows: &RecordBatch) {
        if let Some(keys) = rows.column_by_name(own::KEY).and_then(own::read_keys) {
            self.ranges.add_keys(keys.into_iter());
        }
        if let Some(cursors) = rows.column_by_name(own::CURSOR).and_then(own::read_cursors) {
            self.ranges.add_cursors(cursors.iter());
        }
    }

    fn take_pieces(&mut self, at_least: usize) -> Vec<Piece> {
        if self.parquet.ready() < at_least {
            return Vec::new();
        }
        let parts = self.parquet.take();
        self.pieces(parts)
    }

    fn pieces(&mut self, parts: Vec<Bytes>) -> Vec<Piece> {
        for bytes in &parts {
            self.hash.update(bytes);
            self.bytes += bytes.len() as u64;
        }
        parts.into_iter().map(|bytes| Piece { file: self.file, bytes, closed: None }).collect()
    }

    fn close(mut self) -> Result<Vec<Piece>, SinkError> {
        let parts = self.parquet.finish().map_err(encode_error)?;
        let mut pieces = self.pieces(parts);
        let OpenFile { file, role, directory, partition, rows, bytes, hash, ranges, .. } = self;
        let closed = Closed { role, directory, partition, rows, bytes, sha256: hex(&hash.finalize()), ranges };
        match pieces.last_mut() {
            Some(last) => last.closed = Some(closed),
            None => pieces.push(Piece { file, bytes: Bytes::new(), closed: Some(closed) }),
        }
        Ok(pieces)
    }
}

fn encode_error(error: parquet::errors::ParquetError) -> SinkError {
    SinkError::bug(format!("rows cannot be written as Parquet: {error}"))
}

/// `first` are the first rows of the file.
fn properties(settings: &EncodeSettings, first: &RecordBatch) -> WriterPropertiesBuilder {
    let mut properties = WriterProperties::builder();
    for column in without_dictionary(first) {
        properties = properties.set_column_dictionary_enabled(column, false);
    }
    if settings.own.keyed {
        let key = ColumnPath::from(own::KEY);
        properties = properties
            .set_column_bloom_filter_enabled(key.clone(), true)
            .set_column_bloom_filter_fpp(key.clone(), BLOOM_ERRORS)
            .set_column_bloom_filter_max_ndv(key, settings.keys_max.unwrap_or(BLOOM_KEYS_MAX).clamp(1, BLOOM_KEYS_MAX));
    }
    properties
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_size_limit(DATA_PAGE)
        .set_created_by(concat!("highwater ", env!("CARGO_PKG_VERSION")).to_owned())
}

fn compression(settings: &EncodeSettings) -> ParquetCompression {
    match settings.parquet.compression {
        Compression::None => ParquetCompression::UNCOMPRESSED,
        Compression::Snappy => ParquetCompression::SNAPPY,
        // `check` has seen to the level.
        Compression::Zstd(level) => ParquetCompression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default()),
    }
}

/// The columns of a dead letters' file.
fn dead_letter_rows(rejects: &[Reject], batch: BatchId) -> Result<RecordBatch, SinkError> {
    let text = |value: fn(&Reject) -> String| -> ArrayRef {
        Arc::new(rejects.iter().map(|reject| Some(value(reject))).collect::<StringArray>())
    };
    let number = |value: fn(&Reject) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(rejects.iter().map(value))) };
    let received = rejects.iter().map(|reject| reject.received_at.as_microsecond());
    let columns: Vec<(&str, ArrayRef)> = vec![
        (own::COMMIT, Arc::new(StringArray::from_iter_values(std::iter::repeat_n(batch.to_string(), rejects.len())))),
        ("rejected_at", text(|reject| reject.at.name().to_owned())),
        ("reason", text(|reject| reject.reason.clone())),
        ("field", text(|reject| reject.field.clone())),
        ("record", text(|reject| String::from_utf8_lossy(&reject.record).into_owned())),
        ("page", number(|reject| reject.page)),
        ("place", number(|reject| reject.place)),
        ("received_at", Arc::new(TimestampMicrosecondArray::from_iter_values(received).with_timezone("UTC"))),
    ];
    let fields: Vec<ArrowField> =
        columns.iter().map(|(name, array)| ArrowField::new(*name, array.data_type().clone(), false)).collect();
    debug_assert_eq!(fields[7].data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| SinkError::bug(error.to_string()))
}

#[cfg(test)]
mod tests;
