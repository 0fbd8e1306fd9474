//! Rows of partitions that have no row group open, while there may be no more of these. They wait for others of their partition, and
//! become a row group with them: were one opened for each, rows that come in any order would soon have a file each. Where partitions are
//! many, none has a row group open, and all rows wait: what open ones take is better used for rows
//! ([ADR 46](../../../docs/adr/0046-rows-are-parked.md)). Where they are more than what is parked makes good row groups of, it is
//! [spilled](super::spilled).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, RecordBatch, StructArray, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::DataType;
use parquet::schema::types::ColumnPath;

use super::spilled::{self, SEGMENT_MAX, Spilled};
use super::{Key, SinkError};

/// Partitions, and rows, that are written at once: the more, the better they share out.
const PARTITIONS_MAX: usize = 256;
const ROWS_MAX: usize = 8 * 1024;
/// What is kept of a partition besides its rows, and of those that came to it together, bytes.
const PARTITION: usize = 512;
const STRETCH: usize = size_of::<Stretch>();
/// What a column takes besides its values, bytes.
const COLUMN: usize = 256;

#[derive(Default)]
pub(super) struct Parked {
    batches: Vec<RecordBatch>,
    partitions: HashMap<Key, Vec<Stretch>>,
    /// Partitions in the order in which they came.
    order: VecDeque<Key>,
    bytes: usize,
    /// They are being written until none is left.
    is_leaving: bool,
    pub last: Last,
}

/// What was learned of rows when they were written last.
#[derive(Default)]
pub(super) struct Last {
    /// They were of more partitions than have row groups open.
    pub are_many: bool,
    /// At which rows that was, and the time before, as the encoder counts rows.
    at: u64,
    before: u64,
    /// Columns that had next to no value twice.
    pub without_dictionary: Vec<ColumnPath>,
}

/// The rows of some partitions, those of one behind those of another, and which are whose. Each has all of its rows.
pub(super) struct Leaving {
    pub rows: RecordBatch,
    pub partitions: Vec<(Key, Range<usize>)>,
    /// They are the first ones to leave.
    pub are_first: bool,
}

/// Rows of one of the batches.
struct Stretch {
    batch: u32,
    first: u32,
    count: u32,
}

impl Parked {
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Partitions.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn has(&self, key: &Key) -> bool {
        self.partitions.contains_key(key)
    }

