//! Points in time and dates as text says them.
//!
//! One hand-written reader for the form that nearly all have (RFC 3339): a page holds tens of thousands of them. What it does not know
//! goes to jiff, for cursors only; a column never guesses.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
/// 0000-01-01T00:00:00Z and 10000-01-01T00:00:00Z: what four digits of a year can say, and every reader of Parquet can show.
const YEARS: std::ops::Range<i64> = -62_167_219_200..253_402_300_800;

/// What stood in a text of the form `2026-01-31T10:20:30.123456+02:00`, parts checked one by one.
struct Parts {
    /// Days since 1970-01-01.
    day: i64,
    hour: i64,
    minute: i64,
    /// 60 in a leap second.
    second: i64,
    /// Cut towards the past.
    micros: i64,
    fraction_digits: usize,
    /// A `T` or `t` between date and time; a space otherwise.
    marked: bool,
    /// East of UTC; absent if the text has none.
    offset_seconds: Option<i64>,
}

/// An RFC 3339 date-time with offset that a microsecond column holds exactly: at most six digits of a second, no leap second.
/// Microseconds since 1970-01-01T00:00:00Z.
pub fn exact_timestamp(text: &str) -> Option<i64> {
    let parts = parse(text.as_bytes())?;
    if parts.fraction_digits > 6 || parts.second == 60 || parts.hour == 24 || !parts.marked {
        return None;
    }
    micros_in_years(&parts, parts.offset_seconds?)
}

/// What a cursor takes for a point in time is one in a column that is declared to hold them, too: else a record would have its place
/// in time and no value for it.
pub fn declared_timestamp(text: &str, zone: &TimeZone) -> Option<i64> {
    point_in_time(text, zone).filter(|micros| YEARS.contains(&micros.div_euclid(MICROS)))
}

/// A date `YYYY-MM-DD` as days since 1970-01-01.
pub fn date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 {
        return None;
    }
    i32::try_from(parse_date(bytes)?).ok()
}

/// A cursor's point in time, in microseconds rounded towards the past. Without an offset it is a wall-clock time in `zone`: in a gap the
/// later reading, in an overlap the second. A date alone is its midnight.
pub fn cursor_timestamp(text: &str, zone: &TimeZone) -> Option<i64> {
    point_in_time(text, zone).and_then(in_range)
}

/// The same, also of the last day of the year 9999, by which many an API says that something has no end.
fn point_in_time(text: &str, zone: &TimeZone) -> Option<i64> {
    match parse(text.as_bytes()) {
        Some(parts) => match parts.offset_seconds {
            Some(offset) => micros_of(&parts, offset),
            None => local_micros(&parts, zone),
        },
        None => foreign_micros(text, zone),
    }
}

/// A cursor's date as its midnight in `zone`; where the clocks skip midnight, the first moment of that day.
pub fn cursor_date(text: &str, zone: &TimeZone) -> Option<i64> {
    let day = date(text)?;
    in_range(midnight(i64::from(day), zone)?)
}

/// Only what a `jiff::Timestamp` can be: the rest of a run computes with those.
pub fn in_range(micros: i64) -> Option<i64> {
    Timestamp::from_microsecond(micros).ok().map(|_| micros)
}

fn micros_in_years(parts: &Parts, offset: i64) -> Option<i64> {
    micros_of(parts, offset).filter(|micros| YEARS.contains(&micros.div_euclid(MICROS)))
}

fn micros_of(parts: &Parts, offset: i64) -> Option<i64> {
    let clock = parts.hour * 3600 + parts.minute * 60;
    let (second, micros) = last_of_minute(parts);
    (parts.day * DAY_SECONDS + clock + second - offset).checked_mul(MICROS)?.checked_add(micros)
}

/// A leap second becomes the last microsecond before the next minute: it stays on its own side of midnight, and the order of
/// values is kept.
fn last_of_minute(parts: &Parts) -> (i64, i64) {
    if parts.second == 60 { (59, MICROS - 1) } else { (parts.second, parts.micros) }
}

fn local_micros(parts: &Parts, zone: &TimeZone) -> Option<i64> {
    if *zone == TimeZone::UTC {
        return micros_of(parts, 0);
    }
    // The wall-clock reading as if it were UTC gives the civil time; jiff knows what the zone makes of it.
    let wall = Timestamp::from_microsecond(micros_of(parts, 0)?).ok()?;
    let civil = wall.to_zoned(TimeZone::UTC).datetime();
    zoned_micros(civil, zone)
}

fn zoned_micros(civil: DateTime, zone: &TimeZone) -> Option<i64> {
    // Of an hour that is there twice the second one: whoever asks an hour wider (`precision`) is given the first again by then, and would
    // have cut off the second by taking it for the first.
    let instant = zone.to_ambiguous_timestamp(civil).later().ok()?;
    Some(floor_micros(instant))
}

