//! Rows to the bytes of Parquet files: one open file a partition, bounded in number and in memory. No input or output, but for rows of
//! very many partitions, which are sorted on local disk: the bytes are handed out in pieces as they come to be, for whoever stages them.

mod ceilings;
mod formats;
mod open_file;
mod parked;
mod rows;
mod spilled;
mod unpark;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;

use crate::batch::Batch;
use crate::config::catalog::{ParquetSettings, PartitionColumn};
use crate::cursor::CursorKey;
use crate::ids::{BatchId, PartitionKey};
use crate::reject::Reject;
use crate::schema::TableSchema;
use crate::scratch::Scratch;
use crate::store::Part;

use super::SinkError;
use super::own::{OwnColumns, Ranges};
use super::parquet_file::{self, ParquetFile};
use super::partition::{Values, directory, pick, split};
use super::record::FileRole;

use self::formats::{Formats, RowGroupIs};
use self::open_file::{OpenFile, encode_error};
use self::parked::Parked;
use self::rows::Columns;
use self::spilled::{Replay, Spilled};

/// Row groups open at the same time. Each takes 0.8 MB before its first row, and half a megabyte more where keys have a bloom filter;
/// rows of further partitions are [parked].
const OPEN_MAX: usize = 16;
/// A row group that got none of so many rows makes room for one of a partition that comes new.
const STALE: u64 = 16 * 1024;
/// Rows of a row group of parents.
const PARENTS_ROWS: usize = 1 << 16;
/// Bytes are handed out once so many are there, or with the file's end.
const PIECE_MIN: usize = 1024 * 1024;
/// A file's first row group is ended with so many bytes, each one behind it with twice as many as the one before, until they are as large
/// as they may be: where rows come slowly a disk has most of them by the time that the last ones come.
const FIRST_ROW_GROUP: usize = 2 * 1024 * 1024;
/// How often that is.
const GROWN_MAX: usize = 16;
/// A row group has no more rows, however small they are.
const ROW_GROUP_ROWS: usize = 1 << 20;
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
    /// What whoever stages a file holds of it, and ceiling on that of all open files, bytes.
    pub part: Part,
    pub held: usize,
    /// Ceiling on what is kept of row groups that open files have ended, bytes.
    pub ended: usize,
    /// Ceiling on rows that are parked, bytes.
    pub parked: usize,
    /// Where rows of very many partitions are sorted; without such a place there are more row groups, and files.
    pub scratch: Option<Arc<Scratch>>,
    /// Ceiling on files that wait for another row group of their partition.
    pub resting: usize,
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
    /// Of keys and cursors, where the rows have such columns.
    pub ranges: Ranges,
}

pub struct Encoder {
    settings: EncodeSettings,
    columns: Columns,
    formats: Formats,
    /// Files with a row group that gets rows as they come, or that will.
    open: HashMap<Key, OpenFile>,
    /// Files between two row groups.
    resting: HashMap<Key, OpenFile>,
    parked: Parked,
    spilled: Option<Spilled>,
    /// What was spilled, being written to files.
    replay: Option<Replay>,
    opened: usize,
    /// Counts batches, and rows, to know which file waits longest.
    turn: u64,
    row: u64,
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

impl Encoder {
    pub fn new(settings: EncodeSettings) -> Self {
        Encoder {
            columns: Columns::of(&settings),
            formats: Formats::new(&settings),
            settings,
            open: HashMap::new(),
            resting: HashMap::new(),
            parked: Parked::default(),
            spilled: None,
            replay: None,
            opened: 0,
            turn: 0,
            row: 0,
            waiting: 0,
            data: false,
        }
    }

    /// Gives the rows to come other columns; only before the first of them.
    pub fn set_schema(&mut self, schema: TableSchema) {
        assert!(!self.data, "columns do not change within a file");
        self.settings.schema = schema;
        self.columns = Columns::of(&self.settings);
    }

