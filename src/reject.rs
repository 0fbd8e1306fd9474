//! Records that do not fit, on their way to the dead letters.

use bytes::Bytes;
use jiff::Timestamp;

use crate::cursor::CursorKey;

/// Where a record was found not to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectedAt {
    Decode,
    Cursor,
    Transform,
    /// The whole page: the source refused it for good.
    Page,
}

impl RejectedAt {
    pub fn name(self) -> &'static str {
        match self {
            RejectedAt::Decode => "decode",
            RejectedAt::Cursor => "cursor",
            RejectedAt::Transform => "transform",
            RejectedAt::Page => "page",
        }
    }
}

/// A record that does not fit: its bytes as they came, why, and where it stood.
#[derive(Clone, Debug)]
pub struct Reject {
    pub at: RejectedAt,
    /// Lower case, without a full stop, values last in backticks.
    pub reason: String,
    /// Dotted path of the offending field; empty if it is the record itself.
    pub field: String,
    /// The record's own JSON text.
    pub record: Bytes,
    /// The page of the slice, counted from 0.
    pub page: u64,
    /// The record's place in its page, counted from 0.
    pub place: u64,
    pub received_at: Timestamp,
    /// Its cursor, where it has one that can be read.
    pub cursor: Option<CursorKey>,
    /// The hash of its key, where the stream's rows have one; see `decode::Decoded::key_hashes`.
    pub key_hash: Option<String>,
}