fn midnight(day: i64, zone: &TimeZone) -> Option<i64> {
    let wall = day.checked_mul(DAY_SECONDS)?.checked_mul(MICROS)?;
    if *zone == TimeZone::UTC {
        return Some(wall);
    }
    let civil = Timestamp::from_microsecond(wall).ok()?.to_zoned(TimeZone::UTC).date();
    let start = civil.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
    Some(floor_micros(start.timestamp()))
}

/// Forms that the reader here does not know: `+0200`, no seconds, no dashes, a zone's name.
fn foreign_micros(text: &str, zone: &TimeZone) -> Option<i64> {
    if let Some(day) = date(text) {
        return midnight(i64::from(day), zone);
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(floor_micros(instant));
    }
    // A wall-clock time with a zone's name and no offset would be read without its zone: that would be a guess.
    if text.contains(['[', 'Z', 'z']) {
        return None;
    }
    zoned_micros(text.parse::<DateTime>().ok()?, zone)
}

fn floor_micros(instant: Timestamp) -> i64 {
    i64::try_from(instant.as_nanosecond().div_euclid(1000)).unwrap_or(i64::MAX)
}

/// Eight bytes with digits at some of their places.
struct Form {
    /// With zeros for digits.
    word: u64,
    /// What may be added to a byte, less that of `word`, without its highest bit being set: for a digit 9 and less, else nothing.
    room: u64,
}

const DATE: Form = Form::of(b"0000-00-");
const CLOCK: Form = Form::of(b"00:00:00");

impl Form {
    const fn of(form: &[u8; 8]) -> Form {
        let (mut room, mut place) = ([0; 8], 0);
        while place < 8 {
            room[place] = if form[place] == b'0' { 0x7f - 9 } else { 0x7f };
            place += 1;
        }
        Form { word: u64::from_le_bytes(*form), room: u64::from_le_bytes(room) }
    }

    /// The values of the digits at their places; `None` where the bytes have another form. All eight are looked at together: what does not
    /// fit has its highest bit set, or gets it, and what that spoils behind it is looked at no more.
    #[inline(always)]
    fn values(&self, bytes: &[u8; 8]) -> Option<[i64; 8]> {
        const HIGHS: u64 = 0x8080_8080_8080_8080;
        let values = u64::from_le_bytes(*bytes) ^ self.word;
        let fits = (values.wrapping_add(self.room) | values) & HIGHS == 0;
        fits.then(|| values.to_le_bytes().map(i64::from))
    }
}

fn parse(text: &[u8]) -> Option<Parts> {
    let (clock, rest) = text.get(11..)?.split_first_chunk::<8>()?;
    let [h, hh, _, m, mm, _, s, ss] = CLOCK.values(clock)?;
    let (hour, minute, second) = (h * 10 + hh, m * 10 + mm, s * 10 + ss);
    let day = parse_date(&text[..10])?;
    let marked = match text[10] {
        b'T' | b't' => true,
        b' ' => false,
        _ => return None,
    };
    let (micros, fraction_digits) = parse_fraction(rest)?;
    let fraction_length = if fraction_digits == 0 { 0 } else { fraction_digits + 1 };
    let offset_seconds = parse_offset(&rest[fraction_length..])?;
    let midnight =
        hour == 24 && minute == 0 && second == 0 && rest[..fraction_length].iter().all(|byte| matches!(byte, b'.' | b'0'));
    let valid = (hour < 24 || midnight) && minute < 60 && second <= 60;
    valid.then_some(Parts { day, hour, minute, second, micros, fraction_digits, marked, offset_seconds })
}

#[inline]
fn parse_date(text: &[u8]) -> Option<i64> {
    let [y, yy, yyy, yyyy, _, m, mm, _] = DATE.values(text.first_chunk()?)?;
    let (year, month, day) = (y * 1000 + yy * 100 + yyy * 10 + yyyy, m * 10 + mm, two(text, 8)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

fn two(text: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

/// Microseconds and the number of digits; no digits if there is no fraction.
fn parse_fraction(text: &[u8]) -> Option<(i64, usize)> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, 0)) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let padded = rest[..digits].iter().copied().chain(std::iter::repeat(b'0'));
    let micros = padded.take(6).fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
    (digits > 0).then_some((micros, digits))
}

fn parse_offset(text: &[u8]) -> Option<Option<i64>> {
    match text {
        [] => Some(None),
        [b'Z' | b'z'] => Some(Some(0)),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (two(text, 1)?, two(text, 4)?);
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(Some(if *sign == b'-' { -seconds } else { seconds }))
        }
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests;
