//! How the ends of a slice are written into requests.
//!
//! The API is asked wider than the slice: by one `precision`, and then outwards to what the format can express. Rows are cut to
//! the slice later, on parsed values; so an API that rounds, or compares text, loses nothing and doubles nothing.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{RoundMode, SignedDuration, Span, Timestamp, TimestampRound, ToSpan, Unit};

use crate::config::catalog::{Cursor, CursorFormat, CursorType};
use crate::slice::Reach;

/// `from` and `to` as the request says them; `None` renders to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

/// The bounds of a slice. The error says what is wrong with the cursor's format.
pub(super) fn bounds(cursor: Option<&Cursor>, reach: &Reach) -> Result<Bounds, String> {
    match (cursor, reach) {
        (None, _) | (_, Reach::Snapshot | Reach::Mark(None)) => Ok(Bounds::default()),
        (Some(_), Reach::Mark(Some(mark))) => Ok(Bounds { from: Some(mark.value.to_string()), to: None }),
        (Some(_), Reach::Token(token)) => Ok(Bounds { from: token.clone(), to: None }),
        (Some(cursor), Reach::Time(span)) => {
            let from = span.from.map(|from| write_from(cursor, from)).transpose()?;
            Ok(Bounds { from, to: Some(write_to(cursor, span.to)?) })
        }
    }
}

fn write_from(cursor: &Cursor, from: Timestamp) -> Result<String, String> {
    let wide = from.checked_sub(cursor.precision).unwrap_or(Timestamp::MIN);
    match Granule::of(cursor) {
        Granule::Exact(granule) => write_exact(cursor, round(wide, granule, RoundMode::Floor)),
        Granule::Civil { pattern, unit } => {
            // Writing leaves out what is smaller than the unit: that is rounding down.
            let floor = floor(wide.to_zoned(cursor.timezone.clone()).datetime(), unit);
            write_civil(pattern, clear_of_folds(floor, &cursor.timezone, (-1).hours()))
        }
    }
}

fn write_to(cursor: &Cursor, to: Timestamp) -> Result<String, String> {
    let wide = to.checked_add(cursor.precision).unwrap_or(Timestamp::MAX);
    match Granule::of(cursor) {
        Granule::Exact(granule) => {
            let mut end = round(wide, granule, RoundMode::Ceil);
            if cursor.to_inclusive {
                // Never before the slice's own end, whatever the API makes of its bound.
                end = (end - granule.length()).max(round(to, granule, RoundMode::Ceil));
            }
            write_exact(cursor, end)
        }
        Granule::Civil { pattern, unit } => {
            let mut end = ceil(wide.to_zoned(cursor.timezone.clone()).datetime(), unit);
            if cursor.to_inclusive {
                let least = ceil(to.to_zoned(cursor.timezone.clone()).datetime(), unit);
                end = end.checked_sub(one(unit)).unwrap_or(end).max(least);
            }
            write_civil(pattern, clear_of_folds(end, &cursor.timezone, 1.hour()))
        }
    }
}

/// The smallest step that a format can express.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Granule<'a> {
    /// A moment of time.
    Exact(Exact),
    /// Local time in the cursor's zone.
    Civil { pattern: &'a str, unit: Unit },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exact {
    Second,
    Millisecond,
    Microsecond,
}

impl Exact {
    fn unit(self) -> Unit {
        match self {
            Exact::Second => Unit::Second,
            Exact::Millisecond => Unit::Millisecond,
            Exact::Microsecond => Unit::Microsecond,
        }
    }

    fn length(self) -> SignedDuration {
        match self {
            Exact::Second => SignedDuration::from_secs(1),
            Exact::Millisecond => SignedDuration::from_millis(1),
            Exact::Microsecond => SignedDuration::from_micros(1),
        }
    }
}

impl<'a> Granule<'a> {
    fn of(cursor: &'a Cursor) -> Self {
        match (&cursor.format, cursor.cursor_type) {
            (CursorFormat::Rfc3339, _) | (CursorFormat::Number, CursorType::EpochMs) => Granule::Exact(Exact::Millisecond),
            (CursorFormat::Number, CursorType::EpochUs) => Granule::Exact(Exact::Microsecond),
            (CursorFormat::Number, _) => Granule::Exact(Exact::Second),
            (CursorFormat::Strftime(pattern), _) => Granule::Civil { pattern, unit: finest(pattern) },
        }
    }
}

