//! A Parquet file while it is written: row group after row group, the columns of each side by side on what cores there are.

use std::io::{Write, sink};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves};
use parquet::basic::Compression;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterPropertiesBuilder, WriterPropertiesPtr};
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::SchemaDescPtr;

use super::pages::{Chunk, Chunks, Packer};
use super::parts::Parts;
use super::row_groups::RowGroups;
use super::side_by_side::side_by_side;

/// What a Parquet file begins with.
const MAGIC: &[u8] = b"PAR1";

/// How row groups are written. Files share it: it takes several times what a file takes between two row groups.
pub struct Format {
    schema: SchemaRef,
    columns: ArrowRowGroupWriterFactory,
    file_schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    /// What pages are packed with, and where they wait.
    compression: Compression,
    chunks: Arc<Chunks>,
    /// Held while a row group is begun, so that its chunks are its own.
    beginning: Mutex<()>,
}

pub struct ParquetFile {
    file: TrackedWrite<Parts>,
    format: Arc<Format>,
    open: Option<RowGroup>,
    ended: RowGroups,
    /// Rows that wait to be encoded, and the bytes that they take.
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
}

struct RowGroup {
    /// One for each leaf, in the schema's order.
    leaves: Vec<ArrowColumnWriter>,
    /// Their pages.
    chunks: Vec<Chunk>,
    rows: usize,
}

/// The rows of one field that are to be encoded, with those who write its leaves.
struct Column<'a> {
    field: &'a FieldRef,
    rows: Vec<ArrayRef>,
    leaves: &'a mut [ArrowColumnWriter],
    /// What came before is the best guess at how much work it is.
    weight: usize,
}

impl Format {
    /// `properties` are those of a file that is not compressed; pages are packed as `compression` says, by `packer` if that
    /// [is its work](Packer::of).
    pub fn new(
        schema: SchemaRef,
        properties: WriterPropertiesBuilder,
        compression: Compression,
        packer: Option<Arc<Packer>>,
    ) -> Result<Arc<Self>, ParquetError> {
        let by_writer = if packer.is_some() { Compression::UNCOMPRESSED } else { compression };
        let chunks = Chunks::new(packer);
        let options = ArrowWriterOptions::new()
            .with_properties(properties.set_compression(by_writer).build())
            .with_page_store_factory(chunks.clone())
            .with_skip_arrow_metadata(true);
        let (about, columns) = ArrowWriter::try_new_with_options(sink(), schema.clone(), options)?.into_serialized_writer()?;
        let (file_schema, properties) = (Arc::new(about.schema_descr().clone()), Arc::clone(about.properties()));
        Ok(Arc::new(Format { schema, columns, file_schema, properties, compression, chunks, beginning: Mutex::default() }))
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn begin(&self, ordinal: usize) -> Result<RowGroup, ParquetError> {
        let _alone = self.beginning.lock().unwrap_or_else(PoisonError::into_inner);
        let leaves = self.columns.create_column_writers(ordinal)?;
        Ok(RowGroup { leaves, chunks: self.chunks.take(), rows: 0 })
    }
}

impl ParquetFile {
    pub fn new(format: Arc<Format>) -> Result<Self, ParquetError> {
        let ended = RowGroups::new(Arc::clone(&format.file_schema), Arc::clone(&format.properties));
        let mut file = TrackedWrite::new(Parts::default());
        file.write_all(MAGIC)?;
        Ok(ParquetFile { file, format, open: None, ended, waiting: Vec::new(), waiting_bytes: 0 })
    }

    /// How the row groups to come are written: another format of the same columns. Nothing may be open or wait.
    pub fn set_format(&mut self, format: Arc<Format>) {
        debug_assert!(self.open.is_none() && self.waiting.is_empty() && self.format.schema == format.schema);
        self.format = format;
    }

    /// Puts rows behind those that wait; `bytes` is about what they take.
    pub fn push(&mut self, rows: RecordBatch, bytes: usize) {
        self.waiting.push(rows);
        self.waiting_bytes += bytes;
    }

    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Row groups that were ended.
    pub fn row_groups(&self) -> usize {
        self.ended.count()
    }

    /// Rows of the row group that is open, without those that wait.
    pub fn rows(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.rows)
    }

    /// What the open row group will come to in the file, bytes.
    pub fn row_group_bytes(&self) -> usize {
        let Some(open) = &self.open else { return 0 };
        let written: usize = open.leaves.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        written.saturating_sub(open.chunks.iter().map(Chunk::saved).sum())
    }

