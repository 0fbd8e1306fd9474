//! Columns on their way through a run.

use arrow::array::RecordBatch;
use jiff::Timestamp;

/// Rows of one page, with where they came from.
#[derive(Clone, Debug)]
pub struct Batch {
    pub rows: RecordBatch,
    /// The page of the slice, counted from 0.
    pub page: u64,
    /// When the page was received: the rows' `_hw_extracted_at`.
    pub extracted_at: Timestamp,
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
}

impl Counts {
    pub fn add_up(&self) -> bool {
        self.fetched == self.kept + self.filtered + self.rejected + self.out_of_window + self.duplicate + self.unchanged
    }

    pub fn add(&mut self, other: &Counts) {
        self.fetched += other.fetched;
        self.kept += other.kept;
        self.filtered += other.filtered;
        self.rejected += other.rejected;
        self.out_of_window += other.out_of_window;
        self.duplicate += other.duplicate;
        self.unchanged += other.unchanged;
    }
}