/// The finest unit that a strftime pattern writes.
fn finest(pattern: &str) -> Unit {
    let mut unit = Unit::Year;
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        // Flags, widths and colons stand between the sign and the letter; after a dot or digits `f` says how many digits.
        let flags = rest.find(|c: char| c.is_ascii_alphabetic() || c == '%').unwrap_or(rest.len());
        let digits: String = rest[..flags].chars().filter(char::is_ascii_digit).collect();
        let Some(letter) = rest[flags..].chars().next() else { break };
        rest = &rest[flags + letter.len_utf8()..];
        unit = unit.min(match letter {
            // Fewer digits than a whole group round as the group above.
            'f' | 'N' => match digits.parse().unwrap_or(9) {
                0..3 => Unit::Second,
                3..6 => Unit::Millisecond,
                _ => Unit::Microsecond,
            },
            'S' | 's' | 'T' | 'c' | 'X' | 'r' => Unit::Second,
            'M' | 'R' => Unit::Minute,
            'H' | 'I' | 'k' | 'l' => Unit::Hour,
            'd' | 'e' | 'j' | 'D' | 'F' | 'x' | 'a' | 'A' | 'u' | 'w' => Unit::Day,
            'm' | 'b' | 'B' | 'h' => Unit::Month,
            _ => Unit::Year,
        });
    }
    unit
}

fn round(at: Timestamp, granule: Exact, mode: RoundMode) -> Timestamp {
    // Only the ends of time cannot be rounded, and they are whole already.
    at.round(TimestampRound::new().smallest(granule.unit()).mode(mode)).unwrap_or(at)
}

fn write_exact(cursor: &Cursor, at: Timestamp) -> Result<String, String> {
    match (&cursor.format, cursor.cursor_type) {
        (CursorFormat::Number, CursorType::EpochMs) => Ok(at.as_millisecond().to_string()),
        (CursorFormat::Number, CursorType::EpochUs) => Ok(at.as_microsecond().to_string()),
        (CursorFormat::Number, _) => Ok(at.as_second().to_string()),
        _ => Ok(at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()),
    }
}

fn write_civil(pattern: &str, at: jiff::Zoned) -> Result<String, String> {
    strtime::format(pattern, &at).map_err(|error| format!("cursor.format `{pattern}` cannot be written: {error}"))
}

fn floor(at: DateTime, unit: Unit) -> DateTime {
    let nanosecond = i32::from(at.millisecond()) * 1_000_000;
    let builder = at.with();
    let floored = match unit {
        Unit::Year => builder.month(1).day(1).hour(0).minute(0).second(0).subsec_nanosecond(0),
        Unit::Month => builder.day(1).hour(0).minute(0).second(0).subsec_nanosecond(0),
        Unit::Day => builder.hour(0).minute(0).second(0).subsec_nanosecond(0),
        Unit::Hour => builder.minute(0).second(0).subsec_nanosecond(0),
        Unit::Minute => builder.second(0).subsec_nanosecond(0),
        Unit::Second => builder.subsec_nanosecond(0),
        Unit::Millisecond => builder.subsec_nanosecond(nanosecond),
        _ => builder.nanosecond(0),
    };
    floored.build().unwrap_or(at)
}

fn ceil(at: DateTime, unit: Unit) -> DateTime {
    let floored = floor(at, unit);
    if floored == at { at } else { floored.checked_add(one(unit)).unwrap_or(at) }
}

fn one(unit: Unit) -> Span {
    match unit {
        Unit::Year => 1.year(),
        Unit::Month => 1.month(),
        Unit::Day => 1.day(),
        Unit::Hour => 1.hour(),
        Unit::Minute => 1.minute(),
        Unit::Second => 1.second(),
        Unit::Millisecond => 1.millisecond(),
        _ => 1.microsecond(),
    }
}

