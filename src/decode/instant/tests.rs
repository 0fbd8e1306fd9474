use jiff::civil::Date;
use proptest::prelude::*;

use super::*;

fn utc(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

#[test]
fn a_column_takes_only_what_it_holds_exactly() {
    assert_eq!(exact_timestamp("2026-01-31T10:20:30.5+02:00"), Some(utc("2026-01-31T08:20:30.5Z")));
    assert_eq!(exact_timestamp("2026-01-31t10:20:30z"), Some(utc("2026-01-31T10:20:30Z")));
    assert_eq!(exact_timestamp("9999-12-31T23:59:59Z"), Some(253_402_300_799_000_000));
    for other in [
        "2026-01-31T10:20:30",
        "2026-01-31 10:20:30Z",
        "2026-01-31T10:20:30.1234567Z",
        "2026-01-31T10:20:60Z",
        "2026-01-31T24:00:00Z",
        "2026-02-30T10:20:30Z",
        "2026-13-01T10:20:30Z",
        "2026-01-31T10:20:30+0200",
        "2026-01-31T10:20:30.Z",
        "2026-01-31T10:20:30Z ",
        "2026-01-31T10:60:30Z",
        "2026-01-31T10:20:30+24:00",
        "9999-12-31T23:59:59-01:00",
        "2026-01-31T10:20",
        "2026-01-3\u{e9}T10:20:30Z",
        "",
    ] {
        assert_eq!(exact_timestamp(other), None, "{other}");
    }
}

#[test]
fn cursors_of_every_written_form() {
    // C-35
    let utc_zone = TimeZone::UTC;
    let read = |text| cursor_timestamp(text, &utc_zone);
    assert_eq!(read("2026-01-31T10:20:30"), Some(utc("2026-01-31T10:20:30Z")));
    assert_eq!(read("2026-01-31T10:20:30+02:00"), Some(utc("2026-01-31T08:20:30Z")));
    assert_eq!(read("2026-01-31t10:20:30z"), Some(utc("2026-01-31T10:20:30Z")));
    assert_eq!(read("2026-01-31T24:00:00Z"), Some(utc("2026-02-01T00:00:00Z")));
    assert_eq!(read("2026-01-31T24:00:01Z"), None);
    assert_eq!(read("2016-12-31T23:59:60Z"), Some(utc("2016-12-31T23:59:59.999999Z")));
    assert_eq!(read("2016-12-31T23:59:60.5Z"), Some(utc("2016-12-31T23:59:59.999999Z")));
    assert_eq!(read("2026-01-31T10:20:30.000+0200"), Some(utc("2026-01-31T08:20:30Z")));
    assert_eq!(read("2026-01-31 10:20:30Z"), Some(utc("2026-01-31T10:20:30Z")));
    assert_eq!(read("2026-01-31T10:20Z"), Some(utc("2026-01-31T10:20:00Z")));
    assert_eq!(read("2026-01-31"), Some(utc("2026-01-31T00:00:00Z")));
    assert_eq!(read("yesterday"), None);
    assert_eq!(read("2026-01-31T10:20:30[Europe/Berlin]"), None);
    assert_eq!(read("9999-12-31T23:59:59Z"), None, "beyond what a run can compute with");
}

#[test]
fn digits_beyond_the_microsecond_are_cut_towards_the_past() {
    // C-33
    let read = |text| cursor_timestamp(text, &TimeZone::UTC).unwrap();
    assert_eq!(read("2026-01-31T10:20:30.123456Z"), utc("2026-01-31T10:20:30.123456Z"));
    assert_eq!(read("2026-01-31T10:20:30.123999Z"), utc("2026-01-31T10:20:30.123999Z"));
    assert_eq!(read("2026-01-31T10:20:30.1239999Z"), utc("2026-01-31T10:20:30.123999Z"));
    assert_eq!(read("1960-01-01T00:00:00.0000009Z"), utc("1960-01-01T00:00:00Z"));
    assert_eq!(declared_timestamp("2026-01-31T10:20:30.123456789Z", &TimeZone::UTC), Some(utc("2026-01-31T10:20:30.123456Z")));
}

#[test]
fn a_declared_column_takes_what_a_cursor_takes() {
    let berlin = zone("Europe/Berlin");
    for text in [
        "2026-07-01T12:00:00",
        "2026-07-01 12:00:00.5",
        "2026-07-01T12:00:00+0200",
        "2026-07-01",
        "2026-07-01T24:00:00Z",
        "x",
        "",
    ] {
        assert_eq!(declared_timestamp(text, &berlin), cursor_timestamp(text, &berlin), "{text}");
    }
    assert_eq!(declared_timestamp("2026-07-01T12:00:00", &berlin), Some(utc("2026-07-01T10:00:00Z")));
    // And, as a column that is not declared does, what means that something has no end.
    for text in ["9999-12-31T23:59:59Z", "9999-12-31 23:59:59"] {
        assert_eq!(declared_timestamp(text, &TimeZone::UTC), Some(253_402_300_799_000_000), "{text}");
    }
    assert_eq!(declared_timestamp("9999-12-31", &TimeZone::UTC), Some(253_402_214_400_000_000));
    assert_eq!(declared_timestamp("9999-12-31T23:59:59-01:00", &TimeZone::UTC), None, "no four digits say that year");
}

#[test]
fn wall_clock_times_in_gap_and_overlap() {
    // C-36
    let berlin = zone("Europe/Berlin");
    let read = |text| cursor_timestamp(text, &berlin);
    assert_eq!(read("2026-03-29T02:30:00"), Some(utc("2026-03-29T01:30:00Z")), "the gap: an hour later on the clock");
    assert_eq!(read("2026-10-25T02:30:00"), Some(utc("2026-10-25T01:30:00Z")), "the overlap: the second of two");
    assert_eq!(read("2026-07-01T12:00:00.123456"), Some(utc("2026-07-01T10:00:00.123456Z")));
    assert_eq!(cursor_date("2026-07-01", &berlin), Some(utc("2026-06-30T22:00:00Z")));
    // Midnight does not exist on this day in São Paulo.
    assert_eq!(cursor_date("2018-11-04", &zone("America/Sao_Paulo")), Some(utc("2018-11-04T03:00:00Z")));
    assert_eq!(cursor_date("2026-07-01T00:00:00Z", &berlin), None);
}

proptest! {
    #[test]
    fn agrees_with_jiff(micros in -62_135_596_800_000_000_i64..253_370_764_800_000_000, offset in -1439_i64..1440, digits in 0usize..7) {
        let cut = micros - micros.rem_euclid(10_i64.pow(6 - digits as u32));
        let shown = Timestamp::from_microsecond(cut + offset * 60 * MICROS).unwrap();
        let sign = if offset < 0 { '-' } else { '+' };
        let civil = shown.to_zoned(TimeZone::UTC).datetime();
        let fraction = match digits {
            0 => String::new(),
            _ => format!(".{}", &format!("{:06}", cut.rem_euclid(MICROS))[..digits]),
        };
        let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
        let text = format!("{}{fraction}{sign}{hours:02}:{minutes:02}", civil.strftime("%Y-%m-%dT%H:%M:%S"));
        prop_assert_eq!(exact_timestamp(&text), Some(cut), "{}", text);
        prop_assert_eq!(text.parse::<Timestamp>().unwrap().as_microsecond(), cut);
    }

    #[test]
    fn dates_agree_with_jiff(year in 0i16..10_000, month in 0i8..14, day in 0i8..33) {
        let text = format!("{year:04}-{month:02}-{day:02}");
        let expected = Date::new(year, month, day).ok().map(|date| {
            let start = date.at(0, 0, 0, 0).to_zoned(TimeZone::UTC);
            start.map(|zoned| zoned.timestamp().as_second().div_euclid(DAY_SECONDS) as i32).unwrap_or_else(|_| date.since(Date::new(1970, 1, 1).unwrap()).unwrap().get_days())
        });
        prop_assert_eq!(date(&text), expected);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}", stamp in "[0-9T:.+Z -]{0,40}") {
        for text in [text, stamp] {
            prop_assert!(exact_timestamp(&text).is_none_or(|micros| cursor_timestamp(&text, &TimeZone::UTC).is_none_or(|other| other == micros)));
            prop_assert!(date(&text).is_none_or(|_| text.len() == 10));
        }
    }
}
