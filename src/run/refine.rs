//! A page to rows that count: decoded, cut to the slice, put through the steps. Pure work, off the async threads.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Schema;
use bytes::Bytes;

use crate::batch::{Batch, Counts, RowMarks};
use crate::config::catalog::{Job, Mode, Order, PagingKind, PartitionColumn};
use crate::cursor::CursorKey;
use crate::decode::{DecodeError, DecodeSpec, Decoded, Decoder, RawRecords};
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::ids::PartitionKey;
use crate::page::{Aside, Envelope, PagePosition, RawPage, ResponsePath};
use crate::reject::{Reject, RejectedAt};
use crate::schema::TableSchema;
use crate::sink::content::content_hashes;
use crate::sink::merge::OpKind;
use crate::sink::own;
use crate::sink::partition::unfit;
use crate::slice::{CursorMark, Reach, Slice, Span};
use crate::transform::{RejectedRow, Steps, TransformError, Transformed};

use super::order::{self, PageOrder};
use super::recent::Recent;

/// What a page came to.
pub(super) struct Refined {
    pub batch: Batch,
    pub rejects: Vec<Reject>,
    pub counts: Counts,
    pub envelope: Envelope,
    /// Where rows carry keys: records that leave no row, in order.
    pub gone: Vec<Gone>,
    /// What the page changed in the read schema.
    pub changes: Vec<String>,
    /// Where in the page the records of the rows before the steps stand.
    pub places: Vec<u64>,
    /// The page's records as they came.
    pub raw: RawRecords,
    /// Where the source keeps an order.
    pub order: Option<PageOrder>,
}

/// A record that leaves no row, and takes away the one that its key has in a merge.
pub(super) struct Gone {
    pub key: String,
    pub cursor: CursorKey,
    /// `Filtered` or `Deleted`.
    pub kind: OpKind,
    /// How many rows of the page stand before it.
    pub before: usize,
}

/// Decoder and steps of one slice, with what the slice is cut to.
pub(super) struct Refinery {
    decoder: Decoder,
    steps: Steps,
    partition_by: Vec<PartitionColumn>,
    reach: Reach,
    /// The largest cursor seen of those that have a mark, with the keys at it.
    largest: Option<Largest>,
    /// What the page at work has changed of it.
    undo: Undo,
    /// Where a slice goes on behind a commit: pages that were read before, of which only what lies behind it counts.
    replays: Vec<PagePosition>,
    /// Of all other pages, where the slice began: what stands out of order there was not read before.
    lowest: Option<Reach>,
    /// How far records may stand from their place, where the source keeps an order.
    slop: Option<i128>,
    /// Where pages can shift and records can be told apart.
    recent: Option<Recent>,
    /// Where rows carry their keys: what stands before each.
    key_prefix: Option<String>,
    /// Records that say they were deleted are not rows.
    takes_deleted: bool,
    /// The rows replace a table, if they are other rows.
    is_replacement: bool,
    /// Rows are compared with those that are there: what is known at the mark may have changed.
    compares: bool,
}

/// Keys that are kept of the records at the largest cursor: each record of the log has them. A merge needs none, and keeps no more.
const MARK_KEYS_MAX: usize = 100_000;

/// How the largest cursor was before a page: a copy of its keys for each page would cost more than the pages.
#[derive(Default)]
struct Undo {
    was_none: bool,
    replaced: Option<Largest>,
    added: Vec<String>,
}

/// Many records may stand at one value: their keys are kept so that each finds its place at once.
struct Largest {
    value: CursorKey,
    keys: BTreeSet<String>,
    /// More stand there than are told apart by their keys.
    is_crowded: bool,
}

/// Why a page could not be refined.
pub(super) enum RefineError {
    /// The body is no whole document: the page is fetched again.
    Page(DecodeError),
    /// The slice fails.
    Slice { kind: ErrorKind, message: String },
}

impl From<TransformError> for RefineError {
    fn from(error: TransformError) -> Self {
        RefineError::Slice { kind: error.kind, message: error.to_string() }
    }
}

