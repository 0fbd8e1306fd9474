//! Pages to columns: the page is decoded once, without a tree per record, and nothing is lost or bent on the way.
//!
//! A page's bytes become arrow-json's tape ([`tape`]), which is checked against the bytes ([`outline`], [`document`]) and split into columns
//! of places ([`split`]). They are built into arrays at once where all is known ([`build`]); a page with something new is first looked at
//! record by record ([`observe`]), which settles what the fields are ([`kind`]). Absent on purpose: any value that is guessed, rounded or
//! left out without a word.
//!
//! Leniencies: a byte order mark, control characters inside of strings, and a key that stands twice in an object (its last value counts).

mod build;
mod changes;
mod declare;
mod document;
mod instant;
mod keys;
mod kind;
mod number;
mod observe;
mod outline;
mod read;
mod span;
mod spec;
mod split;
mod surrogates;
mod tape;
mod values;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;
use thiserror::Error;

use crate::config::catalog::{CursorType, DeclaredType, OnTypeChange};
use crate::cursor::CursorColumn;
use crate::error::ErrorKind;
use crate::page::{Envelope, RawPage, ResponsePath};
use crate::reject::Reject;
use crate::schema::TableSchema;

pub use span::raw_records;

use kind::Object;
use read::Task;
use spec::Plan;
use tape::TapeReader;

/// What a stream's pages look like, as far as it was declared.
#[derive(Clone, Debug)]
pub struct DecodeSpec {
    /// Where the list of records stands in the body.
    pub records: ResponsePath,
    /// A missing or null list is an empty page, not an error.
    pub records_optional: bool,
    /// By dotted path in the record.
    pub declared: BTreeMap<String, DeclaredType>,
    pub cursor: Option<CursorSpec>,
    /// Dotted paths of the key fields; a record without one of them is rejected.
    pub key: Vec<String>,
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

/// The status of an answer that has no body because there is nothing to tell (RFC 9110, 15.3.5): an empty page.
const NO_CONTENT: u16 = 204;

/// A decoded page.
#[derive(Debug)]
pub struct Decoded {
    /// The rows that fit, in the decoder's schema as it stands after this page. Columns that were only ever null have
    /// Arrow's Null type, and so have such parts of structs and lists.
    pub rows: RecordBatch,
    /// For each row its place in the page, counted from 0.
    pub places: Vec<u64>,
    pub rejects: Vec<Reject>,
    pub envelope: Envelope,
    /// One value a row, where the stream has a cursor.
    pub cursor: Option<CursorColumn>,
    /// One a row, where the stream has a key and the cursor is a whole number: hex of the first 16 bytes of SHA-256 of the
    /// key's exact JSON text (the fields' source texts joined by a comma).
    pub key_hashes: Option<Vec<String>>,
    /// What this page changed in the schema, a sentence each; empty if nothing.
    pub changes: Vec<String>,
}

/// Why a page could not be decoded. A page that is no single whole JSON document is `Unavailable` (fetched again); one that
/// lacks the records' list, or a type change where the job says `fail`, is `Data`.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct DecodeError {
    pub kind: ErrorKind,
    pub message: String,
}

/// Decodes the pages of one slice.
///
/// Types of fields that are not committed move as pages come: once a page reports changes, pages decoded before it have an older schema
/// and are to be decoded again, when all are known, with this same decoder; nothing changes then. The order of pages decides
/// about the order of new columns and nothing else.
pub struct Decoder {
    plan: Arc<Plan>,
    tree: Arc<Object>,
    schema: TableSchema,
    arrow_schema: SchemaRef,
    reader: TapeReader,
}

impl Decoder {
    /// `committed` are the records' fields as the last slice left them; `None` before the first. An error of kind `Config` names a
    /// declaration that cannot hold.
    pub fn new(spec: DecodeSpec, committed: Option<TableSchema>) -> Result<Self, DecodeError> {
        let plan = Arc::new(Plan::new(&spec)?);
        let tree = Arc::new(declare::plant(&spec, committed.as_ref())?);
        let schema = tree.schema();
        let arrow_schema = schema.to_arrow();
        Ok(Decoder { plan, tree, schema, arrow_schema, reader: TapeReader::new() })
    }

    /// Decodes one page; an error leaves the decoder as it was. Takes the processor for as long as the page is large: about a second for
    /// some hundred megabytes.
    pub fn decode(&mut self, page: &RawPage) -> Result<Decoded, DecodeError> {
        if page.status == NO_CONTENT && page.body.is_empty() {
            return Ok(self.nothing());
        }
        let mark = page.body.len() - span::without_mark(&page.body).len();
        let outcome = self.reader.read(Task {
            plan: Arc::clone(&self.plan),
            tree: Arc::clone(&self.tree),
            schema: Arc::clone(&self.arrow_schema),
            body: page.body.slice(mark..),
            page: page.position.index,
            received_at: page.received_at,
        })?;
        let mut changes = Vec::new();
        if let Some(tree) = outcome.tree {
            let schema = tree.schema();
            changes = changes::describe(&self.schema, &schema);
            self.arrow_schema = outcome.rows.schema();
            self.schema = schema;
            self.tree = Arc::new(tree);
        }
        Ok(Decoded {
            rows: outcome.rows,
            places: outcome.places,
            rejects: outcome.rejects,
            envelope: outcome.envelope,
            cursor: outcome.cursor,
            key_hashes: outcome.key_hashes,
            changes,
        })
    }

    /// A page without a record.
    fn nothing(&self) -> Decoded {
        Decoded {
            rows: RecordBatch::new_empty(Arc::clone(&self.arrow_schema)),
            places: Vec::new(),
            rejects: Vec::new(),
            envelope: Envelope::default(),
            cursor: None,
            key_hashes: None,
            changes: Vec::new(),
        }
    }

    /// The records' fields as far as they are known: the committed and declared ones, and what the pages brought.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }
}
