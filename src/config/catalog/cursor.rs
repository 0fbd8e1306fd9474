//! How records are ordered, and asked for by it.

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use crate::template::Template;

use super::Stream;

/// The field that orders a stream's records, and how the API is asked by it.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Dotted path in the record.
    pub field: String,
    pub cursor_type: CursorType,
    /// Query entries by name, with `from` and `to` in scope.
    pub query: Vec<(String, Template)>,
    pub order: Order,
    /// How `from` and `to` are written into requests.
    pub format: CursorFormat,
    /// The API is asked this much wider on both ends.
    pub precision: SignedDuration,
    /// The source's zone: dates are its days.
    pub timezone: TimeZone,
    /// The API's upper bound includes the value itself.
    pub to_inclusive: bool,
    pub nulls: CursorNulls,
}

impl Cursor {
    /// Whether its values are numbers, not points in time.
    pub fn counts(&self) -> bool {
        self.cursor_type == CursorType::Integer
    }

    /// Whether the API can be asked for an upper bound; without one `window.step` is ignored.
    pub fn has_upper_bound(&self, stream: &Stream) -> bool {
        self.query.iter().any(|(_, template)| template.uses("to"))
            || stream.templates().iter().any(|template| template.uses("to"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorType {
    Timestamp,
    Date,
    EpochS,
    EpochMs,
    EpochUs,
    Integer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    None,
    Ascending,
    Descending,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CursorFormat {
    /// RFC 3339, UTC, milliseconds, `Z`.
    Rfc3339,
    /// A strftime pattern, in the cursor's zone.
    Strftime(String),
    /// A whole number of the cursor's unit.
    Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorNulls {
    DeadLetter,
}