    /// Whether the files have a column of this name.
    pub fn has_column(&self, name: &str) -> bool {
        self.columns.has(name)
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
        self.data = true;
        self.begin_turn(batch.rows.num_rows());
        let source = self.columns.source(batch, &self.settings)?;
        let bytes = source.get_array_memory_size();
        let rows = self.columns.of_file(&source, batch, &self.settings)?;
        let mut to_park = Vec::new();
        for (values, numbers) in split(&source, &self.settings.partition_by)? {
            let key = Key::Data(values);
            if !self.has_room(&key, &mut pieces)? {
                to_park.push((key, numbers));
                continue;
            }
            // Texts of all partitions lie in the same memory.
            let share = bytes.saturating_mul(numbers.len()) / rows.num_rows();
            self.write(&key, &pick(&rows, numbers)?, share, &mut pieces)?;
        }
        self.parked.put(&rows, to_park)?;
        Ok(pieces)
    }

    /// Takes in rows of a file that this batch replaces, as they are, into the partition that they stood in.
    pub fn add_carried(&mut self, partition: &[(String, Option<String>)], rows: &RecordBatch) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        let count = u32::try_from(rows.num_rows()).map_err(|_| SinkError::bug("more than 2^32 rows at once"))?;
        if count == 0 {
            return Ok(pieces);
        }
        self.data = true;
        self.begin_turn(rows.num_rows());
        let key = Key::Data(partition.iter().map(|(_, value)| value.clone()).collect());
        let rows = self.columns.carried(rows)?;
        match self.has_room(&key, &mut pieces)? {
            true => self.write(&key, &rows, rows.get_array_memory_size(), &mut pieces)?,
            false => self.parked.put(&rows, vec![(key, (0..count).collect())])?,
        }
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
            self.add_own(&key, rows, &mut pieces)?;
        }
        Ok(pieces)
    }

    /// Takes in keys that were deleted, with the cursor of their deletion ([`CursorKey::NONE`] for a stream without one).
    pub fn add_tombstones(&mut self, keys: &[String], cursors: &[CursorKey]) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        if keys.is_empty() {
            return Ok(pieces);
        }
        self.add_own(&Key::Tombstones, &rows::tombstones(keys, cursors, &self.settings)?, &mut pieces)?;
        Ok(pieces)
    }

    /// Takes in what is known of parents, in order ([`parents`](super::parents)).
    pub fn add_parents(&mut self, rows: &RecordBatch) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        if rows.num_rows() > 0 {
            self.add_own(&Key::Parents, rows, &mut pieces)?;
        }
        Ok(pieces)
    }

    /// Takes rejects in; they become a file of the dead letters.
    pub fn add_rejects(&mut self, rejects: &[Reject]) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        if !rejects.is_empty() {
            self.add_own(&Key::DeadLetters, &rows::dead_letters(rejects, self.settings.batch)?, &mut pieces)?;
        }
        Ok(pieces)
    }

    fn begin_turn(&mut self, rows: usize) {
        self.turn += 1;
        self.row += rows as u64;
    }

    /// Files of our own are few: one more is no matter.
    fn add_own(&mut self, key: &Key, rows: &RecordBatch, pieces: &mut Vec<Piece>) -> Result<(), SinkError> {
        self.begin_turn(rows.num_rows());
        self.write(key, rows, rows.get_array_memory_size(), pieces)
    }

    /// Whether rows of a partition go straight into its file. Rows that are parked stay before those that come later.
    fn has_room(&mut self, key: &Key, pieces: &mut Vec<Piece>) -> Result<bool, SinkError> {
        if self.open.contains_key(key) {
            return Ok(true);
        }
        if self.parked.last.are_many || self.parked.has(key) {
            return Ok(false);
        }
        if self.open.len() < OPEN_MAX {
            return Ok(true);
        }
        let oldest = self.open.iter().min_by_key(|(_, file)| file.last_row);
        let Some(stale) = oldest.filter(|(_, file)| self.row - file.last_row >= STALE).map(|(key, _)| key.clone()) else {
            return Ok(false);
        };
        pieces.extend(self.encode_waiting()?);
        if let Some(file) = self.open.remove(&stale) {
            self.end_row_group(stale, file, pieces)?;
        }
        Ok(self.open.len() < OPEN_MAX)
    }

    /// `bytes` is about what the rows take.
    fn write(&mut self, key: &Key, rows: &RecordBatch, bytes: usize, pieces: &mut Vec<Piece>) -> Result<(), SinkError> {
        // What is much by itself is encoded part by part.
        let at_once = (rows.num_rows().saturating_mul(WAITING_MAX) / bytes.max(1)).max(1);
        for first in (0..rows.num_rows()).step_by(at_once) {
            let part = rows.slice(first, at_once.min(rows.num_rows() - first));
            let share = bytes.saturating_mul(part.num_rows()) / rows.num_rows();
            self.wait(key, part, share, pieces)?;
        }
        Ok(())
    }

    /// Puts rows behind those that wait in an open file, where it is still open.
    fn wait(&mut self, key: &Key, rows: RecordBatch, bytes: usize, pieces: &mut Vec<Piece>) -> Result<(), SinkError> {
        if !self.open.contains_key(key) {
            let file = self.file(key, RowGroupIs::Begun(&rows))?;
            self.open.insert(key.clone(), file);
        }
        let file = self.open.get_mut(key).ok_or_else(|| SinkError::bug("an open file is lost"))?;
        (file.last_turn, file.last_row) = (self.turn, self.row);
        file.push(rows, bytes);
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
        let row_group_size = usize::try_from(self.settings.parquet.row_group_size).unwrap_or(usize::MAX);
        for key in self.in_order() {
            let Some(file) = self.open.get_mut(&key) else { continue };
            // There may be millions of parents, all at once: they must not wait for a row group of the size that is good for readers.
            let has_enough = key == Key::Parents && file.parquet.rows() >= PARENTS_ROWS;
            let row_group = row_group_size.min(FIRST_ROW_GROUP << file.parquet.row_groups().min(GROWN_MAX));
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
        let mut keys: Vec<(usize, &Key)> = self.open.iter().map(|(key, file)| (file.number, key)).collect();
        keys.sort_by_key(|(file, _)| *file);
        keys.into_iter().map(|(_, key)| key.clone()).collect()
    }

    /// The file of a partition, which begins a row group.
    fn file(&mut self, key: &Key, row_group: RowGroupIs<'_>) -> Result<OpenFile, SinkError> {
        let format = self.formats.of(row_group).map_err(encode_error)?;
        if let Some(mut file) = self.resting.remove(key) {
            file.parquet.set_format(format);
            return Ok(file);
        }
        let (role, folder, partition) = match key {
            Key::DeadLetters => (FileRole::DeadLetters, String::new(), Vec::new()),
            Key::Tombstones => (FileRole::Tombstones, String::new(), Vec::new()),
            Key::Parents => (FileRole::Parents, String::new(), Vec::new()),
            Key::Data(values) => {
                let keys = self.settings.partition_by.iter().map(PartitionColumn::key);
                (FileRole::Data, directory(&self.settings.partition_by, values)?, keys.zip(values.iter().cloned()).collect())
            }
        };
        let parquet = ParquetFile::new(format).map_err(encode_error)?;
        self.opened += 1;
        Ok(OpenFile::new(self.opened - 1, parquet, role, folder, partition))
    }

    /// Ends the row group of a file in which nothing waits.
    fn end_row_group(&mut self, key: Key, mut file: OpenFile, pieces: &mut Vec<Piece>) -> Result<(), SinkError> {
        file.parquet.end_row_group().map_err(encode_error)?;
        pieces.extend(file.take_pieces(1));
        self.rest(key, file, pieces)
    }

    /// Keeps a file whose row group was ended until its partition has another; or closes it where it is large enough, or where as many
    /// are kept as may be, of partitions that still get rows.
    fn rest(&mut self, key: Key, file: OpenFile, pieces: &mut Vec<Piece>) -> Result<(), SinkError> {
        let is_full = self.resting.len() >= self.settings.resting;
        let oldest = if is_full { self.resting.iter().min_by_key(|(_, file)| (file.last_row, file.number)) } else { None };
        let gone = oldest.filter(|(_, oldest)| self.parked.last.is_over(oldest.last_row)).map(|(key, _)| key.clone());
        if let Some(gone) = gone.and_then(|key| self.resting.remove(&key)) {
            pieces.extend(gone.close()?);
        }
        if file.bytes >= self.settings.parquet.file_size || self.resting.len() >= self.settings.resting {
            pieces.extend(file.close()?);
        } else {
            self.resting.insert(key, file);
        }
        Ok(())
    }

    /// Ends all files.
    pub fn finish(&mut self) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        while let Some(some) = self.finish_some()? {
            pieces.extend(some);
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests;
