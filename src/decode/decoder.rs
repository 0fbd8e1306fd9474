//! The decoder of a slice's pages: what is known of the types moves from page to page.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::page::{Envelope, RawPage};
use crate::schema::TableSchema;

use super::kind::Object;
use super::parse::{Parsed, Parser};
use super::raw::RawRecords;
use super::read::{Task, read};
use super::{DecodeError, DecodeSpec, Decoded, changes, declare, format};

/// The status of an answer that has no body because there is nothing to tell (RFC 9110, 15.3.5): an empty page.
const NO_CONTENT: u16 = 204;

/// Decodes the pages of one slice.
///
/// Types of fields that are not committed move as pages come: once a page reports changes, pages decoded before it have an older schema
/// and are to be decoded again, when all are known, with this same decoder; nothing changes then. The order of pages decides
/// about the order of new columns and nothing else.
pub struct Decoder {
    parser: Parser,
    tree: Arc<Object>,
    schema: TableSchema,
    arrow_schema: SchemaRef,
}

impl Decoder {
    /// `committed` are the records' fields as the last slice left them; `None` before the first. An error of kind `Config` names a
    /// declaration that cannot hold.
    pub fn new(spec: DecodeSpec, committed: Option<TableSchema>) -> Result<Self, DecodeError> {
        let parser = Parser::new(&spec)?;
        let tree = Arc::new(declare::plant(&spec, committed.as_ref())?);
        let schema = tree.schema();
        let arrow_schema = schema.to_arrow();
        Ok(Decoder { parser, tree, schema, arrow_schema })
    }

    /// Decodes one page; an error leaves the decoder as it was. Takes the processor for as long as the page is large: about a second for
    /// some hundred megabytes.
    pub fn decode(&mut self, page: &RawPage) -> Result<Decoded, DecodeError> {
        if page.status == NO_CONTENT && page.body.is_empty() {
            return Ok(self.nothing());
        }
        let parsed = match page.prepared.take::<Parsed>() {
            Some(parsed) => parsed,
            None => self.parser.parse(page)?,
        };
        let plan = self.parser.plan();
        let task = Task {
            plan: Arc::clone(plan),
            tree: Arc::clone(&self.tree),
            schema: Arc::clone(&self.arrow_schema),
            body: parsed.json.clone(),
            starts: parsed.starts,
            page: page.position.index,
            received_at: page.received_at,
        };
        let outcome = parsed.tape.and_then(|lent| read(&lent.tape, &task));
        let outcome = outcome.map_err(|mut error| {
            if let Some(envelope) = &mut error.envelope {
                envelope.receipt = page.receipt.clone();
            }
            format::explain(&parsed.body, &plan.format, error)
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
            raw: RawRecords::new(parsed.json, outcome.spans),
            places: outcome.places,
            rejects: outcome.rejects,
            envelope: Envelope { receipt: page.receipt.clone(), ..outcome.envelope },
            cursor: outcome.cursor,
            key_hashes: outcome.key_hashes,
            keys: outcome.keys,
            deleted: outcome.deleted,
            changes,
        })
    }

    /// A page without a record.
    fn nothing(&self) -> Decoded {
        Decoded {
            rows: RecordBatch::new_empty(Arc::clone(&self.arrow_schema)),
            raw: RawRecords::default(),
            places: Vec::new(),
            rejects: Vec::new(),
            envelope: Envelope { is_nothing: true, ..Envelope::default() },
            cursor: None,
            key_hashes: None,
            keys: self.parser.plan().keep_keys.then(Vec::new),
            deleted: None,
            changes: Vec::new(),
        }
    }

    /// The records' fields as far as they are known: the committed and declared ones, and what the pages brought.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }
}
