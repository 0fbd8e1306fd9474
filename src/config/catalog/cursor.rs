//! How records are ordered, and asked for by it.

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use crate::page::ResponsePath;
use crate::template::Template;

use super::Stream;

/// The field that orders a stream's records, and how the API is asked by it.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Dotted path in the record; of a token in the response.
    pub field: String,
    pub cursor_type: CursorType,
    /// Where a response holds the token, if the cursor is one.
    pub token: Option<ResponsePath>,
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
    /// How far back the API looks: what changed before is not given any more.
    pub history_max: Option<SignedDuration>,
}

impl Cursor {
    /// Whether no request says where reading begins, so that a token is the address that it begins at.
    pub fn is_address(&self, stream: &Stream) -> bool {
        let asks = self.query.iter().any(|(_, template)| template.uses("from"))
            || stream.templates().iter().any(|template| template.uses("from"));
        self.cursor_type == CursorType::Token && !asks
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
    /// Compared byte by byte.
    String,
    /// What the source gives to go on with; it is never compared.
    Token,
}

impl CursorType {
    /// Whether its values are points in time, of which the past is closed.
    pub fn is_time(self) -> bool {
        !self.has_mark() && self != CursorType::Token
    }

    /// Whether what is read of it is told by the largest value seen: nothing of it is ever closed.
    pub fn has_mark(self) -> bool {
        matches!(self, CursorType::Integer | CursorType::String)
    }
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
