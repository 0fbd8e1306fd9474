//! A page to rows that count: decoded, cut to the slice, put through the steps. Pure work, off the async threads.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use bytes::Bytes;

use crate::batch::{Batch, Counts};
use crate::config::catalog::{Job, PagingKind};
use crate::cursor::CursorColumn;
use crate::decode::{CursorSpec, DecodeError, DecodeSpec, Decoded, Decoder, raw_records};
use crate::error::ErrorKind;
use crate::page::{Envelope, RawPage, ResponsePath};
use crate::reject::{Reject, RejectedAt};
use crate::schema::TableSchema;
use crate::slice::{IntegerMark, Reach};
use crate::transform::{Steps, TransformError};

use super::recent::Recent;

/// What a page came to.
pub(super) struct Refined {
    pub batch: Batch,
    pub rejects: Vec<Reject>,
    pub counts: Counts,
    pub envelope: Envelope,
    /// What the page changed in the read schema.
    pub changes: Vec<String>,
}

/// Decoder and steps of one slice, with what the slice is cut to.
pub(super) struct Refinery {
    decoder: Decoder,
    steps: Steps,
    records: ResponsePath,
    reach: Reach,
    /// The largest whole-number cursor seen, with the keys at it.
    largest: Option<IntegerMark>,
    /// Where pages can shift and records can be told apart.
    recent: Option<Recent>,
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
        reach: Reach,
    ) -> Result<Self, RefineError> {
        let stream = &job.stream;
        let spec = DecodeSpec {
            records: stream.records.clone(),
            records_optional: stream.records_optional,
            declared: job.columns.clone(),
            cursor: stream.cursor.as_ref().map(|cursor| CursorSpec {
                field: cursor.field.clone(),
                cursor_type: cursor.cursor_type,
                timezone: cursor.timezone.clone(),
            }),
            key: stream.primary_key.clone(),
            wanted,
            on_type_change: job.on_type_change,
        };
        let decoder = Decoder::new(spec, committed.cloned())
            .map_err(|error| RefineError::Slice { kind: error.kind, message: error.to_string() })?;
        let may_shift = !stream.primary_key.is_empty() && !matches!(stream.paging.kind, PagingKind::None);
        let recent = may_shift.then(Recent::default);
        Ok(Refinery { decoder, steps: Steps::new(job)?, records: stream.records.clone(), reach, largest: None, recent })
    }

    /// Narrows the slice to closed time, once the source's clock is known.
    pub(super) fn set_reach(&mut self, reach: Reach) {
        self.reach = reach;
    }

    pub(super) fn read_schema(&self) -> &TableSchema {
        self.decoder.schema()
    }

    /// The mark that a whole-number slice reaches.
    pub(super) fn integer_mark(&self) -> Option<&IntegerMark> {
        self.largest.as_ref()
    }

    pub(super) fn refine(&mut self, page: &RawPage) -> Result<Refined, RefineError> {
        let decoded = self.decoder.decode(page).map_err(|error| match error.kind {
            ErrorKind::Unavailable => RefineError::Page(error),
            kind => RefineError::Slice { kind, message: error.to_string() },
        })?;
        let Decoded { rows, places, mut rejects, envelope, cursor, key_hashes, changes } = decoded;
        let mut counts = Counts { fetched: envelope.records, ..Counts::default() };
        let mut fates = self.cut(rows.num_rows(), cursor.as_ref(), key_hashes.as_deref());
        self.find_repeated(page, &places, &mut fates);
        let mut reject_fates = Vec::with_capacity(rejects.len());
        rejects.retain(|reject| {
            let fate = self.cut_reject(reject);
            reject_fates.push(fate);
            fate == Fate::Kept
        });
        let count = |wanted: Fate| fates.iter().chain(&reject_fates).filter(|fate| **fate == wanted).count() as u64;
        counts.out_of_window = count(Fate::OutOfWindow);
        counts.duplicate = count(Fate::Duplicate);
        let (rows, places) = keep(rows, places, &fates)?;
        let transformed = self.steps.apply(rows)?;
        counts.filtered = transformed.filtered;
        counts.kept = transformed.rows.num_rows() as u64;
        rejects.extend(self.transform_rejects(page, &places, transformed.rejected));
        counts.rejected = rejects.len() as u64;
        let batch = Batch { rows: transformed.rows, page: page.position.index, extracted_at: page.received_at };
        if !counts.add_up() {
            let message = format!("the records of page {} do not add up: {counts:?}", page.position.index + 1);
            return Err(RefineError::Slice { kind: ErrorKind::Bug, message });
        }
        Ok(Refined { batch, rejects, counts, envelope, changes })
    }

    /// What becomes of each row by its cursor alone. Compared on parsed values: what the API makes of its own filter is its affair.
    fn cut(&mut self, rows: usize, cursor: Option<&CursorColumn>, keys: Option<&[String]>) -> Vec<Fate> {
        match (&self.reach, cursor) {
            (Reach::Time(span), Some(CursorColumn::Time(values))) => {
                let from = span.from.map_or(i64::MIN, |from| from.as_microsecond());
                let to = span.to.as_microsecond();
                let fate = |value: &Option<i64>| match value {
                    Some(value) if from <= *value && *value < to => Fate::Kept,
                    _ => Fate::OutOfWindow,
                };
                values.iter().map(fate).collect()
            }
            (Reach::Integer(mark), Some(CursorColumn::Integer(values))) => {
                let mark = mark.clone();
                let mut fates = Vec::with_capacity(rows);
                for (row, value) in values.iter().enumerate() {
                    let key = keys.and_then(|keys| keys.get(row));
                    fates.push(self.cut_integer(mark.as_ref(), *value, key));
                }
                fates
            }
            _ => vec![Fate::Kept; rows],
        }
    }

    /// A record that does not fit belongs to a slice like any other: else each slice that sees it would put it aside again.
    fn cut_reject(&mut self, reject: &Reject) -> Fate {
        let Some(cursor) = reject.cursor else { return Fate::Kept };
        match &self.reach {
            Reach::Time(span) => {
                let from = span.from.map_or(i128::MIN, |from| i128::from(from.as_microsecond()));
                let to = i128::from(span.to.as_microsecond());
                if from <= cursor && cursor < to { Fate::Kept } else { Fate::OutOfWindow }
            }
            // Without a key it cannot be told from another one at the mark.
            Reach::Integer(Some(mark)) if reject.key_hash.is_none() => {
                if cursor < mark.value {
                    Fate::OutOfWindow
                } else {
                    Fate::Kept
                }
            }
            Reach::Integer(mark) => {
                let mark = mark.clone();
                self.cut_integer(mark.as_ref(), Some(cursor), reject.key_hash.as_ref())
            }
            Reach::Snapshot => Fate::Kept,
        }
    }

    /// A record that moves while its pages are read comes twice, byte for byte: with a key it is one record, not two.
    fn find_repeated(&mut self, page: &RawPage, places: &[u64], fates: &mut [Fate]) {
        let Some(recent) = &mut self.recent else { return };
        for (record, fate) in raw_records(page, &self.records, places).iter().zip(fates) {
            if *fate == Fate::Kept && !recent.is_new(record) {
                *fate = Fate::Duplicate;
            }
        }
    }

    /// Forgets which records came before: the slice's pages are about to be read from the first one again.
    pub(super) fn begin_anew(&mut self) {
        if let Some(recent) = &mut self.recent {
            recent.clear();
        }
    }

    fn cut_integer(&mut self, mark: Option<&IntegerMark>, value: Option<i128>, key: Option<&String>) -> Fate {
        let Some(value) = value else { return Fate::OutOfWindow };
        if let Some(mark) = mark {
            if value < mark.value {
                return Fate::OutOfWindow;
            }
            if value == mark.value && key.is_none_or(|key| mark.keys.binary_search(key).is_ok()) {
                return Fate::Duplicate;
            }
        }
        let start = self.largest.get_or_insert_with(|| mark.cloned().unwrap_or(IntegerMark { value, keys: Vec::new() }));
        if value > start.value {
            *start = IntegerMark { value, keys: Vec::new() };
        }
        if value == start.value
            && let Some(key) = key
            && let Err(place) = start.keys.binary_search(key)
        {
            start.keys.insert(place, key.clone());
        }
        Fate::Kept
    }

    fn transform_rejects(&self, page: &RawPage, places: &[u64], rejected: Vec<crate::transform::RejectedRow>) -> Vec<Reject> {
        let rows: Vec<u64> = rejected.iter().map(|reject| places.get(reject.row).copied().unwrap_or_default()).collect();
        let mut records = if rows.is_empty() { Vec::new() } else { raw_records(page, &self.records, &rows) }.into_iter();
        let mut rejects = Vec::with_capacity(rejected.len());
        for (reject, place) in rejected.into_iter().zip(rows) {
            rejects.push(Reject {
                at: RejectedAt::Transform,
                reason: reject.reason,
                field: reject.field,
                record: records.next().unwrap_or_else(Bytes::new),
                page: page.position.index,
                place,
                received_at: page.received_at,
                cursor: None,
                key_hash: None,
            });
        }
        rejects
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    OutOfWindow,
    Duplicate,
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
