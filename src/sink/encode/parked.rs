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

use super::super::distinct::without_dictionary;
use super::formats::RowGroupIs;
use super::open_file::{OpenFile, encode_error};
use super::spilled::{self, Spilled};
use super::{Encoder, Key, OPEN_MAX, Piece, SinkError, parquet_file};

/// Partitions, and rows, that are written at once: the more, the better they share out.
const PARTITIONS_MAX: usize = 256;
const ROWS_MAX: usize = 8 * 1024;
/// Of more partitions than these rows are spilled.
const UNSORTED_MAX: usize = 128;
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
    /// When they were written last, they were of more partitions than have row groups open.
    are_many: bool,
    /// At which rows they were written last, and the time before, as the encoder counts rows.
    written: u64,
    before: u64,
    /// Columns that have next to no value twice, judged when they were written last.
    without_dictionary: Vec<ColumnPath>,
}

/// The rows of some partitions, those of one behind those of another, and which are whose. Each has all of its rows.
struct Leaving {
    rows: RecordBatch,
    partitions: Vec<(Key, Range<usize>)>,
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
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn has(&self, key: &Key) -> bool {
        self.partitions.contains_key(key)
    }

    pub fn are_many(&self) -> bool {
        self.are_many
    }

    /// Whether a partition that got its last rows then got none of the last two times: where rows of many come in any order, each gets
    /// some each time, and those that wait longest are those whose turn is next.
    pub fn are_over(&self, last_row: u64) -> bool {
        last_row < self.before
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
        self.put_batch(compact(&taken)?);
        Ok(())
    }

