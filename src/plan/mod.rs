//! Window and coverage to slices: the window less what is covered, cut into steps. Pure; time is an argument.
//!
//! Deliberately absent: what a slice costs (the quota's), how it is read (the source's), clocks.

#[cfg(test)]
pub(crate) mod fixture;
mod outline;
mod window;

use jiff::{SignedDuration, Timestamp};

use crate::config::catalog::{Cursor, CursorType, Job, Lookback, Mode};
use crate::fault::Guards;
use crate::ids::PartitionKey;
use crate::slice::{Coverage, CursorMark, Reach, Slice, Span};

pub use outline::{Outline, outline};
pub use window::{CLOCK_AHEAD_MAX, align_start, closed_end, expected_now, gaps, next_end};

/// The next slice of a parameter set in a run: the first piece of the window that is neither covered nor was tried in this run.
///
/// `source_now` is the source's own clock as far as it is known. `tried` holds the slices of the set that this run has read, whatever
/// became of them: a failed one is left as a hole for the next run.
pub fn next(job: &Job, partition: &PartitionKey, coverage: &Coverage, tried: &[Slice], source_now: Timestamp) -> Option<Slice> {
    let partition = partition.clone();
    let Some(cursor) = job.stream.window_cursor() else {
        return tried.is_empty().then_some(Slice { partition, reach: Reach::Snapshot });
    };
    // What replaces a table is one slice: a second one would replace the first.
    if job.mode == Mode::Replace && !tried.is_empty() {
        return None;
    }
    if cursor.cursor_type == CursorType::Token {
        // What replaces a table is all that there is, whatever has changed.
        let token = coverage.token(&partition).filter(|_| job.mode != Mode::Replace).map(str::to_owned);
        return tried.is_empty().then_some(Slice { partition, reach: Reach::Token(token) });
    }
    if cursor.cursor_type.has_mark() {
        let start = job.window.start_integer.map(CursorMark::at);
        let mark =
            coverage.cursor_mark(&partition).cloned().filter(|mark| start.as_ref().is_none_or(|start| start.value <= mark.value));
        let mark = match (job.mode, job.window.lookback) {
            (Mode::Replace, _) => start,
            (_, Some(Lookback::Integer(units))) => mark.map(|mark| window::behind(&mark, units, start.as_ref())).or(start),
            _ => mark.or(start),
        };
        return tried.is_empty().then_some(Slice { partition, reach: Reach::Mark(mark) });
    }
    let end = closed_end(cursor, job.window.settle, source_now)?;
    let start = window::align_start(cursor, job.window.start);
    let mut known = known_spans(job, cursor, coverage, &partition);
    known.extend(tried.iter().filter_map(Slice::span));
    let gap = gaps(start, end, &known).into_iter().next()?;
    Some(Slice { partition, reach: Reach::Time(first_piece(job, gap)) })
}

/// Whether all of a stretch of time is still to be read.
pub fn is_open(job: &Job, coverage: &Coverage, slice: &Slice) -> bool {
    let (Some(cursor), Some(span)) = (job.stream.window_cursor(), slice.span()) else { return false };
    let known = known_spans(job, cursor, coverage, &slice.partition);
    let start = window::align_start(cursor, job.window.start);
    let is_whole = gaps(start, span.to, &known).iter().any(|gap| gap.from <= span.from && gap.to == span.to);
    is_whole || !Guards::standing().only_open
}

/// What an API has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Up to here the set was read.
    pub mark: Timestamp,
    /// The API gives nothing of what changed before.
    pub horizon: Timestamp,
}

/// Whether a set is to be read on from where the API gives nothing any more: what changed in between would be missing without a word.
/// What was never read is not: there a source simply begins later than asked.
pub fn forgotten(job: &Job, partition: &PartitionKey, coverage: &Coverage, now: Timestamp) -> Option<Forgotten> {
    let cursor = job.stream.window_cursor().filter(|_| job.mode != Mode::Replace)?;
    let horizon = now.checked_sub(cursor.history_max?).ok()?;
    let covered = coverage.spans(partition);
    let start = window::align_start(cursor, job.window.start);
    let mark = gaps(start, now, covered).first()?.from.filter(|from| covered.iter().any(|span| span.to == *from))?;
    (mark < horizon && Guards::standing().known_horizon).then_some(Forgotten { mark, horizon })
}

/// What need not be read: what is covered, less what is read again behind the mark. What replaces a table is read whole.
fn known_spans(job: &Job, cursor: &Cursor, coverage: &Coverage, partition: &PartitionKey) -> Vec<Span> {
    let covered = coverage.spans(partition);
    let Some(Lookback::Time(length)) = job.window.lookback else {
        return if job.mode == Mode::Replace { Vec::new() } else { covered.to_vec() };
    };
    // Behind each end, not only behind the last: what lies after a hole may be another writer's, which did not look back over what only
    // this one knows to be read.
    let before = |span: &Span| {
        let horizon = span.to.checked_sub(length).ok()?;
        Some(span.without(&Span::new(window::align_start(cursor, Some(horizon)), span.to)))
    };
    if !Guards::standing().behind_each_end
        && let Some((last, others)) = covered.split_last()
    {
        return others.iter().cloned().chain(before(last).into_iter().flatten()).collect();
    }
    covered.iter().filter_map(before).flatten().collect()
}

fn first_piece(job: &Job, gap: Span) -> Span {
    let step = step(job);
    match (job.stream.window_cursor(), step, gap.from) {
        (Some(cursor), Some(step), Some(from)) => Span::new(Some(from), next_end(cursor, from, step).min(gap.to)),
        _ => gap,
    }
}

/// The step that counts: an API that cannot be asked for an upper bound is read in one slice.
fn step(job: &Job) -> Option<SignedDuration> {
    let bounded = job.stream.window_cursor().is_some_and(|cursor| cursor.has_upper_bound(job.stream.window_stream()));
    job.window.step.filter(|_| bounded && job.mode != Mode::Replace)
}

/// A stretch in two, where it is longer than what the cursor can tell apart. One without a beginning is taken to begin with 1970: what
/// lies before it stays with the first half.
pub fn halves(cursor: &Cursor, span: &Span) -> Option<(Span, Span)> {
    let from = span.from.unwrap_or(Timestamp::UNIX_EPOCH);
    let length = span.to.duration_since(from);
    if length <= cursor.precision {
        return None;
    }
    let middle = window::align_start(cursor, from.checked_add(length / 2).ok())?;
    let is_inside = from < middle && middle < span.to;
    is_inside.then(|| (Span::new(span.from, middle), Span::new(Some(middle), span.to)))
}

impl Slice {
    /// The stretch of time that the slice reads, for time-like cursors.
    pub fn span(&self) -> Option<Span> {
        match &self.reach {
            Reach::Time(span) => Some(*span),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
