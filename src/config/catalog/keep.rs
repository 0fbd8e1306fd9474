//! How long what left a table is kept, and how long what nobody names is left alone.

use jiff::SignedDuration;

use super::{Job, TableFormat};

/// What becomes of files that are in no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Files that a record removed can be put back for this long; zero: they are deleted at once.
    pub history: SignedDuration,
    /// An object that no record names is collected once it is as old as this.
    pub gc_min_age: SignedDuration,
}

impl Default for Keep {
    fn default() -> Self {
        Keep { history: SignedDuration::from_hours(7 * 24), gc_min_age: SignedDuration::from_hours(24) }
    }
}

impl Job {
    /// Whether files that a record removes move into the history. The one place where it is said: a table whose own format keeps
    /// what was removed has no need of it.
    pub fn keeps_history(&self) -> bool {
        self.sink.format == TableFormat::Parquet && !self.keep.history.is_zero()
    }
}