    /// Rows that lie in memory of their own, those of one partition behind those of another.
    fn put_sorted(&mut self, spilled::Rows { rows, partitions }: spilled::Rows) -> Result<(), SinkError> {
        let too_many = |_| SinkError::bug("too many rows are parked");
        let batch = u32::try_from(self.batches.len()).map_err(too_many)?;
        let mut first = 0;
        for (key, count) in partitions {
            let count = u32::try_from(count).map_err(too_many)?;
            self.put_stretch(key, Stretch { batch, first, count });
            first += count;
        }
        self.put_batch(rows);
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

    fn put_batch(&mut self, rows: RecordBatch) {
        self.bytes += rows.get_array_memory_size() + rows.num_columns() * COLUMN;
        self.batches.push(rows);
    }

    /// Writes all of it to the disk.
    fn spill(&mut self, into: &mut Spilled) -> Result<(), SinkError> {
        let mut buckets: BTreeMap<usize, Vec<Key>> = BTreeMap::new();
        for key in self.order.drain(..) {
            buckets.entry(into.bucket(&key)).or_default().push(key);
        }
        for (bucket, keys) in buckets {
            let (mut places, mut partitions) = (Vec::new(), Vec::with_capacity(keys.len()));
            for key in &keys {
                let Key::Data(values) = key else { return Err(SinkError::bug("rows of no table are parked")) };
                let before = places.len();
                self.take_places(key, &mut places);
                partitions.push((values, places.len() - before));
            }
            into.put(bucket, &compact(&self.rows(&places)?)?, &partitions)?;
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

    fn take_some(&mut self) -> Result<Leaving, SinkError> {
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
        Ok(Leaving { rows, partitions })
    }
}

impl Encoder {
    /// Whether rows that are parked are too many: they are to be [written](Self::unpark) before more come.
    pub fn is_full(&self) -> bool {
        // Row groups that are open take the rest, or what is written to the disk.
        let all = self.parked.are_many && self.spilled.is_none();
        let most = if all { self.settings.parked } else { self.settings.parked / 2 };
        !self.parked.is_empty() && (self.parked.is_leaving || self.parked.bytes >= most)
    }

    /// Makes room for more rows: writes some of those that are parked, a row group for each partition; or spills all of them, where
    /// they are of very many.
    pub fn unpark(&mut self) -> Result<Vec<Piece>, SinkError> {
        if self.parked.is_empty() {
            return Ok(Vec::new());
        }
        // Files that are open may have to be closed for what comes now.
        let mut pieces = self.encode_waiting()?;
        if !self.parked.is_leaving && self.is_to_spill() {
            self.parked.are_many = true;
            self.end_row_groups_of_rows(&mut pieces)?;
            self.spill()?;
        } else {
            self.write_parked(&mut pieces)?;
        }
        Ok(pieces)
    }

    fn is_to_spill(&self) -> bool {
        self.spilled.is_some() || self.settings.scratch.is_some() && self.parked.order.len() > UNSORTED_MAX
    }

    /// Rows that were spilled stay before those that come later.
    fn spill(&mut self) -> Result<(), SinkError> {
        let spilled = match (&mut self.spilled, &self.settings.scratch) {
            (Some(spilled), _) => spilled,
            (none, Some(scratch)) => none.insert(Spilled::begin(scratch)?),
            (None, None) => return Err(SinkError::bug("there is nowhere to sort rows")),
        };
        self.parked.spill(spilled)
    }

    fn end_row_groups_of_rows(&mut self, pieces: &mut Vec<Piece>) -> Result<(), SinkError> {
        for key in self.in_order() {
            if matches!(key, Key::Data(_))
                && let Some(file) = self.open.remove(&key)
            {
                self.end_row_group(key, file, pieces)?;
            }
        }
        Ok(())
    }

    /// Does some of what is left to do once the last rows came; `None` where all was done.
    pub fn finish_some(&mut self) -> Result<Option<Vec<Piece>>, SinkError> {
        if self.spilled.is_some() {
            self.spill()?;
        }
        if let Some(spilled) = self.spilled.take() {
            self.replay = Some(spilled.replay());
        }
        let mut pieces = self.encode_waiting()?;
        let Some(replay) = &mut self.replay else {
            if !self.parked.is_empty() {
                self.write_parked(&mut pieces)?;
                return Ok(Some(pieces));
            }
            let files = self.open.drain().chain(self.resting.drain()).map(|(_, file)| file).collect();
            pieces.extend(close_all(files)?);
            return Ok((!pieces.is_empty()).then_some(pieces));
        };
        while !self.parked.is_leaving && (self.parked.is_empty() || self.parked.bytes < self.settings.parked) {
            let Some(rows) = replay.next()? else { break };
            self.turn += 1;
            self.row += rows.rows.num_rows() as u64;
            self.parked.put_sorted(rows)?;
        }
        if !self.parked.is_empty() {
            self.write_parked(&mut pieces)?;
            return Ok(Some(pieces));
        }
        // Those of the bucket get no more rows; others have none yet, or some of the time before rows were spilled.
        let over: Vec<Key> = self.resting.keys().filter(|key| replay.is_of_last(key)).cloned().collect();
        let files = over.iter().filter_map(|key| self.resting.remove(key)).collect();
        if !replay.next_bucket() {
            self.replay = None;
        }
        pieces.extend(close_all(files)?);
        Ok(Some(pieces))
    }

    /// Writes some of the rows that are parked: a row group for each partition.
    fn write_parked(&mut self, pieces: &mut Vec<Piece>) -> Result<(), SinkError> {
        let is_first = !std::mem::replace(&mut self.parked.is_leaving, true);
        if is_first {
            self.parked.are_many = self.parked.order.len() > OPEN_MAX;
            (self.parked.before, self.parked.written) = (self.parked.written, self.row);
        }
        if self.parked.are_many {
            self.end_row_groups_of_rows(pieces)?;
        }
        let Leaving { rows, partitions } = self.parked.take_some()?;
        if is_first {
            self.parked.without_dictionary = without_dictionary(&rows);
        }
        let (judged, bytes) = (self.parked.without_dictionary.clone(), rows.get_array_memory_size());
        let count = rows.num_rows().max(1);
        let mut files = Vec::with_capacity(partitions.len());
        for (key, places) in partitions {
            let rows = rows.slice(places.start, places.len());
            let mut file = self.file(&key, RowGroupIs::Whole(&rows, &judged))?;
            (file.last_turn, file.last_row) = (self.turn, self.row);
            file.push(rows, bytes.saturating_mul(places.len()) / count);
            files.push((key, file));
        }
        parquet_file::encode_whole(files.iter_mut().map(|(_, file)| &mut file.parquet)).map_err(encode_error)?;
        for (key, mut file) in files {
            pieces.extend(file.take_pieces(1));
            self.rest(key, file, pieces)?;
        }
        pieces.extend(self.keep_within_memory()?);
        Ok(())
    }
}

/// In the order in which they were opened.
fn close_all(mut files: Vec<OpenFile>) -> Result<Vec<Piece>, SinkError> {
    files.sort_by_key(|file| file.number);
    let mut pieces = Vec::new();
    for file in files {
        pieces.extend(file.close()?);
    }
    Ok(pieces)
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
