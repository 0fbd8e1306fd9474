//! Pages to columns: the page is decoded once, without a tree per record, and nothing is lost or bent on the way.
//!
//! A page's body is unpacked ([`unpack`]) and, where it is not JSON, written as JSON ([`format`]). These bytes become a tape ([`tape`], [`whole`]), which is looked at as a document ([`document`]) and split into columns
//! of places ([`split`]). They are built into arrays at once where all is known ([`build`]); a page with something new is first looked at
//! record by record ([`observe`]), which settles what the fields are ([`kind`]). Absent on purpose: any value that is guessed, rounded or
//! left out without a word.
//!
//! Leniencies: a byte order mark, control characters inside of strings, a key that stands twice in an object (its last value counts),
//! and half of a surrogate pair (it becomes the text of its escape).

mod build;
mod carry;
mod changes;
mod column;
mod declare;
mod decoder;
mod document;
mod escapes;
mod failure;
mod format;
mod instant;
mod keys;
mod kind;
mod number;
mod observe;
mod parse;
mod raw;
mod read;
mod span;
mod spec;
mod split;

mod tape;
mod trail;
mod unpack;
mod values;
mod whole;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use jiff::tz::TimeZone;
use thiserror::Error;

use crate::config::catalog::{CursorType, DeclaredType, Format, OnTypeChange, Packing};
use crate::cursor::CursorKey;
use crate::error::ErrorKind;
use crate::page::{Envelope, ResponsePath};
use crate::reject::Reject;

pub use decoder::Decoder;
pub use parse::{Parsed, Parser};
pub use raw::RawRecords;

/// What a stream's pages look like, as far as it was declared.
#[derive(Clone, Debug)]
pub struct DecodeSpec {
    /// What the body is packed in.
    pub packing: Packing,
    /// How it is written.
    pub format: Format,
    /// Largest body, unpacked and as JSON, bytes.
    pub body_max: u64,
    /// Where the list of records stands in the body.
    pub records: ResponsePath,
    /// A missing or null list is an empty page, not an error.
    pub records_optional: bool,
    /// One object stands there instead of a list: the one record.
    pub one_record: bool,
    /// By dotted path in the record.
    pub declared: BTreeMap<String, DeclaredType>,
    pub cursor: Option<CursorSpec>,
    /// Dotted paths of the key fields; a record without one of them is rejected.
    pub key: Vec<String>,
    /// Whether the rows' keys are wanted as texts.
    pub keep_keys: bool,
    /// Dotted path of the field that says that a record was deleted.
    pub deleted: Option<String>,
    /// The values of that field that say so; empty for anything but null, false, 0 and empty.
    pub deleted_is: Vec<String>,
    /// Body paths to capture into the envelope (header paths are the source's own business and ignored here).
    pub wanted: Vec<ResponsePath>,
    pub on_type_change: OnTypeChange,
}

#[derive(Clone, Debug)]
pub struct CursorSpec {
    pub field: String,
    pub cursor_type: CursorType,
    /// Of dates and of timestamps that carry no offset.
    pub timezone: TimeZone,
}

/// A decoded page.
#[derive(Debug)]
pub struct Decoded {
    /// The rows that fit, in the decoder's schema as it stands after this page. Columns that were only ever null have
    /// Arrow's Null type, and so have such parts of structs and lists.
    pub rows: RecordBatch,
    /// All records of the page, put aside or not.
    pub raw: RawRecords,
    /// For each row its place in the page, counted from 0.
    pub places: Vec<u64>,
    pub rejects: Vec<Reject>,
    pub envelope: Envelope,
    /// One value a row, where the stream has a cursor; points in time are rounded towards the past.
    pub cursor: Option<Vec<CursorKey>>,
    /// One a row, where the stream has a key and the cursor is a whole number or a text: hex of the first 16 bytes of SHA-256 of the
    /// key's exact JSON text (the fields' source texts joined by a comma).
    pub key_hashes: Option<Vec<String>>,
    /// One a row, where keys are kept: the key fields' JSON texts, joined by commas; texts in their one canonical spelling.
    pub keys: Option<Vec<String>>,
    /// One a row, where the stream says how deleted records are told.
    pub deleted: Option<Vec<bool>>,
    /// What this page changed in the schema, a sentence each; empty if nothing.
    pub changes: Vec<String>,
}

/// Why a page could not be decoded. A page that is no single whole JSON document or lacks the records' list is `Unavailable`
/// (fetched again); a type change where the job says `fail` is `Data`.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct DecodeError {
    pub kind: ErrorKind,
    pub message: String,
    /// What the page holds besides the records that are not there: often an error that came with a status of success.
    pub envelope: Option<Box<Envelope>>,
}

impl DecodeError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        DecodeError { kind, message: message.into(), envelope: None }
    }
}