impl Refinery {
    pub(super) fn new(
        job: &Job,
        committed: Option<&TableSchema>,
        wanted: Vec<ResponsePath>,
        slice: &Slice,
    ) -> Result<Self, RefineError> {
        let keyed = own::is_keyed(job);
        let takes_deleted = job.mode == Mode::Merge && job.stream.deleted.is_some();
        let stream = &job.stream;
        let spec = DecodeSpec {
            keep_keys: keyed,
            deleted: stream.deleted.clone().filter(|_| takes_deleted),
            deleted_is: stream.deleted_is.clone(),
            ..DecodeSpec::of(job, wanted)
        };
        let decoder = Decoder::new(spec, committed.cloned())
            .map_err(|error| RefineError::Slice { kind: error.kind, message: error.to_string() })?;
        // A parent that moves to the next page of parents comes twice, with all of its children.
        let shifts = !matches!(stream.paging.kind, PagingKind::None) || stream.parent.is_some();
        let may_shift = !stream.primary_key.is_empty() && shifts;
        // A merge knows records by their keys, however far apart they come.
        let recent = (may_shift && job.mode != Mode::Merge).then(Recent::default);
        Ok(Refinery {
            decoder,
            steps: Steps::new(job)?,
            partition_by: job.partition_by.clone(),
            reach: slice.reach.clone(),
            largest: None,
            undo: Undo::default(),
            replays: Vec::new(),
            lowest: None,
            slop: stream.cursor.as_ref().filter(|cursor| cursor.order != Order::None).map(order::slop),
            recent,
            key_prefix: keyed.then(|| key_prefix(&slice.partition)),
            takes_deleted,
            is_replacement: job.mode == Mode::Replace,
            compares: job.mode == Mode::Merge,
        })
    }

    /// Narrows the slice to closed time, once the source's clock is known.
    pub(super) fn set_reach(&mut self, reach: Reach) {
        self.reach = reach;
    }

    /// The slice goes on behind a commit.
    pub(super) fn go_on(&mut self, lowest: Reach, replays: Vec<PagePosition>, recent: Option<Recent>) {
        self.lowest = Some(lowest);
        // A page before the commit may be gone back to.
        self.recent = recent;
        self.replays = replays;
        if let Reach::Mark(Some(mark)) = &self.reach {
            self.largest =
                Some(Largest { value: mark.value.clone(), keys: mark.keys.iter().cloned().collect(), is_crowded: false });
        }
    }

    /// The records that came last, for whoever goes on behind the commit of this part.
    pub(super) fn take_recent(&mut self) -> Option<Recent> {
        let mut recent = self.recent.take();
        if let Some(recent) = &mut recent {
            recent.settle();
        }
        recent
    }

    /// What the records of a page are cut to.
    fn reach_of(&self, page: &RawPage) -> Reach {
        match (&self.lowest, &self.reach) {
            _ if self.replays.contains(&page.position) => self.reach.clone(),
            (Some(Reach::Time(lowest)), Reach::Time(span)) => Reach::Time(Span { from: lowest.from, to: span.to }),
            (Some(Reach::Mark(lowest)), Reach::Mark(_)) => Reach::Mark(lowest.clone()),
            _ => self.reach.clone(),
        }
    }

    pub(super) fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    pub(super) fn read_schema(&self) -> &TableSchema {
        self.decoder.schema()
    }

    /// The mark that a slice reaches whose cursor has one. An error where more records stand at it than can be told apart.
    pub(super) fn cursor_mark(&self) -> Result<Option<CursorMark>, RefineError> {
        let Some(Largest { value, keys, is_crowded }) = &self.largest else { return Ok(None) };
        if *is_crowded && !self.compares && Guards::standing().crowded_mark {
            let message = format!(
                "more than `{MARK_KEYS_MAX}` records stand at the largest value of the cursor, `{value}`, too many to tell known ones from new ones: use a finer cursor, or mode = \"merge\""
            );
            return Err(RefineError::Slice { kind: ErrorKind::Data, message });
        }
        Ok(Some(CursorMark { value: value.clone(), keys: keys.iter().cloned().collect() }))
    }

