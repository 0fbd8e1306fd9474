//! How long what left a table is kept, and how long what nobody names is left alone.

use jiff::SignedDuration;

use super::{Job, Mode, TableFormat};

/// What becomes of files that are in no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Files that a record removed can be put back for this long; zero: they are deleted at once.
    pub history: SignedDuration,
    /// An object that no record names is collected once it is as old as this.
    pub gc_min_age: SignedDuration,
    /// Small files of one place are joined by the daemon once there are so many; zero: never; `None`: nobody said.
    pub compact_min_files: Option<u32>,
    /// Partitions that ended longer ago leave the table.
    pub retain: Option<SignedDuration>,
}

/// Small files of one place that are worth joining.
const COMPACT_MIN_FILES: u32 = 8;

impl Default for Keep {
    fn default() -> Self {
        let (history, gc_min_age) = (SignedDuration::from_hours(7 * 24), SignedDuration::from_hours(24));
        Keep { history, gc_min_age, compact_min_files: None, retain: None }
    }
}

impl Job {
    /// Whether files that a record removes move into the history. The one place where it is said: a table whose own format keeps
    /// what was removed has no need of it.
    pub fn keeps_history(&self) -> bool {
        self.sink.format == TableFormat::Parquet && !self.keep.history.is_zero()
    }

    /// From how many small files of one place on the daemon joins them, and whether it does so in the table itself. `None`: it never
    /// does. By itself it leaves a table of Parquet alone that only grows: who globs it never meets a row twice.
    pub fn compacts_from(&self) -> Option<(u32, bool)> {
        let only_grows = self.sink.format == TableFormat::Parquet && self.mode == Mode::Append;
        match self.keep.compact_min_files {
            Some(0) => None,
            Some(files) => Some((files, true)),
            None => Some((COMPACT_MIN_FILES, !only_grows)),
        }
    }
}