    /// Bytes.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// Whether they are being written: all of them go before others come.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Takes copies: the memory that the rows lie in is that of a page, with all of its rows.
    pub fn put(&mut self, rows: &RecordBatch, partitions: Vec<(Key, Vec<u32>)>) -> Result<(), SinkError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let too_many = |_| SinkError::bug("too many rows are parked");
        let batch = u32::try_from(self.batches.len()).map_err(too_many)?;
        let mut numbers = Vec::new();
        for (key, rows) in partitions {
            let stretch = Stretch {
                batch,
                first: u32::try_from(numbers.len()).map_err(too_many)?,
                count: u32::try_from(rows.len()).map_err(too_many)?,
            };
            numbers.extend(rows);
            self.put_stretch(key, stretch);
        }
        let taken = take_record_batch(rows, &UInt32Array::from(numbers)).map_err(|error| SinkError::bug(error.to_string()))?;
        let rows = compact(&taken)?;
        let bytes = rows.get_array_memory_size();
        self.put_batch(rows, bytes);
        Ok(())
    }

    /// Rows that lie in memory of their own, those of one partition behind those of another.
    pub fn put_sorted(&mut self, spilled::Rows { rows, bytes, partitions }: spilled::Rows) -> Result<(), SinkError> {
        let too_many = |_| SinkError::bug("too many rows are parked");
        let batch = u32::try_from(self.batches.len()).map_err(too_many)?;
        let mut first = 0;
        for (key, count) in partitions {
            let count = u32::try_from(count).map_err(too_many)?;
            self.put_stretch(key, Stretch { batch, first, count });
            first += count;
        }
        self.put_batch(rows, bytes);
        Ok(())
    }

    fn put_stretch(&mut self, key: Key, stretch: Stretch) {
        self.bytes += STRETCH;
        let stretches = self.partitions.entry(key).or_insert_with_key(|key| {
            self.order.push_back(key.clone());
            self.bytes += PARTITION;
            Vec::new()
        });
        stretches.push(stretch);
    }

    /// `bytes` is what the values take.
    fn put_batch(&mut self, rows: RecordBatch, bytes: usize) {
        self.bytes += bytes + rows.num_columns() * COLUMN;
        self.batches.push(rows);
    }

    /// Writes all of it to the disk.
    pub fn spill(&mut self, into: &mut Spilled) -> Result<(), SinkError> {
        let rows: usize = self.batches.iter().map(RecordBatch::num_rows).sum();
        let at_once = (rows.saturating_mul(SEGMENT_MAX) / self.bytes.max(1)).max(1);
        let mut buckets: BTreeMap<usize, Vec<Key>> = BTreeMap::new();
        for key in self.order.drain(..) {
            buckets.entry(into.bucket(&key)).or_default().push(key);
        }
        for (bucket, keys) in buckets {
            let (mut places, mut partitions) = (Vec::new(), Vec::with_capacity(keys.len()));
            for key in &keys {
                let Key::Data(values) = key else { return Err(SinkError::bug("rows of no table are parked")) };
                let mut of_key = Vec::new();
                self.take_places(key, &mut of_key);
                for some in of_key.chunks(at_once) {
                    places.extend_from_slice(some);
                    partitions.push((values, some.len()));
                    if places.len() >= at_once {
                        into.put(bucket, &compact(&self.rows(&places)?)?, &partitions)?;
                        places.clear();
                        partitions.clear();
                    }
                }
            }
            if !places.is_empty() {
                into.put(bucket, &compact(&self.rows(&places)?)?, &partitions)?;
            }
        }
        self.forget();
        Ok(())
    }

    /// The rows of a partition, as batches and rows in them.
    fn take_places(&mut self, key: &Key, places: &mut Vec<(usize, usize)>) {
        for Stretch { batch, first, count } in self.partitions.remove(key).unwrap_or_default() {
            places.extend((first..first + count).map(|row| (batch as usize, row as usize)));
        }
    }

    fn rows(&self, places: &[(usize, usize)]) -> Result<RecordBatch, SinkError> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        interleave_record_batch(&batches, places).map_err(|error| SinkError::bug(error.to_string()))
    }

    /// Nothing is parked any more.
    fn forget(&mut self) {
        (self.batches, self.bytes, self.is_leaving) = (Vec::new(), 0, false);
    }

    /// Some of the rows, to be written; `row` is how many came in all.
    pub fn take_some(&mut self, row: u64) -> Result<Leaving, SinkError> {
        let are_first = !std::mem::replace(&mut self.is_leaving, true);
        if are_first {
            (self.last.before, self.last.at) = (self.last.at, row);
        }
        let (mut partitions, mut places) = (Vec::new(), Vec::new());
        while partitions.len() < PARTITIONS_MAX
            && places.len() < ROWS_MAX
            && let Some(key) = self.order.pop_front()
        {
            let begin = places.len();
            self.take_places(&key, &mut places);
            partitions.push((key, begin..places.len()));
        }
        let rows = self.rows(&places)?;
        if self.order.is_empty() {
            self.forget();
        }
        Ok(Leaving { rows, partitions, are_first })
    }
}

impl Last {
    /// Whether a partition that got its last rows then got none of the last two times: where rows of many come in any order, each gets
    /// some each time, and those that wait longest are those whose turn is next.
    pub fn is_over(&self, last_row: u64) -> bool {
        last_row < self.before
    }
}

/// The same rows in memory of their own.
fn compact(rows: &RecordBatch) -> Result<RecordBatch, SinkError> {
    let columns = rows.columns().iter().map(compact_column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(rows.schema(), columns).map_err(|error| SinkError::bug(error.to_string()))
}

/// Texts lie in the memory of a page; all else was copied as it was picked.
fn compact_column(column: &ArrayRef) -> Result<ArrayRef, SinkError> {
    Ok(match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::Struct(fields) => {
            let parts = column.as_struct();
            let columns = parts.columns().iter().map(compact_column).collect::<Result<Vec<_>, _>>()?;
            let compact = StructArray::try_new_with_length(fields.clone(), columns, parts.nulls().cloned(), parts.len());
            Arc::new(compact.map_err(|error| SinkError::bug(error.to_string()))?)
        }
        DataType::List(_) => compact_list(column.as_list::<i32>())?,
        DataType::LargeList(_) => compact_list(column.as_list::<i64>())?,
        _ => Arc::clone(column),
    })
}

fn compact_list<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Result<ArrayRef, SinkError> {
    let (field, offsets, values, nulls) = list.clone().into_parts();
    let values = compact_column(&values)?;
    let compact = GenericListArray::try_new(field, offsets, values, nulls);
    Ok(Arc::new(compact.map_err(|error| SinkError::bug(error.to_string()))?))
}
