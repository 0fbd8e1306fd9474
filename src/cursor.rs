//! The value that orders a stream's records.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A cursor value as it is compared. Values of different kinds never meet in one stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CursorKey {
    /// Microseconds since 1970-01-01T00:00:00Z for all that is a point in time, else the whole number, exact beyond 64 bits.
    Number(i128),
    /// Compared byte by byte: neither case nor any language's alphabet is known.
    Text(String),
}

impl CursorKey {
    /// What stands for the cursor of a stream that has none: all records are equally new.
    pub const NONE: CursorKey = CursorKey::Number(0);

    pub fn number(&self) -> Option<i128> {
        match self {
            CursorKey::Number(value) => Some(*value),
            CursorKey::Text(_) => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            CursorKey::Number(_) => None,
            CursorKey::Text(text) => Some(text),
        }
    }

    /// Bytes that it takes besides its own place.
    pub fn heap_bytes(&self) -> usize {
        self.text().map_or(0, str::len)
    }
}

impl fmt::Display for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CursorKey::Number(value) => value.fmt(f),
            CursorKey::Text(text) => f.write_str(text),
        }
    }
}

impl From<i128> for CursorKey {
    fn from(value: i128) -> Self {
        CursorKey::Number(value)
    }
}

impl From<i64> for CursorKey {
    fn from(value: i64) -> Self {
        CursorKey::Number(i128::from(value))
    }
}

impl From<&str> for CursorKey {
    fn from(text: &str) -> Self {
        CursorKey::Text(text.to_owned())
    }
}