    /// What the open row group takes in memory, bytes: about, and no less than its columns say.
    pub fn memory(&self) -> usize {
        self.open.iter().flat_map(|open| &open.leaves).map(ArrowColumnWriter::memory_size).sum()
    }

    /// What is kept of row groups that were ended, bytes of memory.
    pub fn ended_memory(&self) -> usize {
        self.ended.memory()
    }

    /// Bytes of the file that are whole and were not taken yet.
    pub fn ready(&self) -> usize {
        self.file.inner().ready()
    }

    /// These bytes, in order.
    pub fn take(&mut self) -> Vec<Bytes> {
        self.file.inner_mut().take()
    }

    /// Ends the open row group. An error if rows wait: they would be lost.
    pub fn end_row_group(&mut self) -> Result<(), ParquetError> {
        if !self.waiting.is_empty() {
            return Err(ParquetError::General("a row group was to be ended before its rows".to_owned()));
        }
        let Some(RowGroup { leaves, chunks, .. }) = self.open.take() else { return Ok(()) };
        let bytes = leaves.iter().map(ArrowColumnWriter::memory_size).sum();
        let leaves = leaves.into_iter().map(|leaf| (leaf.memory_size(), leaf)).collect();
        let closed = side_by_side(leaves, bytes, |leaf: ArrowColumnWriter| {
            let mut closed = leaf.close()?;
            let bloom_filter = closed.close_mut().bloom_filter.take();
            Ok(ColumnCloseResult { bloom_filter, ..closed.close().clone() })
        })?;
        let (mut place, by_hand) = (self.file.bytes_written(), self.file.inner().by_hand());
        let mut row_group = self.ended.next(&mut self.file)?;
        for (chunk, closed) in chunks.iter().zip(closed) {
            let closed = chunk.describe(closed, self.format.compression)?;
            let size = chunk.size();
            row_group.append_column(&chunk.on_its_way(place, &by_hand), closed)?;
            place += size;
        }
        row_group.close()?;
        Ok(())
    }

    /// The bytes that were not taken yet, to the file's end. An error if rows wait.
    pub fn finish(&mut self) -> Result<Vec<Bytes>, ParquetError> {
        self.end_row_group()?;
        self.ended.finish(&mut self.file)?;
        self.file.flush()?;
        Ok(self.take())
    }

    fn columns(&mut self) -> Result<Vec<Column<'_>>, ParquetError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(self.format.begin(self.ended.count())?),
        };
        open.rows += waiting.iter().map(RecordBatch::num_rows).sum::<usize>();
        let mut leaves = open.leaves.as_mut_slice();
        let mut columns = Vec::with_capacity(self.format.schema.fields().len());
        for (place, field) in self.format.schema.fields().iter().enumerate() {
            let (own, others) = leaves
                .split_at_mut_checked(leaf_count(field.data_type()))
                .ok_or_else(|| ParquetError::General(format!("the column `{}` has fewer leaves than its type", field.name())))?;
            leaves = others;
            let rows: Vec<ArrayRef> = waiting.iter().map(|rows| rows.column(place).clone()).collect();
            let weight = own.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
            columns.push(Column { field, rows, leaves: own, weight });
        }
        Ok(columns)
    }
}

