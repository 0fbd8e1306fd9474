//! `[window]`, with the stream's cursor in view.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};

use crate::config::catalog::{Cursor, CursorType, Lookback, Stream, Window};
use crate::config::node::{Start, Table};
use crate::config::problem::{Place, Report};

use super::cursor::{self, named};

const SETTLE: SignedDuration = SignedDuration::from_secs(60);

/// `stream` is `None` where it is not known well enough.
pub(super) fn check(table: Option<&Table>, stream: Option<&Stream>, report: &mut Report) -> Window {
    let mut window = Window { start: None, start_integer: None, step: None, settle: SETTLE, lookback: None };
    let Some(table) = table else {
        if let Some(cursor) = stream.and_then(Stream::window_cursor) {
            check_hours(&Place { key: "window.start".to_owned(), ..Place::default() }, cursor, None, report);
        }
        return window;
    };
    window.settle = table.duration("settle").unwrap_or(SETTLE);
    window.step = table.duration("step");
    if window.step.is_some_and(|step| step.is_zero()) {
        report.error(&table.place("step"), "`0s` is not a step", "give a duration above zero, such as \"1d\"");
        window.step = None;
    }
    let Some(stream) = stream else {
        return window;
    };
    match stream.window_cursor() {
        None => refuse(table, &["start", "step", "settle", "lookback"], "a stream without a cursor", report),
        Some(cursor) => {
            check_start(table, cursor, &mut window, report);
            check_hours(&table.place("start"), cursor, window.start, report);
            check_lookback(table, cursor, stream, &mut window, report);
            check_step(table, cursor, stream, &mut window, report);
        }
    }
    window
}

fn refuse(table: &Table, keys: &[&str], whom: &str, report: &mut Report) {
    for key in keys.iter().filter(|key| table.has(key)) {
        report.error(&table.place(key), format!("`{key}` has no meaning for {whom}"), "take it out");
    }
}

fn check_start(table: &Table, cursor: &Cursor, window: &mut Window, report: &mut Report) {
    if matches!(cursor.cursor_type, CursorType::String | CursorType::Token) {
        return refuse(table, &["start"], named(cursor.cursor_type), report);
    }
    let integer = cursor.cursor_type == CursorType::Integer;
    match table.start("start") {
        None => {}
        Some(Start::Integer(number)) if integer => window.start_integer = Some(i128::from(number)),
        Some(_) if integer => {
            report.error(
                &table.place("start"),
                "the cursor is a whole number",
                "write the first number that is read, without quotes",
            );
        }
        Some(Start::Integer(_)) => {
            report.error(
                &table.place("start"),
                "the cursor is a point in time",
                "write an instant, such as \"2019-01-01T00:00:00Z\"",
            );
        }
        Some(Start::Instant(start)) => window.start = Some(start),
        Some(Start::Day(day)) => match midnight(day, &cursor.timezone) {
            Some(start) => window.start = Some(start),
            None => report.error(
                &table.place("start"),
                "the day is out of range",
                "write an instant, such as \"2019-01-01T00:00:00Z\"",
            ),
        },
    }
}

fn check_hours(place: &Place, cursor: &Cursor, start: Option<Timestamp>, report: &mut Report) {
    if cursor::meets_an_ambiguous_hour(cursor, start) {
        let help = "begin later, or add `%:z` to the cursor's `format`, or give it precision = \"1h\"";
        report.error(place, cursor::AMBIGUOUS, help);
    }
}

fn midnight(day: civil::Date, timezone: &TimeZone) -> Option<Timestamp> {
    Some(day.to_zoned(timezone.clone()).ok()?.timestamp())
}

fn check_lookback(table: &Table, cursor: &Cursor, stream: &Stream, window: &mut Window, report: &mut Report) {
    if matches!(cursor.cursor_type, CursorType::String | CursorType::Token) {
        return refuse(table, &["lookback"], named(cursor.cursor_type), report);
    }
    let integer = cursor.cursor_type == CursorType::Integer;
    let place = table.place("lookback");
    window.lookback = match (table.duration("lookback"), table.integer("lookback")) {
        (Some(_), _) if integer => {
            report.error(&place, "the cursor is a whole number", "write how many numbers are read again, without quotes");
            None
        }
        (_, Some(_)) if !integer => {
            report.error(&place, "the cursor is a point in time", "write a length of time, such as \"1h\"");
            None
        }
        (Some(length), _) if !length.is_zero() => Some(Lookback::Time(length)),
        (_, Some(units)) if units > 0 => Some(Lookback::Integer(i128::from(units))),
        _ => None,
    };
    if window.lookback.is_some() && stream.primary_key.is_empty() {
        let message = "`lookback` needs a key: rows that are read again are told apart by it";
        report.error(&place, message, "add primary_key = [\"id\"] to the stream, or take `lookback` out");
    }
}

fn check_step(table: &Table, cursor: &Cursor, stream: &Stream, window: &mut Window, report: &mut Report) {
    if !cursor.cursor_type.is_time() {
        return refuse(table, &["step", "settle"], named(cursor.cursor_type), report);
    }
    if table.has("step") && !cursor.has_upper_bound(stream) {
        let help = "add a query entry with `{{ to }}` to the stream if the API takes an upper bound, else take `step` out";
        report.warning(&table.place("step"), "`step` is ignored: the API is never asked for an upper bound", help);
        window.step = None;
    }
}
