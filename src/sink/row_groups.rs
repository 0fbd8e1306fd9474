//! What a file's end will tell of its row groups, as bytes until then. The structures that `parquet` keeps of them take several times as
//! much, and with many partitions there are many small row groups, in files that stay open for long. The format:
//! <https://github.com/apache/parquet-format/blob/master/README.md> and its PageIndex.md.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::PageIndexProvider;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnChunkMetaDataBuilder, FileMetaData, FooterTail, ParquetMetaDataBuilder, ParquetMetaDataOptions,
    ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::SchemaDescPtr;

/// Of zstd.
const LEVEL: i32 = 1;

pub struct RowGroups {
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    packed: Vec<Packed>,
    /// Of all of them.
    bytes: usize,
}

/// The page indexes of one row group, and a footer that tells of it alone, with their places in these bytes; packed with zstd.
struct Packed {
    bytes: Box<[u8]>,
    unpacked: usize,
}

/// The same, to be read.
struct Unpacked(Vec<u8>);

/// The page indexes of one row group, where its columns have some.
#[derive(Debug)]
struct PageIndexes {
    columns: Vec<Option<ColumnIndexMetaData>>,
    offsets: Vec<Option<OffsetIndexMetaData>>,
}

impl RowGroups {
    pub fn new(schema: SchemaDescPtr, properties: WriterPropertiesPtr) -> Self {
        RowGroups { schema, properties, packed: Vec::new(), bytes: 0 }
    }

    pub fn count(&self) -> usize {
        self.packed.len()
    }

    /// What they take in memory, bytes.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// The next one, to be written into the file; it is kept once it is closed.
    pub fn next<'a, W: Write + Send>(
        &'a mut self,
        file: &'a mut TrackedWrite<W>,
    ) -> Result<SerializedRowGroupWriter<'a, W>, ParquetError> {
        let ordinal =
            i32::try_from(self.packed.len()).map_err(|_| ParquetError::General("a file has too many row groups".to_owned()))?;
        let (schema, properties) = (Arc::clone(&self.schema), Arc::clone(&self.properties));
        let on_close = move |file: &mut TrackedWrite<W>, mut row_group: RowGroupMetaData, filters: Vec<_>, columns, offsets| {
            for (column, filter) in row_group.columns_mut().iter_mut().zip(filters) {
                if let Some(filter) = filter {
                    *column = write_filter(file, &filter, column.clone())?;
                }
            }
            self.push(row_group, PageIndexes { columns, offsets })
        };
        Ok(SerializedRowGroupWriter::new(schema, properties, file, ordinal, Some(Box::new(on_close))))
    }

    fn push(&mut self, row_group: RowGroupMetaData, indexes: PageIndexes) -> Result<(), ParquetError> {
        let alone = ParquetMetaDataBuilder::new(self.about_file(row_group.num_rows()))
            .add_row_group(row_group)
            .set_page_index(Some(Arc::new(indexes)))
            .build();
        let mut whole = Vec::new();
        ParquetMetaDataWriter::new(&mut whole, &alone).finish()?;
        let packed = Packed { bytes: zstd::bulk::compress(&whole, LEVEL)?.into(), unpacked: whole.len() };
        self.bytes += packed.bytes.len();
        self.packed.push(packed);
        Ok(())
    }

    /// Writes a file's end: all column indexes, all offset indexes, the footer. Nothing is left to tell of.
    pub fn finish<W: Write>(&mut self, file: &mut TrackedWrite<W>) -> Result<(), ParquetError> {
        self.bytes = 0;
        let all = std::mem::take(&mut self.packed);
        let all = all.into_iter().map(Packed::unpack).collect::<Result<Vec<_>, _>>()?;
        let mut row_groups = all.iter().map(|packed| packed.row_group(&self.schema)).collect::<Result<Vec<_>, _>>()?;
        move_indexes(&mut row_groups, &all, file, ColumnChunkMetaData::column_index_range, |column, place| {
            column.set_column_index_offset(Some(place))
        })?;
        move_indexes(&mut row_groups, &all, file, ColumnChunkMetaData::offset_index_range, |column, place| {
            column.set_offset_index_offset(Some(place))
        })?;
        let rows = row_groups.iter().map(RowGroupMetaData::num_rows).sum();
        let about = ParquetMetaDataBuilder::new(self.about_file(rows)).set_row_groups(row_groups).build();
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &about)
            .with_write_path_in_schema(self.properties.write_path_in_schema())
            .finish()?;
        Ok(file.write_all(&footer)?)
    }

    fn about_file(&self, rows: i64) -> FileMetaData {
        let (version, created_by) = (self.properties.writer_version().as_num(), self.properties.created_by().to_owned());
        let key_values = self.properties.key_value_metadata().cloned();
        // The writer says itself how columns are ordered.
        FileMetaData::new(version, rows, Some(created_by), key_values, Arc::clone(&self.schema), None)
    }
}

