//! One file while it is written.

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::super::SinkError;
use super::super::own::{self, Ranges};
use super::super::parquet_file::ParquetFile;
use super::super::record::FileRole;
use super::{Closed, Piece};

pub(super) struct OpenFile {
    /// Files count from 0 in the order in which they were opened.
    pub number: usize,
    pub parquet: ParquetFile,
    role: FileRole,
    directory: String,
    partition: Vec<(String, Option<String>)>,
    rows: u64,
    /// Those that were handed out.
    pub bytes: u64,
    ranges: Ranges,
    /// When rows came last, as the encoder counts batches and rows.
    pub last_turn: u64,
    pub last_row: u64,
}

impl OpenFile {
    pub fn new(
        number: usize,
        parquet: ParquetFile,
        role: FileRole,
        directory: String,
        partition: Vec<(String, Option<String>)>,
    ) -> Self {
        OpenFile {
            number,
            parquet,
            role,
            directory,
            partition,
            rows: 0,
            bytes: 0,
            ranges: Ranges::default(),
            last_turn: 0,
            last_row: 0,
        }
    }

    /// Puts rows behind those that wait to be encoded; `bytes` is about what they take.
    pub fn push(&mut self, rows: RecordBatch, bytes: usize) {
        self.rows += rows.num_rows() as u64;
        self.note_ranges(&rows);
        self.parquet.push(rows, bytes);
    }

    fn note_ranges(&mut self, rows: &RecordBatch) {
        if let Some(keys) = rows.column_by_name(own::KEY).and_then(own::read_keys) {
            self.ranges.add_keys(keys.into_iter());
        }
        if let Some(cursors) = rows.column_by_name(own::CURSOR).and_then(own::read_cursors) {
            self.ranges.add_cursors(cursors.iter());
        }
    }

    /// What can be handed out, where that is enough, bytes.
    pub fn take_pieces(&mut self, at_least: usize) -> Vec<Piece> {
        if self.parquet.ready() < at_least {
            return Vec::new();
        }
        let parts = self.parquet.take();
        self.pieces(parts)
    }

    fn pieces(&mut self, parts: Vec<Bytes>) -> Vec<Piece> {
        self.bytes += parts.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        parts.into_iter().map(|bytes| Piece { file: self.number, bytes, closed: None }).collect()
    }

    pub fn close(mut self) -> Result<Vec<Piece>, SinkError> {
        let parts = self.parquet.finish().map_err(encode_error)?;
        let mut pieces = self.pieces(parts);
        let OpenFile { number: file, role, directory, partition, rows, bytes, ranges, .. } = self;
        let closed = Closed { role, directory, partition, rows, bytes, ranges };
        match pieces.last_mut() {
            Some(last) => last.closed = Some(closed),
            None => pieces.push(Piece { file, bytes: Bytes::new(), closed: Some(closed) }),
        }
        Ok(pieces)
    }
}

pub(super) fn encode_error(error: parquet::errors::ParquetError) -> SinkError {
    SinkError::bug(format!("rows cannot be written as Parquet: {error}"))
}
