//! One page from document to rows: what is around the records, which of them fit, and their columns.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use jiff::Timestamp;

use crate::cursor::CursorKey;
use crate::error::ErrorKind;
use crate::page::{Envelope, join_path};
use crate::reject::{Reject, RejectedAt};

use super::DecodeError;
use super::build::{Builder, Halt};
use super::document::{Document, Item};
use super::keys::{Lookup, cursor_value, is_deleted, key_hash, key_text};
use super::kind::{FIELDS_MAX, Object};
use super::observe::{Misfit, absorb_record, collision, judge};
use super::spec::{KeyField, Plan};
use super::split::{Columns, SplitError, split};
use super::tape::Tape;
use super::whole::text_of;

/// A page to be read, with what is known of the stream.
#[derive(Debug)]
pub struct Task {
    pub plan: Arc<Plan>,
    pub tree: Arc<Object>,
    /// The tree's own.
    pub schema: SchemaRef,
    /// JSON without byte order mark.
    pub body: Bytes,
    /// Where in the body each record must start, if that is known beforehand.
    pub starts: Option<Vec<u32>>,
    pub page: u64,
    pub received_at: Timestamp,
}

/// What was read.
#[derive(Debug)]
pub struct Outcome {
    /// The tree after this page, if it is another.
    pub tree: Option<Object>,
    pub rows: RecordBatch,
    pub places: Vec<u64>,
    /// Of each record of the page, where its bytes begin and end.
    pub spans: Vec<(u32, u32)>,
    pub rejects: Vec<Reject>,
    pub envelope: Envelope,
    pub cursor: Option<Vec<CursorKey>>,
    pub key_hashes: Option<Vec<String>>,
    pub keys: Option<Vec<String>>,
    pub deleted: Option<Vec<bool>>,
}

/// Reads one page from its tape.
pub fn read(tape: &Tape, task: &Task) -> Result<Outcome, DecodeError> {
    let text = text_of(&task.body)?;
    let doc = &Document::new(tape, text, task.plan.timezone.clone());
    let items = records(doc, &task.plan)
        .map_err(|error| DecodeError { envelope: Some(Box::new(envelope(doc, &task.plan, 0))), ..error })?;
    if let Some(starts) = &task.starts
        && !doc.start_at(&items, starts)
    {
        return Err(DecodeError::unavailable("a line holds more or less than one JSON value"));
    }
    let envelope = envelope(doc, &task.plan, items.len());
    let mut reader = Reader { doc, task, tree: None, rows: Vec::new(), places: Vec::new(), rejects: Vec::new() };
    reader.take_objects(&items);
    let columns = reader.split_records()?;
    let marks = reader.take_marks(columns)?;
    let spans = items.iter().map(|at| doc.span(*at)).collect();
    Ok(Outcome { spans, ..reader.finish(marks, envelope)? })
}

/// What a page says besides its records.
pub fn envelope_of(tape: &Tape, json: &[u8], plan: &Plan) -> Result<Envelope, DecodeError> {
    let doc = &Document::new(tape, text_of(json)?, plan.timezone.clone());
    Ok(envelope(doc, plan, records(doc, plan)?.len()))
}

fn records(doc: &Document<'_>, plan: &Plan) -> Result<Vec<u32>, DecodeError> {
    Ok(match locate_records(doc, plan)? {
        Some(record) if plan.one_record => vec![record],
        Some(list) => doc.records(list),
        None => Vec::new(),
    })
}

