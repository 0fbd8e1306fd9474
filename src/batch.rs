//! Columns on their way through a run.

use arrow::array::RecordBatch;
use jiff::Timestamp;

use crate::cursor::CursorKey;

/// Rows of one page, with where they came from.
#[derive(Clone, Debug)]
pub struct Batch {
    pub rows: RecordBatch,
    /// The page of the slice, counted from 0.
    pub page: u64,
    /// When the page was received: the rows' `_hw_extracted_at`.
    pub extracted_at: Timestamp,
    /// What identifies, orders and tells the content of the rows, where the table's rows carry it.
    pub marks: Option<RowMarks>,
}

/// What identifies, orders and tells the content of some rows: one entry a row each.
#[derive(Clone, Debug, Default)]
pub struct RowMarks {
    /// The JSON texts of the key's fields, joined by commas.
    pub keys: Vec<String>,
    /// Empty for a stream without a cursor.
    pub cursors: Vec<CursorKey>,
    /// Of the rows' columns as they are written.
    pub hashes: Vec<i64>,
}

/// What became of the records of a page, a slice or a run. The parts always add up to `fetched`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    pub fetched: u64,
    pub kept: u64,
    pub filtered: u64,
    pub rejected: u64,
    pub out_of_window: u64,
    pub duplicate: u64,
    pub unchanged: u64,
    /// Records that say they were deleted.
    #[serde(default)]
    pub deleted: u64,
}

impl Counts {
    pub fn add_up(&self) -> bool {
        let fates = [self.kept, self.filtered, self.rejected, self.out_of_window, self.duplicate, self.unchanged, self.deleted];
        self.fetched == fates.iter().sum::<u64>()
    }

    pub fn add(&mut self, other: &Counts) {
        self.fetched += other.fetched;
        self.kept += other.kept;
        self.filtered += other.filtered;
        self.rejected += other.rejected;
        self.out_of_window += other.out_of_window;
        self.duplicate += other.duplicate;
        self.unchanged += other.unchanged;
        self.deleted += other.deleted;
    }
}
