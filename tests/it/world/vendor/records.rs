//! Records made by varying a sample, and how vendors write instants.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};
use serde_json::Value;

use super::description::Stream;

/// One record as the vendor has it now.
#[derive(Clone, Debug)]
pub struct Row {
    pub value: Value,
    /// The value of its cursor, no finer than it is written.
    pub at: Option<Timestamp>,
    /// The record of the parent stream that it belongs to.
    pub under: Option<Value>,
}

/// 2026-01-01T00:00:00Z, where a fake's time begins.
const START: i64 = 1_767_225_600;

/// The instant after so many of a fake's steps: they fit no unit, so that what is cut off shows.
pub fn instant(steps: usize) -> Timestamp {
    let step = SignedDuration::from_micros(37 * 60 * 1_000_000 + 1_500);
    Timestamp::from_second(START).unwrap() + step * i32::try_from(steps).unwrap()
}

/// Record `number` of a stream, standing at `steps`.
pub fn make(stream: &Stream, number: usize, steps: usize) -> Row {
    let mut row = Row { value: serde_json::from_str(&stream.sample).unwrap(), at: None, under: None };
    for (field, form) in &stream.vary {
        put(&mut row.value, field, fill(form, number));
    }
    if stream.id.form != "cursor" {
        put(&mut row.value, &stream.id.field, fill(&stream.id.form, number));
    }
    if let Some(deleted) = stream.deleted.as_ref().filter(|deleted| number.is_multiple_of(deleted.every)) {
        put(&mut row.value, &deleted.field, deleted.value.clone());
    }
    stamp(stream, &mut row, steps);
    row
}

/// The record changed at `steps`.
pub fn stamp(stream: &Stream, row: &mut Row, steps: usize) {
    let Some(cursor) = &stream.cursor else { return };
    let text = written(instant(steps), &cursor.form);
    row.at = Some(read(&text, &cursor.form));
    let is_number = get(&row.value, &cursor.field).is_some_and(Value::is_number);
    put(&mut row.value, &cursor.field, if is_number { text.parse::<i64>().unwrap().into() } else { text.into() });
}

pub fn fill(form: &str, number: usize) -> Value {
    if form == "number" {
        return number.into();
    }
    let Some((before, after)) = form.split_once("{n") else { return form.into() };
    let (width, after) = after.split_once('}').unwrap();
    let width = width.trim_start_matches(':').parse().unwrap_or(0);
    format!("{before}{number:0width$}{after}").into()
}

/// An instant as text in one of the forms of the README.
pub fn written(at: Timestamp, form: &str) -> String {
    let pattern = match form {
        "epoch_s" => return at.as_second().to_string(),
        "epoch_ms" => return at.as_millisecond().to_string(),
        "epoch_decimal" => return format!("{}.{:06}", at.as_second(), at.subsec_microsecond()),
        "rfc3339" => "%Y-%m-%dT%H:%M:%SZ",
        "rfc3339_ms" => "%Y-%m-%dT%H:%M:%S%.3fZ",
        "basic_offset" => "%Y-%m-%dT%H:%M:%S%.3f+0000",
        "naive" => "%Y-%m-%dT%H:%M:%S",
        "naive_us" => "%Y-%m-%dT%H:%M:%S%.6f",
        "minute" => "%Y-%m-%d %H:%M",
        "date" => "%Y-%m-%d",
        other => panic!("no form is called {other}"),
    };
    at.strftime(pattern).to_string()
}

/// The instant that a text of this form means; without an offset it is UTC.
pub fn read(text: &str, form: &str) -> Timestamp {
    let micros_each = match form {
        "epoch_s" | "epoch_decimal" => 1_000_000,
        "epoch_ms" => 1_000,
        _ => {
            let zoned = text.replace(' ', "T").replace("+0000", "Z").parse::<Timestamp>();
            return zoned.unwrap_or_else(|_| {
                let local: civil::DateTime =
                    text.parse().unwrap_or_else(|error| panic!("the vendor cannot read {text}: {error}"));
                local.to_zoned(TimeZone::UTC).unwrap().timestamp()
            });
        }
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().unwrap_or_else(|error| panic!("the vendor cannot read {text}: {error}"));
    let part: i64 = format!("{part:0<6}")[..6].parse().unwrap();
    Timestamp::from_microsecond(whole * micros_each + part * micros_each / 1_000_000).unwrap()
}

/// The value at a dotted path.
pub fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |at, step| match at {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

/// Puts a value at a dotted path of objects, which are made where they are missing.
pub fn put(value: &mut Value, path: &str, new: Value) {
    let mut at = value;
    for step in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        at = &mut at[step];
    }
    *at = new;
}