/// The records' list, or the one record; `None` if it may be missing and is.
fn locate_records(doc: &Document<'_>, plan: &Plan) -> Result<Option<u32>, DecodeError> {
    let mut at = Some(doc.root());
    for (depth, step) in plan.records.iter().enumerate() {
        let Some(outer) = at.filter(|at| !doc.is_null(*at)) else { break };
        let item = doc.item(outer);
        if !matches!(item, Item::Object(_) | Item::List(_)) {
            let path = if depth == 0 { "the body".to_owned() } else { format!("`{}`", join_path(&plan.records[..depth])) };
            return Err(no_records(format!("{path} is {}, the records should stand in it", item.kind_name())));
        }
        at = doc.find(outer, std::slice::from_ref(step));
        // An optional list may be missing, and is not where several of what it should stand in are there.
        if at.is_none() && matches!(item, Item::List(_)) && doc.items(outer).next().is_some() && step.parse::<i64>().is_err() {
            let path = if depth == 0 { "the body".to_owned() } else { format!("`{}`", join_path(&plan.records[..depth])) };
            return Err(no_records(format!("{path} is {}, the records should stand in `{step}` of an object", item.kind_name())));
        }
    }
    let path = join_path(&plan.records);
    let wanted = if plan.one_record { "record" } else { "list of records" };
    match at.map(|at| (at, doc.item(at))) {
        Some((at, Item::List(_))) if !plan.one_record => Ok(Some(at)),
        Some((at, Item::Object(_))) if plan.one_record => Ok(Some(at)),
        None | Some((_, Item::Null)) if plan.records_optional => Ok(None),
        None | Some((_, Item::Null)) => Err(no_records(format!("the body has no {wanted}{}", whereabouts(doc, &path)))),
        Some((at, item)) => {
            let more = match (&item, names_of(doc, at)) {
                (Item::List(_), _) => "; without `one_record` each item of it is a record".to_owned(),
                // Else the list is somewhere in it.
                (_, Some(names)) if doc.members(at).all(|(_, at)| !matches!(doc.item(at), Item::List(_))) => {
                    format!("; its fields are {names}; if it is the one record, one_record = true takes it")
                }
                (_, Some(names)) => format!("; its fields are {names}"),
                (_, None) => String::new(),
            };
            let kind = item.kind_name();
            Err(no_records(match path.is_empty() {
                true => format!("the body is {kind}, not a {wanted}{more}"),
                false => format!("there is {kind}, not a {wanted}, at `{path}`{more}"),
            }))
        }
    }
}

/// Where the list should be, and what the body has instead: often an error's text in a page that claims success.
fn whereabouts(doc: &Document<'_>, path: &str) -> String {
    if path.is_empty() {
        return ": it is null".to_owned();
    }
    match names_of(doc, doc.root()) {
        None => format!(" at `{path}`"),
        Some(names) => format!(" at `{path}`; its fields are {names}"),
    }
}