    pub(super) fn refine(&mut self, page: &RawPage) -> Result<Refined, RefineError> {
        self.undo = Undo { was_none: self.largest.is_none(), ..Undo::default() };
        if let Some(recent) = &mut self.recent {
            recent.begin_page();
        }
        let decoded = self.decoder.decode(page).map_err(|error| match error.kind {
            ErrorKind::Unavailable => RefineError::Page(error),
            kind => RefineError::Slice { kind, message: error.to_string() },
        })?;
        let Decoded { rows, raw, places, mut rejects, envelope, cursor, key_hashes, keys, deleted, changes } = decoded;
        let mut counts = Counts { fetched: envelope.records, ..Counts::default() };
        let order = self.slop.and_then(|slop| PageOrder::of(cursor.as_deref()?, slop));
        let reach = self.reach_of(page);
        let also = page.also.as_deref().map_or(&[][..], Vec::as_slice);
        let mut fates = self.cut(&reach, also, rows.num_rows(), cursor.as_deref(), key_hashes.as_deref());
        self.find_repeated(&raw, &places, &mut fates);
        if self.takes_deleted {
            find_deleted(&deleted.unwrap_or_default(), &mut fates);
        }
        let mut reject_fates = Vec::with_capacity(rejects.len());
        rejects.retain(|reject| {
            let fate = self.cut_reject(&reach, also, reject);
            reject_fates.push(fate);
            fate == Fate::Kept
        });
        let count = |wanted: Fate| fates.iter().chain(&reject_fates).filter(|fate| **fate == wanted).count() as u64;
        counts.out_of_window = count(Fate::OutOfWindow);
        counts.duplicate = count(Fate::Duplicate);
        counts.deleted = count(Fate::Deleted);
        let (rows, places) = keep(rows, places, &fates)?;
        let transformed = self.transform(rows)?;
        let (marks, gone) = match &self.key_prefix {
            Some(prefix) => {
                let identity = Identity { prefix, keys: keys.unwrap_or_default(), cursors: cursor.unwrap_or_default() };
                let (marks, gone) = identity.tell(&fates, &transformed)?;
                (Some(marks), gone)
            }
            None if self.is_replacement => {
                let hashes = content_hashes(&transformed.rows, &[])
                    .map_err(|error| RefineError::Slice { kind: error.kind, message: error.to_string() })?;
                (Some(RowMarks { hashes, ..RowMarks::default() }), Vec::new())
            }
            None => (None, Vec::new()),
        };
        if let Some(aside) = &page.aside {
            // A page that nobody ever sees counts as one record, so that no reckoning leaves it out.
            counts.fetched += 1;
            rejects.push(page_reject(page, aside));
        }
        counts.filtered = transformed.filtered;
        counts.kept = transformed.rows.num_rows() as u64;
        rejects.extend(transform_rejects(page, &raw, &places, transformed.rejected));
        counts.rejected = rejects.len() as u64;
        let batch = Batch { rows: transformed.rows, page: page.position.index, extracted_at: page.received_at, marks };
        check_counts(page.position.index, &counts)?;
        Ok(Refined { batch, rejects, counts, envelope, gone, changes, order, places, raw })
    }

    /// A page without a row has nothing for the steps, and perhaps none of the columns that they name.
    fn transform(&self, rows: RecordBatch) -> Result<Transformed, RefineError> {
        if rows.num_rows() > 0 {
            let transformed = self.steps.apply(rows)?;
            let unfit = unfit(&transformed.rows, &self.partition_by).into_iter();
            let rejected =
                unfit.map(|unfit| RejectedRow { row: unfit.row, field: unfit.column.to_owned(), reason: unfit.reason });
            return Ok(transformed.without(rejected.collect())?);
        }
        let rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        Ok(Transformed { rows, places: None, filtered: 0, rejected: Vec::new() })
    }

    /// What becomes of each row by its cursor alone. Compared on parsed values: what the API makes of its own filter is its affair.
    fn cut(
        &mut self,
        reach: &Reach,
        also: &[Span],
        rows: usize,
        cursor: Option<&[CursorKey]>,
        keys: Option<&[String]>,
    ) -> Vec<Fate> {
        match (reach, cursor) {
            (Reach::Time(span), Some(values)) => values.iter().map(|value| cut_times(span, also, value)).collect(),
            (Reach::Mark(mark), Some(values)) => {
                let mut fates = Vec::with_capacity(rows);
                for (row, value) in values.iter().enumerate() {
                    let key = keys.and_then(|keys| keys.get(row));
                    fates.push(self.cut_at_mark(mark.as_ref(), value, key));
                }
                fates
            }
            _ => vec![Fate::Kept; rows],
        }
    }

    /// A record that does not fit belongs to a slice like any other: else each slice that sees it would put it aside again.
    fn cut_reject(&mut self, reach: &Reach, also: &[Span], reject: &Reject) -> Fate {
        let Some(cursor) = &reject.cursor else { return Fate::Kept };
        match reach {
            Reach::Time(span) => cut_times(span, also, cursor),
            // Without a key it cannot be told from another one at the mark.
            Reach::Mark(Some(mark)) if reject.key_hash.is_none() => {
                if *cursor < mark.value {
                    Fate::OutOfWindow
                } else {
                    Fate::Kept
                }
            }
            Reach::Mark(mark) => self.cut_at_mark(mark.as_ref(), cursor, reject.key_hash.as_ref()),
            Reach::Snapshot | Reach::Token(_) => Fate::Kept,
        }
    }