/// Behind the row group that it is of.
fn write_filter<W: Write>(
    file: &mut TrackedWrite<W>,
    filter: &Sbbf,
    column: ColumnChunkMetaData,
) -> Result<ColumnChunkMetaData, ParquetError> {
    let begin = file.bytes_written();
    filter.write(&mut *file)?;
    let (place, length) = (i64::try_from(begin), i32::try_from(file.bytes_written() - begin));
    let (Ok(place), Ok(length)) = (place, length) else { return Err(lost()) };
    column.into_builder().set_bloom_filter_offset(Some(place)).set_bloom_filter_length(Some(length)).build()
}

/// Writes the indexes of one kind, which stand at `range` of what was packed, and tells their columns where in the file they are.
fn move_indexes<W: Write>(
    row_groups: &mut [RowGroupMetaData],
    all: &[Unpacked],
    file: &mut TrackedWrite<W>,
    range: fn(&ColumnChunkMetaData) -> Option<Range<u64>>,
    moved: fn(ColumnChunkMetaDataBuilder, i64) -> ColumnChunkMetaDataBuilder,
) -> Result<(), ParquetError> {
    for (row_group, packed) in row_groups.iter_mut().zip(all) {
        for column in row_group.columns_mut() {
            let Some(range) = range(column) else { continue };
            let place = i64::try_from(file.bytes_written()).map_err(|_| lost())?;
            file.write_all(packed.part(range)?)?;
            *column = moved(column.clone().into_builder(), place).build()?;
        }
    }
    Ok(())
}

fn lost() -> ParquetError {
    ParquetError::General("what was kept of a row group is not what was written of it".to_owned())
}

impl Packed {
    fn unpack(self) -> Result<Unpacked, ParquetError> {
        Ok(Unpacked(zstd::bulk::decompress(&self.bytes, self.unpacked)?))
    }
}

impl Unpacked {
    /// Page indexes have their places in these bytes.
    fn row_group(&self, schema: &SchemaDescPtr) -> Result<RowGroupMetaData, ParquetError> {
        let (before, tail) = self.0.split_last_chunk().ok_or_else(lost)?;
        let length = FooterTail::try_new(tail)?.metadata_length();
        let footer = before.len().checked_sub(length).and_then(|begin| before.get(begin..)).ok_or_else(lost)?;
        let exactly = ParquetMetaDataOptions::new().with_schema(Arc::clone(schema)).with_encoding_stats_as_mask(false);
        let alone = ParquetMetaDataReader::decode_metadata_with_options(footer, Some(&exactly))?;
        let mut row_group = alone.into_builder().take_row_groups().pop().ok_or_else(lost)?;
        for column in row_group.columns_mut() {
            let is_signed = column.column_descr().sort_order().is_signed();
            if let Some(statistics) = column.statistics().filter(|_| is_signed) {
                let statistics = for_old_readers(statistics.clone());
                *column = column.clone().into_builder().set_statistics(statistics).build()?;
            }
        }
        Ok(row_group)
    }

    fn part(&self, range: Range<u64>) -> Result<&[u8], ParquetError> {
        let [begin, end] = [range.start, range.end].map(usize::try_from);
        let (begin, end) = (begin.map_err(|_| lost())?, end.map_err(|_| lost())?);
        self.0.get(begin..end).ok_or_else(lost)
    }
}

/// Smallest and greatest values of a signed order are written twice, the second time as readers before Parquet 2.4 look for them. It is
/// all that a footer that was read does not tell of how it was written.
fn for_old_readers(statistics: Statistics) -> Statistics {
    match statistics {
        Statistics::Boolean(values) => Statistics::Boolean(values.with_backwards_compatible_min_max(true)),
        Statistics::Int32(values) => Statistics::Int32(values.with_backwards_compatible_min_max(true)),
        Statistics::Int64(values) => Statistics::Int64(values.with_backwards_compatible_min_max(true)),
        Statistics::Int96(values) => Statistics::Int96(values.with_backwards_compatible_min_max(true)),
        Statistics::Float(values) => Statistics::Float(values.with_backwards_compatible_min_max(true)),
        Statistics::Double(values) => Statistics::Double(values.with_backwards_compatible_min_max(true)),
        Statistics::ByteArray(values) => Statistics::ByteArray(values.with_backwards_compatible_min_max(true)),
        Statistics::FixedLenByteArray(values) => Statistics::FixedLenByteArray(values.with_backwards_compatible_min_max(true)),
    }
}

/// Of the one row group that there is.
impl PageIndexProvider for PageIndexes {
    fn has_offset_indexes(&self) -> bool {
        self.offsets.iter().any(Option::is_some)
    }

    fn has_column_indexes(&self) -> bool {
        self.columns.iter().any(Option::is_some)
    }

    fn column_index(&self, _: usize, column: usize) -> Option<&ColumnIndexMetaData> {
        self.columns.get(column)?.as_ref()
    }

    fn offset_index(&self, _: usize, column: usize) -> Option<&OffsetIndexMetaData> {
        self.offsets.get(column)?.as_ref()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
