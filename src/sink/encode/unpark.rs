//! What becomes of rows that are parked: a row group for each partition, or rows on the disk, and files in the end.

use super::super::distinct::without_dictionary;
use super::formats::RowGroupIs;
use super::open_file::{OpenFile, encode_error};
use super::parked::Leaving;
use super::spilled::{DEPTH_MAX, Spilled};
use super::{Encoder, Key, OPEN_MAX, Piece, SinkError, parquet_file};

/// Of more partitions than these rows are spilled.
const UNSORTED_MAX: usize = 128;

impl Encoder {
    /// Whether rows that are parked are too many: they are to be [written](Self::unpark) before more come.
    pub fn is_full(&self) -> bool {
        // Row groups that are open take the rest, or what is written to the disk.
        let all = self.parked.last.are_many && self.spilled.is_none();
        let most = if all { self.settings.parked } else { self.settings.parked / 2 };
        !self.parked.is_empty() && (self.parked.is_leaving() || self.parked.memory() >= most)
    }

    /// Makes room for more rows: writes some of those that are parked, a row group for each partition; or spills all of them, where
    /// they are of very many.
    pub fn unpark(&mut self) -> Result<Vec<Piece>, SinkError> {
        if self.parked.is_empty() {
            return Ok(Vec::new());
        }
        // Files that are open may have to be closed for what comes now.
        let mut pieces = self.encode_waiting()?;
        if !self.parked.is_leaving() && self.is_to_spill() {
            self.parked.last.are_many = true;
            self.end_row_groups_of_rows(&mut pieces)?;
            self.spill()?;
        } else {
            self.write_parked(&mut pieces)?;
        }
        Ok(pieces)
    }

    fn is_to_spill(&self) -> bool {
        let may_be = self.settings.scratch.is_some() && self.columns.depth() <= DEPTH_MAX;
        self.spilled.is_some() || may_be && self.parked.len() > UNSORTED_MAX
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

    /// Whether all that was added has been handed out, once the last rows came.
    pub fn is_finished(&self) -> bool {
        let none_open = self.open.is_empty() && self.resting.is_empty() && self.parked.is_empty();
        none_open && self.spilled.is_none() && self.replay.is_none()
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
        while !self.parked.is_leaving() && (self.parked.is_empty() || self.parked.memory() < self.settings.parked / 2) {
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
        if !self.parked.is_leaving() {
            self.parked.last.are_many = self.parked.len() > OPEN_MAX;
        }
        if self.parked.last.are_many {
            self.end_row_groups_of_rows(pieces)?;
        }
        let Leaving { rows, partitions, are_first } = self.parked.take_some(self.row)?;
        if are_first {
            self.parked.last.without_dictionary = without_dictionary(&rows);
        }
        let (judged, bytes) = (self.parked.last.without_dictionary.clone(), rows.get_array_memory_size());
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