    /// A record that moves while its pages are read comes twice, byte for byte: with a key it is one record, not two.
    fn find_repeated(&mut self, raw: &RawRecords, places: &[u64], fates: &mut [Fate]) {
        let Some(recent) = &mut self.recent else { return };
        for (place, fate) in places.iter().zip(fates) {
            if *fate == Fate::Kept && !recent.is_new(raw.get(*place)) && Guards::standing().seen_once {
                *fate = Fate::Duplicate;
            }
        }
    }

    /// The page at work was none: what its records left behind is forgotten.
    pub(super) fn take_back(&mut self) {
        let Undo { was_none, replaced, added } = std::mem::take(&mut self.undo);
        match (&mut self.largest, replaced) {
            (largest, _) if was_none => *largest = None,
            (largest, Some(replaced)) => *largest = Some(replaced),
            (Some(largest), None) => largest.keys.retain(|key| !added.contains(key)),
            (None, None) => {}
        }
        if let Some(recent) = &mut self.recent {
            recent.take_back();
        }
    }

    /// Forgets which records came before: the slice's pages are about to be read from the first one again.
    pub(super) fn begin_anew(&mut self) {
        if let Some(recent) = &mut self.recent {
            recent.begin_anew();
        }
    }

    fn cut_at_mark(&mut self, mark: Option<&CursorMark>, value: &CursorKey, key: Option<&String>) -> Fate {
        // The page behind a commit on the way repeats the last record, which was committed.
        if let (Some(_), Reach::Mark(Some(done)), Some(key)) = (&self.lowest, &self.reach, key)
            && *value == done.value
            && done.keys.binary_search(key).is_ok()
        {
            return Fate::Duplicate;
        }
        if let Some(mark) = mark {
            if *value < mark.value {
                return Fate::OutOfWindow;
            }
            let is_known = !self.compares && key.is_none_or(|key| mark.keys.binary_search(key).is_ok());
            if *value == mark.value && is_known && Guards::standing().rows_at_mark {
                return Fate::Duplicate;
            }
        }
        let largest = self.largest.get_or_insert_with(|| match mark {
            Some(mark) => Largest { value: mark.value.clone(), keys: mark.keys.iter().cloned().collect(), is_crowded: false },
            None => Largest { value: value.clone(), keys: BTreeSet::new(), is_crowded: false },
        });
        if *value > largest.value {
            let mut before =
                std::mem::replace(largest, Largest { value: value.clone(), keys: BTreeSet::new(), is_crowded: false });
            if self.undo.replaced.is_none() {
                for key in self.undo.added.drain(..) {
                    before.keys.remove(&key);
                }
                self.undo.replaced = Some(before);
            }
        }
        if *value == largest.value
            && let Some(key) = key
        {
            let has_room = largest.keys.len() < MARK_KEYS_MAX || largest.keys.contains(key);
            largest.is_crowded |= !has_room;
            let is_new = has_room && largest.keys.insert(key.clone());
            if is_new && self.undo.replaced.is_none() {
                self.undo.added.push(key.clone());
            }
        }
        Fate::Kept
    }
}

/// Each record of a page is a row, or it is known why not.
fn check_counts(page: u64, counts: &Counts) -> Result<(), RefineError> {
    if counts.add_up() || !Guards::standing().page_adds_up {
        return Ok(());
    }
    let message = format!("the records of page {} do not add up: {counts:?}", page + 1);
    Err(RefineError::Slice { kind: ErrorKind::Bug, message })
}

fn transform_rejects(page: &RawPage, raw: &RawRecords, places: &[u64], rejected: Vec<RejectedRow>) -> Vec<Reject> {
    let reject = |rejected: RejectedRow| {
        let place = places.get(rejected.row).copied().unwrap_or_default();
        Reject {
            at: RejectedAt::Transform,
            reason: rejected.reason,
            field: rejected.field,
            record: Bytes::copy_from_slice(raw.get(place)),
            page: page.position.index,
            place,
            received_at: page.received_at,
            cursor: None,
            key_hash: None,
        }
    };
    rejected.into_iter().map(reject).collect()
}