/// Encodes all that waits in these files. How much work that is hangs on the pages that it fills: at worst, on all that is open.
pub fn encode<'a>(files: impl Iterator<Item = &'a mut ParquetFile>) -> Result<(), ParquetError> {
    let (mut work, mut bytes) = (Vec::new(), 0);
    for file in files.filter(|file| !file.waiting.is_empty()) {
        bytes += file.waiting_bytes + file.memory();
        work.extend(file.columns()?.into_iter().map(|column| (column.weight, column)));
    }
    side_by_side(work, bytes, |column: Column<'_>| {
        for rows in &column.rows {
            for (leaf, writer) in compute_leaves(column.field, rows)?.iter().zip(column.leaves.iter_mut()) {
                writer.write(leaf)?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Encodes all that waits in these files, and makes it a row group in each.
pub fn encode_whole<'a>(files: impl Iterator<Item = &'a mut ParquetFile>) -> Result<(), ParquetError> {
    let work: Vec<_> = files.map(|file| (file.waiting_bytes, file)).collect();
    let bytes = work.iter().map(|(bytes, _)| bytes).sum();
    side_by_side(work, bytes, |file: &mut ParquetFile| {
        encode(std::iter::once(&mut *file))?;
        file.end_row_group()
    })?;
    Ok(())
}

/// How many columns of a file a column is.
fn leaf_count(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaf_count(field.data_type())).sum(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => leaf_count(item.data_type()),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, BooleanArray, Float64Array, Int64Array, LargeListArray, StringViewArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::compute::{cast, concat_batches};
    use arrow::datatypes::{Field, TimeUnit};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::ZstdLevel;
    use parquet::file::properties::{EnabledStatistics, WriterProperties};
    use parquet::schema::types::ColumnPath;

    use super::super::side_by_side::SIDE_BY_SIDE_MIN;
    use super::*;

    /// A number, a text, a struct of both, a list of structs, and numbers of other kinds.
    fn rows(first: i64, count: usize) -> RecordBatch {
        let numbers: ArrayRef = Arc::new((first..).take(count).map(|n| (n % 7 != 0).then_some(n)).collect::<Int64Array>());
        let texts: ArrayRef = Arc::new((first..).take(count).map(|n| Some(format!("text {n}"))).collect::<StringViewArray>());
        let fields = |names: [&str; 2]| {
            let types = [DataType::Int64, DataType::Utf8View];
            let fields = names.iter().zip(types).map(|(name, data_type)| Field::new(*name, data_type, true));
            fields.collect::<arrow::datatypes::Fields>()
        };
        let both: ArrayRef =
            Arc::new(StructArray::new(fields(["n", "t"]), vec![numbers.clone(), texts.clone()], numbers.nulls().cloned()));
        let item = Arc::new(Field::new("item", both.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths((0..count).map(|row| usize::from(row + 1 == count) * count));
        let lists: ArrayRef = Arc::new(LargeListArray::new(item, offsets, both.clone(), None));
        let floats: ArrayRef =
            Arc::new((first..).take(count).map(|n| (n % 5 != 0).then_some(n as f64 / 3.0)).collect::<Float64Array>());
        let [days, instants, decimals] =
            [DataType::Date32, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), DataType::Decimal128(30, 4)]
                .map(|data_type| cast(&numbers, &data_type).unwrap());
        let flags: ArrayRef = Arc::new((first..).take(count).map(|n| Some(n % 3 == 0)).collect::<BooleanArray>());
        let nothing: ArrayRef = Arc::new(Int64Array::new_null(count));
        let columns = [("n", numbers), ("both", both), ("list", lists), ("t", texts), ("float", floats), ("day", days)];
        let more = [("at", instants), ("decimal", decimals), ("flag", flags), ("nothing", nothing)];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().chain(more).map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    fn format(schema: SchemaRef, properties: WriterPropertiesBuilder, compression: Compression) -> Arc<Format> {
        Format::new(schema, properties, compression, Packer::of(compression)).unwrap()
    }

    fn new(schema: SchemaRef, compression: Compression) -> ParquetFile {
        ParquetFile::new(format(schema, WriterProperties::builder(), compression)).unwrap()
    }

    fn read(bytes: Vec<Bytes>) -> (RecordBatch, usize) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes.concat())).unwrap();
        let (groups, schema) = (reader.metadata().num_row_groups(), reader.schema().clone());
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        (concat_batches(&schema, &batches).unwrap(), groups)
    }

    #[test]
    fn rows_come_back_in_order_whoever_encoded_them() {
        for bytes in [0, SIDE_BY_SIDE_MIN] {
            let batches: Vec<RecordBatch> = (0..6).map(|batch| rows(batch * 100, 100)).collect();
            let mut two = [0, 1].map(|_| new(batches[0].schema(), Compression::UNCOMPRESSED));
            for (place, batch) in batches.iter().enumerate() {
                two[place % 2].push(batch.clone(), bytes);
                if place == 3 {
                    encode(two.iter_mut()).unwrap();
                    assert_eq!(two.each_ref().map(|file| (file.rows(), file.waiting_bytes())), [(200, 0), (200, 0)]);
                    two[1].end_row_group().unwrap();
                    assert_eq!(two[1].rows(), 0);
                }
            }
            encode(two.iter_mut()).unwrap();
            for (first, (mut file, expected_groups)) in two.into_iter().zip([1, 2]).enumerate() {
                let (found, groups) = read(file.finish().unwrap());
                let written: Vec<RecordBatch> = batches.iter().skip(first).step_by(2).cloned().collect();
                let expected = concat_batches(&batches[0].schema(), &written).unwrap();
                assert_eq!(format!("{:?}", found.columns()), format!("{:?}", expected_as_read(&expected).columns()));
                assert_eq!(groups, expected_groups);
            }
        }
    }

    /// Whoever packs the pages, the file is the one that `parquet` makes by itself, to the last byte.
    #[test]
    fn a_file_is_what_parquet_itself_makes_of_it() {
        let levels = [1, 3, 9].map(|level| Compression::ZSTD(ZstdLevel::try_new(level).unwrap()));
        let batches: Vec<RecordBatch> = (0..30).map(|batch| rows(batch * 1000 / 7, 1000)).collect();
        let schema = batches[0].schema();
        for compression in levels.into_iter().chain([Compression::SNAPPY, Compression::UNCOMPRESSED]) {
            let properties = || {
                let properties = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::Page);
                let bloomed = properties.set_column_bloom_filter_enabled(ColumnPath::from("t"), true);
                bloomed.set_column_dictionary_enabled(ColumnPath::from("n"), false).set_data_page_row_count_limit(3000)
            };
            let options = ArrowWriterOptions::new()
                .with_properties(properties().set_compression(compression).build())
                .with_skip_arrow_metadata(true);
            let mut expected = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options).unwrap();
            let mut file = ParquetFile::new(format(schema.clone(), properties(), compression)).unwrap();
            for (place, batch) in batches.iter().enumerate() {
                expected.write(batch).unwrap();
                file.push(batch.clone(), SIDE_BY_SIDE_MIN);
                encode(std::iter::once(&mut file)).unwrap();
                if place % 8 == 1 {
                    let (found, own) = (file.row_group_bytes(), expected.in_progress_size());
                    assert!(found.abs_diff(own) <= own / 100, "{compression:?}: {found} bytes, by itself {own}");
                    expected.flush().unwrap();
                    file.end_row_group().unwrap();
                }
            }
            let (found, expected) = (file.finish().unwrap().concat(), expected.into_inner().unwrap());
            assert!(found == expected, "{compression:?}: {} bytes, by itself {}", found.len(), expected.len());
        }
    }

    #[test]
    fn files_of_one_format_are_written_side_by_side() {
        let shared = format(rows(0, 1).schema(), WriterProperties::builder(), Compression::ZSTD(ZstdLevel::default()));
        let other = WriterProperties::builder().set_dictionary_enabled(false);
        let other = format(rows(0, 1).schema(), other, Compression::ZSTD(ZstdLevel::default()));
        let mut files: Vec<ParquetFile> = (0..32).map(|_| ParquetFile::new(Arc::clone(&shared)).unwrap()).collect();
        for turn in 0..3 {
            for (file, place) in files.iter_mut().zip(0..) {
                if turn == 1 {
                    file.set_format(Arc::clone(&other));
                }
                file.push(rows(place * 1000 + turn * 100, 100), SIDE_BY_SIDE_MIN);
            }
            encode_whole(files.iter_mut()).unwrap();
        }
        for (file, place) in files.iter_mut().zip(0..) {
            let (found, groups) = read(file.finish().unwrap());
            let written = [0, 1, 2].map(|turn| rows(place * 1000 + turn * 100, 100));
            let expected = expected_as_read(&concat_batches(&written[0].schema(), &written).unwrap());
            assert_eq!((format!("{:?}", found.columns()), groups), (format!("{:?}", expected.columns()), 3));
        }
    }

    /// As `parquet` keeps it, it would be some 8 KB a row group.
    #[test]
    fn little_is_kept_of_row_groups_that_were_ended() {
        let mut file = new(rows(0, 1).schema(), Compression::UNCOMPRESSED);
        for group in 1..=100 {
            file.push(rows(group * 100, 100), 0);
            encode(std::iter::once(&mut file)).unwrap();
            file.end_row_group().unwrap();
            let kept = file.ended_memory();
            assert!((1..3000).contains(&(kept / group as usize)), "{kept} bytes of {group} row groups");
        }
        let (found, groups) = read(file.finish().unwrap());
        assert_eq!((found.num_rows(), groups, file.ended_memory()), (10_000, 100, 0));
    }

    /// As a reader without the Arrow schema sees it.
    fn expected_as_read(rows: &RecordBatch) -> RecordBatch {
        let mut file = new(rows.schema(), Compression::UNCOMPRESSED);
        file.push(rows.clone(), 0);
        encode(std::iter::once(&mut file)).unwrap();
        read(file.finish().unwrap()).0
    }
}