/// A local time that exists twice (the clock was set back) would be read as either: it is moved outwards until it is clear.
/// A local time that does not exist moves the same way.
fn clear_of_folds(at: DateTime, zone: &TimeZone, step: Span) -> jiff::Zoned {
    let mut clear = at;
    // Folds and gaps are a few hours at most.
    for _ in 0..26 {
        if let AmbiguousOffset::Unambiguous { .. } = zone.to_ambiguous_zoned(clear).offset() {
            break;
        }
        let Ok(next) = clear.checked_add(step) else { break };
        clear = next;
    }
    zone.to_ambiguous_zoned(clear).compatible().unwrap_or_else(|_| Timestamp::UNIX_EPOCH.to_zoned(zone.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::catalog::{CursorNulls, Order};
    use crate::slice::{CursorMark, Span as Stretch};

    fn cursor(cursor_type: CursorType, format: CursorFormat) -> Cursor {
        Cursor {
            field: "updated_at".to_owned(),
            cursor_type,
            token: None,
            query: Vec::new(),
            order: Order::None,
            format,
            precision: SignedDuration::from_secs(1),
            timezone: TimeZone::UTC,
            to_inclusive: false,
            nulls: CursorNulls::DeadLetter,
            history_max: None,
        }
    }

    fn strftime(pattern: &str) -> Cursor {
        cursor(CursorType::Timestamp, CursorFormat::Strftime(pattern.to_owned()))
    }

    fn ask(cursor: &Cursor, from: &str, to: &str) -> (String, String) {
        let reach = Reach::Time(Stretch::new(Some(from.parse().unwrap()), to.parse().unwrap()));
        let bounds = bounds(Some(cursor), &reach).unwrap();
        (bounds.from.unwrap(), bounds.to.unwrap())
    }

    fn pair(from: &str, to: &str) -> (String, String) {
        (from.to_owned(), to.to_owned())
    }

    #[test]
    fn timestamps_are_asked_one_precision_wider_and_rounded_outwards() {
        // C-33
        let cursor = cursor(CursorType::Timestamp, CursorFormat::Rfc3339);
        assert_eq!(
            ask(&cursor, "2026-01-01T00:00:00.123456Z", "2026-01-02T00:00:00.123456Z"),
            pair("2025-12-31T23:59:59.123Z", "2026-01-02T00:00:01.124Z")
        );
    }

    #[test]
    fn a_second_granular_filter_is_asked_by_whole_seconds() {
        // C-34
        assert_eq!(
            ask(&strftime("%Y-%m-%dT%H:%M:%S"), "2026-01-01T10:00:00.5Z", "2026-01-01T11:00:00.5Z"),
            pair("2026-01-01T09:59:59", "2026-01-01T11:00:02")
        );
    }

    #[test]
    fn epochs_are_whole_numbers_of_their_unit() {
        let ask = |kind| ask(&cursor(kind, CursorFormat::Number), "1970-01-01T00:00:10.0005Z", "1970-01-01T00:00:20.0005Z");
        assert_eq!(ask(CursorType::EpochS), pair("9", "22"));
        assert_eq!(ask(CursorType::EpochMs), pair("9000", "21001"));
        assert_eq!(ask(CursorType::EpochUs), pair("9000500", "21000500"));
    }

    #[test]
    fn moments_before_1970_are_rounded_outwards_too() {
        let ask = ask(&cursor(CursorType::EpochS, CursorFormat::Number), "1969-12-31T23:59:50.5Z", "1969-12-31T23:59:55.5Z");
        assert_eq!(ask, pair("-11", "-3"));
    }

    #[test]
    fn dates_cover_the_days_of_both_ends() {
        let mut cursor = strftime("%Y-%m-%d");
        assert_eq!(ask(&cursor, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"), pair("2025-12-31", "2026-02-02"));
        cursor.to_inclusive = true;
        assert_eq!(ask(&cursor, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"), pair("2025-12-31", "2026-02-01"));
        // An inclusive bound that the API takes for midnight must not stand before the slice's end.
        assert_eq!(ask(&cursor, "2026-01-01T00:00:00Z", "2026-02-01T12:00:00Z"), pair("2025-12-31", "2026-02-02"));
    }

    #[test]
    fn an_inclusive_bound_is_one_step_nearer() {
        let mut cursor = cursor(CursorType::EpochS, CursorFormat::Number);
        cursor.to_inclusive = true;
        assert_eq!(ask(&cursor, "1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z"), pair("9", "20"));
        assert_eq!(ask(&cursor, "1970-01-01T00:00:10Z", "1970-01-01T00:00:20.5Z"), pair("9", "21"));
    }

    #[test]
    fn coarse_formats_are_rounded_to_their_unit() {
        let ask = |pattern| ask(&strftime(pattern), "2026-03-15T10:20:30Z", "2026-03-16T10:20:30Z");
        assert_eq!(ask("%Y-%m-%d %H:%M"), pair("2026-03-15 10:20", "2026-03-16 10:21"));
        assert_eq!(ask("%Y%m%dT%H"), pair("20260315T10", "20260316T11"));
        assert_eq!(ask("%Y-%m"), pair("2026-03", "2026-04"));
        assert_eq!(ask("%Y"), pair("2026", "2027"));
        assert_eq!(ask("%F %T%.3f"), pair("2026-03-15 10:20:29.000", "2026-03-16 10:20:31.000"));
        assert_eq!(ask("%-d.%-m.%Y"), pair("15.3.2026", "17.3.2026"));
    }

    #[test]
    fn local_times_that_exist_twice_are_moved_outwards() {
        // C-36
        let mut cursor = strftime("%Y-%m-%d %H:%M");
        cursor.timezone = TimeZone::get("Europe/Berlin").unwrap();
        // 02:30 happened twice that night: at 00:30Z and at 01:30Z.
        assert_eq!(ask(&cursor, "2025-10-26T01:30:00Z", "2025-10-27T00:00:00Z").0, "2025-10-26 01:29");
        assert_eq!(ask(&cursor, "2025-10-25T00:00:00Z", "2025-10-26T00:30:00Z").1, "2025-10-26 03:31");
        // 02:00 to 03:00 did not happen that night.
        assert_eq!(ask(&cursor, "2025-03-30T01:00:00Z", "2025-03-31T00:00:00Z").0, "2025-03-30 01:59");
    }

    #[test]
    fn the_cursors_zone_is_the_one_written() {
        let mut cursor = strftime("%Y-%m-%dT%H:%M:%S%:z");
        cursor.timezone = TimeZone::get("Asia/Kolkata").unwrap();
        assert_eq!(
            ask(&cursor, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            pair("2026-01-01T05:29:59+05:30", "2026-01-02T05:30:01+05:30")
        );
    }

    #[test]
    fn undefined_bounds_are_none() {
        let time = cursor(CursorType::Timestamp, CursorFormat::Rfc3339);
        let open = Reach::Time(Stretch::new(None, "2026-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(bounds(Some(&time), &open).unwrap().from, None);
        let integer = cursor(CursorType::Integer, CursorFormat::Number);
        assert_eq!(bounds(Some(&integer), &Reach::Mark(None)).unwrap(), Bounds::default());
        assert_eq!(bounds(None, &Reach::Snapshot).unwrap(), Bounds::default());
    }

    #[test]
    fn whole_numbers_are_asked_from_the_mark_itself() {
        // C-39
        let mark = CursorMark::at(i128::from(u64::MAX));
        let integer = cursor(CursorType::Integer, CursorFormat::Number);
        let bounds = bounds(Some(&integer), &Reach::Mark(Some(mark))).unwrap();
        assert_eq!((bounds.from.as_deref(), bounds.to), (Some("18446744073709551615"), None));
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let cursor = cursor(CursorType::Timestamp, CursorFormat::Rfc3339);
        let reach = Reach::Time(Stretch::new(Some(Timestamp::MIN), Timestamp::MAX));
        assert!(bounds(Some(&cursor), &reach).is_ok());
    }

    #[test]
    fn a_pattern_that_cannot_be_written_is_named() {
        let reach = Reach::Time(Stretch::new(None, "2026-01-01T00:00:00Z".parse().unwrap()));
        assert!(bounds(Some(&strftime("%Y-%!")), &reach).unwrap_err().contains("`%Y-%!`"));
    }
}
