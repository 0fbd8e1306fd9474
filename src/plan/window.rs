//! Where the window begins and ends, and what is not covered of it.

use jiff::civil::Time;
use jiff::{SignedDuration, Timestamp, ToSpan, Unit};

use crate::config::catalog::{Cursor, CursorType};
use crate::cursor::CursorKey;
use crate::fault::Guards;
use crate::slice::{CursorMark, Span};

/// The end of closed time: no row with an earlier cursor can appear any more, as far as `settle` promises. Dates are closed once
/// their day is over in the source's zone, so today is left out. `None` where time would leave its range.
pub fn closed_end(cursor: &Cursor, settle: SignedDuration, source_now: Timestamp) -> Option<Timestamp> {
    if !Guards::standing().closed_time {
        return whole_micros(source_now);
    }
    let settled = source_now.checked_sub(settle).ok()?;
    match cursor.cursor_type {
        CursorType::Date => day_start(cursor, settled),
        _ => whole_micros(settled),
    }
}

/// How far a source's clock may be ahead of ours and still be believed. A clock that is further ahead is broken, and what it called
/// closed would never be read.
pub const CLOCK_AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24);

/// The source's now as far as it can be told before it was asked: ours, or a day on where coverage shows that its clock is ahead. The
/// first answer tells better, and cuts the slice.
///
/// The error is the end of coverage that lies further ahead than any clock that is believed: nothing would ever be read again.
pub fn expected_now(cursor: &Cursor, settle: SignedDuration, covered: &[Span], now: Timestamp) -> Result<Timestamp, Timestamp> {
    let Some(end) = covered.last().map(|span| span.to) else { return Ok(now) };
    if closed_end(cursor, settle, now).is_some_and(|closed| end <= closed) {
        return Ok(now);
    }
    let ahead = now.checked_add(CLOCK_AHEAD_MAX).unwrap_or(Timestamp::MAX);
    match closed_end(cursor, settle, ahead).is_some_and(|closed| end <= closed) {
        true => Ok(ahead),
        false => Err(end),
    }
}

/// Where a stretch can begin that is to begin here: dates begin with their day, other cursors on whole microseconds.
pub fn align_start(cursor: &Cursor, start: Option<Timestamp>) -> Option<Timestamp> {
    match cursor.cursor_type {
        CursorType::Date => start.map(|start| day_start(cursor, start).unwrap_or(start)),
        _ => start.map(|start| whole_micros(start).unwrap_or(start)),
    }
}

/// Where a slice that begins at `from` ends: one step on. Steps of dates are whole days of the source's zone, so that a day of 23
/// or 25 hours is still one day.
pub fn next_end(cursor: &Cursor, from: Timestamp, step: SignedDuration) -> Timestamp {
    let next = match cursor.cursor_type {
        CursorType::Date => days_later(cursor, from, step),
        _ => from.checked_add(step).ok(),
    };
    next.filter(|next| *next > from).unwrap_or(Timestamp::MAX)
}

fn days_later(cursor: &Cursor, from: Timestamp, step: SignedDuration) -> Option<Timestamp> {
    let days = (step.as_secs() + 86_399) / 86_400;
    let date = from.to_zoned(cursor.timezone.clone()).date().checked_add(days.max(1).days()).ok()?;
    date.to_zoned(cursor.timezone.clone()).ok().map(|zoned| zoned.timestamp())
}

fn day_start(cursor: &Cursor, at: Timestamp) -> Option<Timestamp> {
    let date = at.to_zoned(cursor.timezone.clone()).date();
    date.to_datetime(Time::midnight()).to_zoned(cursor.timezone.clone()).ok().map(|zoned| zoned.timestamp())
}

// Cursor values are compared in microseconds; a bound between two of them would be a bound that no reader of the lake can write.
fn whole_micros(at: Timestamp) -> Option<Timestamp> {
    let round = jiff::TimestampRound::new().smallest(Unit::Microsecond).mode(jiff::RoundMode::Floor);
    at.round(round).ok()
}

/// The mark that a whole-number cursor is read from again. Keys are told apart by what the table holds, not by the mark.
pub fn behind(mark: &CursorMark, units: i128, start: Option<&CursorMark>) -> CursorMark {
    // Texts cannot be counted back from; `check` refuses it.
    let Some(value) = mark.value.number() else { return mark.clone() };
    let value = CursorKey::Number(value.saturating_sub(units));
    CursorMark { value: start.map_or(value.clone(), |start| value.max(start.value.clone())), keys: Vec::new() }
}

/// What of `[start, end)` no span covers, in order. Spans may overlap and come in any order.
pub fn gaps(start: Option<Timestamp>, end: Timestamp, covered: &[Span]) -> Vec<Span> {
    if start.is_some_and(|start| start >= end) {
        return Vec::new();
    }
    let mut left = vec![Span::new(start, end)];
    for span in covered {
        left = left.iter().flat_map(|piece| piece.without(span)).collect();
    }
    left
}