/// What is kept of a page that was refused for good. Always the same of the same page: it is put aside once.
fn page_reject(page: &RawPage, aside: &Aside) -> Reject {
    let record = serde_json::json!({ "request": aside.request, "status": aside.status, "body": aside.body });
    Reject {
        at: RejectedAt::Page,
        reason: aside.reason.clone(),
        field: String::new(),
        record: Bytes::from(record.to_string()),
        page: page.position.index,
        place: 0,
        received_at: page.received_at,
        cursor: None,
        key_hash: None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    OutOfWindow,
    Duplicate,
    Deleted,
}

/// Keys are told apart within their parameter set: two accounts may count their orders both from 1.
fn key_prefix(partition: &PartitionKey) -> String {
    match partition.as_str() {
        "" => String::new(),
        set => format!("{},", serde_json::Value::from(set)),
    }
}

fn find_deleted(deleted: &[bool], fates: &mut [Fate]) {
    for (fate, deleted) in fates.iter_mut().zip(deleted) {
        if *fate == Fate::Kept && *deleted {
            *fate = Fate::Deleted;
        }
    }
}

/// The same where a page counts for other stretches, too.
fn cut_times(span: &Span, also: &[Span], value: &CursorKey) -> Fate {
    let fates = also.iter().map(|also| cut_time(also, value));
    fates.fold(cut_time(span, value), |fate, other| if fate == Fate::OutOfWindow { other } else { fate })
}

fn cut_time(span: &Span, value: &CursorKey) -> Fate {
    let from = span.from.map_or(i128::MIN, |from| i128::from(from.as_microsecond()));
    let to = i128::from(span.to.as_microsecond());
    match value.number() {
        Some(value) if from <= value && value < to => Fate::Kept,
        _ => Fate::OutOfWindow,
    }
}

/// What identifies and orders a page's records: one entry each.
struct Identity<'a> {
    prefix: &'a str,
    keys: Vec<String>,
    /// Empty for a stream without a cursor.
    cursors: Vec<CursorKey>,
}

impl Identity<'_> {
    /// The marks of the rows that came through the steps, and the records that leave no row.
    fn tell(&self, fates: &[Fate], transformed: &Transformed) -> Result<(RowMarks, Vec<Gone>), RefineError> {
        let cursor = |record: usize| self.cursors.get(record).cloned().unwrap_or(CursorKey::NONE);
        let key = |record: usize| format!("{}{}", self.prefix, self.keys.get(record).map_or("", String::as_str));
        let mut marks = RowMarks::default();
        let mut gone = Vec::new();
        let mut rows = 0..transformed.rows.num_rows();
        let mut rejected = transformed.rejected.iter().map(|rejected| rejected.row).peekable();
        let mut index = 0;
        for (record, fate) in fates.iter().enumerate() {
            let kind = match fate {
                Fate::Deleted => OpKind::Deleted,
                Fate::Kept => {
                    let here = index;
                    index += 1;
                    if rejected.next_if_eq(&here).is_some() {
                        continue;
                    }
                    let next = rows.start;
                    let came_through = match &transformed.places {
                        Some(places) => places.get(next) == Some(&here),
                        None => next < rows.end,
                    };
                    if came_through {
                        rows.start += 1;
                        marks.keys.push(key(record));
                        if !self.cursors.is_empty() {
                            marks.cursors.push(cursor(record));
                        }
                        continue;
                    }
                    OpKind::Filtered
                }
                Fate::OutOfWindow | Fate::Duplicate => continue,
            };
            gone.push(Gone { key: key(record), cursor: cursor(record), kind, before: rows.start });
        }
        if marks.keys.len() != transformed.rows.num_rows() {
            let message = "rows and their keys went different ways through the steps".to_owned();
            return Err(RefineError::Slice { kind: ErrorKind::Bug, message });
        }
        marks.hashes = content_hashes(&transformed.rows, &marks.cursors)
            .map_err(|error| RefineError::Slice { kind: error.kind, message: error.to_string() })?;
        Ok((marks, gone))
    }
}

fn keep(rows: RecordBatch, places: Vec<u64>, fates: &[Fate]) -> Result<(RecordBatch, Vec<u64>), RefineError> {
    if fates.iter().all(|fate| *fate == Fate::Kept) {
        return Ok((rows, places));
    }
    let mask: BooleanArray = fates.iter().map(|fate| Some(*fate == Fate::Kept)).collect();
    let rows = filter_record_batch(&rows, &mask)
        .map_err(|error| RefineError::Slice { kind: ErrorKind::Bug, message: format!("rows cannot be cut: {error}") })?;
    let places = places.into_iter().zip(fates).filter(|(_, fate)| **fate == Fate::Kept).map(|(place, _)| place).collect();
    Ok((rows, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_lacks_a_record_is_refused() {
        // D-44
        let counts = Counts { fetched: 3, kept: 1, filtered: 1, rejected: 1, ..Counts::default() };
        assert!(check_counts(0, &counts).is_ok());
        let Err(RefineError::Slice { kind, message }) = check_counts(0, &Counts { kept: 0, ..counts }) else { panic!("taken") };
        assert!(kind == ErrorKind::Bug && message.starts_with("the records of page 1 do not add up"), "{message}");
    }
}