/// The first fields of an object; `None` where there is none.
fn names_of(doc: &Document<'_>, at: u32) -> Option<String> {
    if !matches!(doc.item(at), Item::Object(_)) {
        return None;
    }
    let names: Vec<String> = doc.members(at).take(10).map(|(key, _)| format!("`{key}`")).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn envelope(doc: &Document<'_>, plan: &Plan, records: usize) -> Envelope {
    let mut envelope = Envelope { records: records as u64, ..Envelope::default() };
    for (path, steps) in &plan.wanted {
        if let Some(at) = doc.find(doc.root(), steps) {
            envelope.captured.insert(path.clone(), doc.capture(at));
        }
    }
    envelope
}

// An API that is in trouble often says so with a status of success and a body of another shape: worth asking again.
fn no_records(message: String) -> DecodeError {
    DecodeError::new(ErrorKind::Unavailable, message)
}

fn data_error(message: String) -> DecodeError {
    DecodeError::new(ErrorKind::Data, message)
}

/// What identifies and orders the rows, and the rows' columns.
struct Marks {
    columns: Columns,
    cursor: Vec<CursorKey>,
    key_hashes: Vec<String>,
    keys: Vec<String>,
    deleted: Vec<bool>,
}

struct Reader<'a, 'd> {
    doc: &'a Document<'d>,
    task: &'a Task,
    /// A copy as soon as something is new, so that a page that fails changes nothing.
    tree: Option<Object>,
    /// Places on the tape of the records that fit so far.
    rows: Vec<u32>,
    /// Their places in the page.
    places: Vec<u64>,
    rejects: Vec<Reject>,
}

impl Reader<'_, '_> {
    fn tree(&self) -> &Object {
        self.tree.as_ref().unwrap_or(&self.task.tree)
    }

    fn tree_mut(&mut self) -> &mut Object {
        self.tree.get_or_insert_with(|| self.task.tree.as_ref().clone())
    }

    fn reject(&mut self, at: RejectedAt, place: u64, record: u32, misfit: Misfit) {
        self.reject_marked(at, place, record, misfit, (None, None));
    }

    fn reject_marked(
        &mut self,
        at: RejectedAt,
        place: u64,
        record: u32,
        misfit: Misfit,
        mark: (Option<CursorKey>, Option<String>),
    ) {
        let (cursor, key_hash) = mark;
        self.rejects.push(Reject {
            cursor,
            key_hash,
            at,
            reason: misfit.reason,
            field: misfit.field,
            record: Bytes::copy_from_slice(self.doc.raw(record).as_bytes()),
            page: self.task.page,
            place,
            received_at: self.task.received_at,
        });
    }

    fn take_objects(&mut self, items: &[u32]) {
        for (place, at) in items.iter().enumerate() {
            let item = self.doc.item(*at);
            if matches!(item, Item::Object(_)) {
                self.rows.push(*at);
                self.places.push(place as u64);
                continue;
            }
            let reason = format!("the record is {}, not an object", item.kind_name());
            self.reject(RejectedAt::Decode, place as u64, *at, Misfit { field: String::new(), reason });
        }
    }

    /// Splits the records into columns. Fields nobody has seen become columns that wait, even those of records that turn out not to
    /// fit: else the order of pages would decide.
    fn split_records(&mut self) -> Result<Columns, DecodeError> {
        match split(self.doc, self.tree(), &self.rows) {
            Ok(columns) => return Ok(columns),
            Err(SplitError::TooLarge) => return Err(too_large()),
            Err(SplitError::Unknown | SplitError::NoObject) => {}
        }
        let (doc, rows) = (self.doc, std::mem::take(&mut self.rows));
        let tree = self.tree_mut();
        for (key, _) in rows.iter().flat_map(|row| doc.members(*row)) {
            tree.place_or_new(key);
            if tree.nodes.len() > FIELDS_MAX {
                return Err(data_error(format!("the records have more than `{FIELDS_MAX}` fields")));
            }
        }
        self.rows = rows;
        split(self.doc, self.tree(), &self.rows).map_err(|error| match error {
            SplitError::TooLarge => too_large(),
            SplitError::Unknown | SplitError::NoObject => not_settled(),
        })
    }

    /// Reads key and cursor of every record and puts aside those without.
    fn take_marks(&mut self, columns: Columns) -> Result<Marks, DecodeError> {
        let (doc, plan) = (self.doc, Arc::clone(&self.task.plan));
        let cursor_lookup = plan.cursor.as_ref().map(|cursor| (cursor, Lookup::new(&cursor.field, self.tree())));
        let key_lookups: Vec<Lookup<'_>> = plan.key.iter().map(|field| Lookup::new(&field.path, self.tree())).collect();
        let deleted_lookup = plan.deleted.as_ref().map(|path| Lookup::new(path, self.tree()));
        let mut marks = Marks { columns, cursor: Vec::new(), key_hashes: Vec::new(), keys: Vec::new(), deleted: Vec::new() };
        let mut keep = vec![true; self.rows.len()];
        let mut key = Vec::with_capacity(key_lookups.len());
        for (row, keep) in keep.iter_mut().enumerate() {
            key.clear();
            key.extend(key_lookups.iter().map_while(|lookup| lookup.find(doc, &marks.columns, row)));
            if let Some(KeyField { path, .. }) = plan.key.get(key.len()) {
                let misfit = Misfit { field: path.text.clone(), reason: "the key field is missing or null".to_owned() };
                let cursor = cursor_lookup
                    .as_ref()
                    .map(|(cursor, lookup)| cursor_value(doc, cursor, lookup.find(doc, &marks.columns, row)));
                self.reject_marked(
                    RejectedAt::Decode,
                    self.places[row],
                    self.rows[row],
                    misfit,
                    (cursor.and_then(Result::ok), None),
                );
                *keep = false;
                continue;
            }
            if let Some((cursor, lookup)) = &cursor_lookup {
                match cursor_value(doc, cursor, lookup.find(doc, &marks.columns, row)) {
                    Ok(value) => marks.cursor.push(value),
                    Err(reason) => {
                        let misfit = Misfit { field: cursor.field.text.clone(), reason };
                        self.reject(RejectedAt::Cursor, self.places[row], self.rows[row], misfit);
                        *keep = false;
                        continue;
                    }
                }
            }
            if plan.needs_key_hashes() || plan.keep_keys {
                let key = key_text(doc, &key, &plan.key);
                if plan.needs_key_hashes() {
                    marks.key_hashes.push(key_hash(&key));
                }
                if plan.keep_keys {
                    marks.keys.push(key);
                }
            }
            if let Some(lookup) = &deleted_lookup {
                marks.deleted.push(is_deleted(doc, lookup.find(doc, &marks.columns, row), &plan.deleted_is));
            }
        }
        self.keep_rows(&keep);
        marks.columns.iter_mut().for_each(|column| retain(column, &keep));
        Ok(marks)
    }

    fn keep_rows(&mut self, keep: &[bool]) {
        retain(&mut self.rows, keep);
        retain(&mut self.places, keep);
    }

    fn finish(mut self, mut marks: Marks, envelope: Envelope) -> Result<Outcome, DecodeError> {
        let schema = match &self.tree {
            Some(tree) => tree.schema().to_arrow(),
            None => Arc::clone(&self.task.schema),
        };
        let builder = Builder { doc: self.doc, route: false };
        let rows = match self.batch(&builder, schema, std::mem::take(&mut marks.columns)) {
            Err(Halt::New) => self.observe(&mut marks)?,
            other => other.map_err(halted)?,
        };
        self.rejects.sort_by_key(|reject| reject.place);
        let cursor = self.task.plan.cursor.is_some().then_some(marks.cursor);
        let key_hashes = self.task.plan.needs_key_hashes().then_some(marks.key_hashes);
        let keys = self.task.plan.keep_keys.then_some(marks.keys);
        let deleted = self.task.plan.deleted.is_some().then_some(marks.deleted);
        Ok(Outcome {
            tree: self.tree,
            rows,
            spans: Vec::new(),
            places: self.places,
            rejects: self.rejects,
            envelope,
            cursor,
            key_hashes,
            keys,
            deleted,
        })
    }

    fn batch(&self, builder: &Builder<'_, '_>, schema: SchemaRef, columns: Columns) -> Result<RecordBatch, Halt> {
        let arrays = builder.columns(self.tree(), schema.fields(), &self.rows, columns)?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }

    /// Looks at every record by itself, settles what the fields are, and builds the columns again.
    fn observe(&mut self, marks: &mut Marks) -> Result<RecordBatch, DecodeError> {
        let mut keep = vec![true; self.rows.len()];
        for (row, keep) in keep.iter_mut().enumerate() {
            let record = self.rows[row];
            let misfit = match judge(self.doc, self.tree(), record, self.task.plan.on_type_change)? {
                Some(misfit) => Some(misfit),
                None => collision(self.doc, self.tree(), record).map(|field| Misfit {
                    field,
                    reason: "the value does not fit, and the column for such values is taken in this record".to_owned(),
                }),
            };
            match misfit {
                Some(misfit) => {
                    let mark = (marks.cursor.get(row).cloned(), marks.key_hashes.get(row).cloned());
                    self.reject_marked(RejectedAt::Decode, self.places[row], record, misfit, mark);
                    *keep = false;
                }
                None => {
                    let doc = self.doc;
                    absorb_record(doc, self.tree_mut(), record)?;
                }
            }
        }
        self.keep_rows(&keep);
        retain(&mut marks.cursor, &keep);
        retain(&mut marks.key_hashes, &keep);
        retain(&mut marks.keys, &keep);
        retain(&mut marks.deleted, &keep);
        let columns = self.split_records()?;
        let schema = self.tree().schema().to_arrow();
        self.batch(&Builder { doc: self.doc, route: true }, schema, columns).map_err(halted)
    }
}

fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
    if values.len() == keep.len() && keep.contains(&false) {
        let mut keep = keep.iter();
        values.retain(|_| keep.next().copied().unwrap_or(true));
    }
}

fn halted(halt: Halt) -> DecodeError {
    match halt {
        Halt::TooLarge => too_large(),
        Halt::New => not_settled(),
        Halt::Arrow(error) => DecodeError::new(ErrorKind::Bug, format!("failed to build the columns: {error}")),
    }
}

fn too_large() -> DecodeError {
    data_error("the page has too many fields for its records; ask for smaller pages".to_owned())
}

fn not_settled() -> DecodeError {
    DecodeError::new(ErrorKind::Bug, "the page does not fit the types that were found in it".to_owned())
}
