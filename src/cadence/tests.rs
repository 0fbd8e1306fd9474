use jiff::civil::{self, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("in the bundled database")
}

fn schedule(text: &str, zone_name: &str) -> Schedule {
    Schedule::parse(text, zone(zone_name)).unwrap_or_else(|wrong| panic!("{text}: {}", wrong.message))
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// Due moments from `from` on, as the wall's clock shows them with its offset.
fn shown(text: &str, zone_name: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = schedule(text, zone_name);
    let from = at(from).checked_sub(SignedDuration::from_nanos(1)).unwrap();
    let due = std::iter::successors(schedule.next_after(from), |due| schedule.next_after(*due)).take(count);
    due.map(|due| due.to_zoned(zone(zone_name)).strftime("%d %H:%M:%S %:z").to_string()).collect()
}

#[test]
fn the_clock_goes_forward() {
    // D-38, O-06: 02:00 to 03:00 on 29 March 2026 in Berlin; 8 March in New York; 4 October, half an hour, on Lord Howe.
    let day = "2026-03-28T12:00:00Z";
    assert_eq!(shown("30 2 * * *", "Europe/Berlin", day, 3), ["29 03:00:00 +02:00", "30 02:30:00 +02:00", "31 02:30:00 +02:00"]);
    // All that fell into the gap is due once.
    assert_eq!(shown("*/15 2 * * *", "Europe/Berlin", day, 2), ["29 03:00:00 +02:00", "30 02:00:00 +02:00"]);
    // The gap's end is a time of its own here, and still one.
    assert_eq!(shown("0 2,3 * * *", "Europe/Berlin", day, 2), ["29 03:00:00 +02:00", "30 02:00:00 +02:00"]);
    let hourly = shown("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3);
    assert_eq!(hourly, ["29 01:30:00 +01:00", "29 03:30:00 +02:00", "29 04:30:00 +02:00"]);
    let even = shown("0 */2 * * *", "Europe/Berlin", "2026-03-28T23:00:00Z", 3);
    assert_eq!(even, ["29 00:00:00 +01:00", "29 04:00:00 +02:00", "29 06:00:00 +02:00"]);
    assert_eq!(shown("30 2 * * *", "America/New_York", "2026-03-08T05:00:00Z", 2), ["08 03:00:00 -04:00", "09 02:30:00 -04:00"]);
    let howe = shown("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 2);
    assert_eq!(howe, ["04 02:30:00 +11:00", "05 02:15:00 +11:00"]);
    let quarters = shown("*/15 * * * *", "Australia/Lord_Howe", "2026-10-03T15:15:00Z", 4);
    assert_eq!(quarters, ["04 01:45:00 +10:30", "04 02:30:00 +11:00", "04 02:45:00 +11:00", "04 03:00:00 +11:00"]);
    // A whole day that a country skipped.
    assert_eq!(shown("0 6 30 * *", "Pacific/Apia", "2011-12-01T00:00:00Z", 1), ["31 00:00:00 +14:00"]);
}

#[test]
fn the_clock_goes_back() {
    // D-38, O-06: 03:00 to 02:00 on 25 October 2026 in Berlin; 1 November in New York; 5 April, half an hour, on Lord Howe.
    let day = "2026-10-24T12:00:00Z";
    assert_eq!(shown("30 2 * * *", "Europe/Berlin", day, 2), ["25 02:30:00 +02:00", "26 02:30:00 +01:00"]);
    assert_eq!(shown("0 2,3 * * *", "Europe/Berlin", day, 2), ["25 02:00:00 +02:00", "25 03:00:00 +01:00"]);
    let hourly = shown("30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3);
    assert_eq!(hourly, ["25 02:30:00 +02:00", "25 02:30:00 +01:00", "25 03:30:00 +01:00"]);
    let quarters = shown("*/30 1 * * *", "America/New_York", "2026-11-01T04:00:00Z", 3);
    assert_eq!(quarters, ["01 01:00:00 -04:00", "01 01:30:00 -04:00", "02 01:00:00 -05:00"]);
    let howe = shown("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2);
    assert_eq!(howe, ["05 01:45:00 +11:00", "06 01:45:00 +10:30"]);
    let howe = shown("*/15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:30:00Z", 5);
    assert_eq!(
        howe,
        ["05 01:30:00 +11:00", "05 01:45:00 +11:00", "05 01:30:00 +10:30", "05 01:45:00 +10:30", "05 02:00:00 +10:30"]
    );
    // From the middle of the second showing, what the first has had is over.
    let within = schedule("45 2 * * *", "Europe/Berlin").next_after(at("2026-10-25T01:10:00Z")).unwrap();
    assert_eq!(within, at("2026-10-26T01:45:00Z"));
    let within = schedule("45 * * * *", "Europe/Berlin").next_after(at("2026-10-25T01:10:00Z")).unwrap();
    assert_eq!(within, at("2026-10-25T01:45:00Z"));
}

#[test]
fn zones_without_such_days() {
    assert_eq!(shown("30 6 * * *", "Asia/Kolkata", "2026-03-29T00:00:00Z", 1), ["29 06:30:00 +05:30"]);
    assert_eq!(schedule("30 6 * * *", "Asia/Kolkata").next_after(at("2026-03-29T00:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
    assert_eq!(shown("0 0 29 2 *", "UTC", "2025-01-01T00:00:00Z", 2), ["29 00:00:00 +00:00", "29 00:00:00 +00:00"]);
    assert_eq!(schedule("0 0 29 2 *", "UTC").next_after(at("2096-03-01T00:00:00Z")), Some(at("2104-02-29T00:00:00Z")));
    assert_eq!(shown("@daily", "Africa/Cairo", "2026-04-23T12:00:00Z", 1), ["24 01:00:00 +03:00"], "no midnight that day");
}

#[test]
fn days_of_month_and_week_are_alternatives() {
    let due = shown("0 12 13 * FRI", "UTC", "2026-11-01T00:00:00Z", 5);
    assert_eq!(
        due,
        ["06 12:00:00 +00:00", "13 12:00:00 +00:00", "20 12:00:00 +00:00", "27 12:00:00 +00:00", "04 12:00:00 +00:00"]
    );
    assert_eq!(shown("0 12 L * *", "UTC", "2026-02-01T00:00:00Z", 1), ["28 12:00:00 +00:00"]);
    assert_eq!(shown("0 12 * * 1#1", "UTC", "2026-11-01T00:00:00Z", 1), ["02 12:00:00 +00:00"]);
    assert_eq!(shown("0 12 * * 7", "UTC", "2026-11-02T00:00:00Z", 1), ["08 12:00:00 +00:00"]);
}

#[test]
fn intervals_pass_over_every_change_of_clocks() {
    let due = shown("every 90m", "Europe/Berlin", "2026-03-29T00:00:00Z", 3);
    assert_eq!(due, ["29 01:00:00 +01:00", "29 03:30:00 +02:00", "29 05:00:00 +02:00"]);
    assert_eq!(shown("every 10m", "UTC", "2026-01-01T00:00:00.5Z", 1), ["01 00:10:00 +00:00"]);
    assert_eq!(shown("every  1d", "UTC", "2026-01-01T00:00:01Z", 1), ["02 00:00:00 +00:00"]);
    assert!(schedule("every 59s", "UTC").is_within_minutes() && !schedule("every 1m", "UTC").is_within_minutes());
}

#[test]
fn seconds_are_allowed() {
    assert_eq!(shown("15 30 6 * * *", "UTC", "2026-01-01T00:00:00Z", 1), ["01 06:30:15 +00:00"]);
    assert_eq!(shown("*/20 * * * * *", "UTC", "2026-01-01T00:00:01Z", 2), ["01 00:00:20 +00:00", "01 00:00:40 +00:00"]);
    assert!(schedule("*/20 * * * * *", "UTC").is_within_minutes());
    assert!(!schedule("20 * * * * *", "UTC").is_within_minutes());
}

#[test]
fn texts_that_are_no_schedule() {
    let wrong = |text: &str| match Schedule::parse(text, TimeZone::UTC) {
        Ok(_) => panic!("`{text}` was taken"),
        Err(wrong) => format!("{} | {}", wrong.message, wrong.help),
    };
    insta::assert_snapshot!(["0 0 * * * * 2026", "every 0s", "every 1500ms", "every", "every week", "0 0 31 2 *", "0 0 30 2 *", "@midnight",
        "hourly", "0 6 * *", "61 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 * 13 *", "0 0 * * 8", "SUN 0 * * *", "0 0 * MON *",
        "0 0 * * JAN", "*/0 * * * *", ", * * * *", "5, * * * *", "22-3 0 * * *", "? * * * *", "1.5 * * * *", "-1 * * * *", "0 0 * * MONDAY", "60 0 0 * * *", ""]
        .map(wrong).join("\n"), @r#"
`0 0 * * * * 2026` has 7 fields | a year cannot be given: take the last field out
`every 0s` is not an interval of whole seconds | write whole seconds or more, such as "every 10m" or "every 1h30m"
`every 1500ms` is not an interval of whole seconds | write whole seconds or more, such as "every 10m" or "every 1h30m"
`every` lacks its interval | write whole seconds or more, such as "every 10m" or "every 1h30m"
`week` is not a duration | write whole seconds or more, such as "every 10m" or "every 1h30m"
`0 0 31 2 *` is never due: no month has such a day | correct the day or the month
`0 0 30 2 *` is never due: no month has such a day | correct the day or the month
`@midnight` is not known here | write a cron of 5 fields ("0 6 * * *"), or of 6 with seconds first, "every 10m", or one of @hourly, @daily, @weekly, @monthly, @yearly
`hourly` is not a schedule | write a cron of 5 fields ("0 6 * * *"), or of 6 with seconds first, "every 10m", or one of @hourly, @daily, @weekly, @monthly, @yearly
`0 6 * *` has 4 fields, a cron has 5 or 6 | write a cron of 5 fields ("0 6 * * *"), or of 6 with seconds first, "every 10m", or one of @hourly, @daily, @weekly, @monthly, @yearly
`61` is not a minute | write 0 to 59, with `*`, `,`, `-` and `/n`
`24` is not an hour | write 0 to 23, with `*`, `,`, `-` and `/n`
`0` is not a day of the month | write 1 to 31, `L` for the last, with `*`, `,`, `-` and `/n`
`32` is not a day of the month | write 1 to 31, `L` for the last, with `*`, `,`, `-` and `/n`
`13` is not a month | write 1 to 12 or JAN to DEC, with `*`, `,`, `-` and `/n`
`8` is not a day of the week | write 0 to 7 or SUN to SAT, where 0 and 7 are Sunday, with `*`, `,`, `-` and `/n`
`SUN` is not a minute | write 0 to 59, with `*`, `,`, `-` and `/n`
`MON` is not a month | write 1 to 12 or JAN to DEC, with `*`, `,`, `-` and `/n`
`JAN` is not a day of the week | write 0 to 7 or SUN to SAT, where 0 and 7 are Sunday, with `*`, `,`, `-` and `/n`
`*/0` is not a minute | write 0 to 59, with `*`, `,`, `-` and `/n`
`,` is not a minute | write 0 to 59, with `*`, `,`, `-` and `/n`
`5,` is not a minute | write 0 to 59, with `*`, `,`, `-` and `/n`
`22-3` is not a minute | write 0 to 59, with `*`, `,`, `-` and `/n`
`?` is not a minute | write 0 to 59, with `*`, `,`, `-` and `/n`
`1.5` is not a minute | write 0 to 59, with `*`, `,`, `-` and `/n`
`-1` is not a minute | write 0 to 59, with `*`, `,`, `-` and `/n`
`MONDAY` is not a day of the week | write 0 to 7 or SUN to SAT, where 0 and 7 are Sunday, with `*`, `,`, `-` and `/n`
`60` is not a second | write 0 to 59, with `*`, `,`, `-` and `/n`
the schedule is empty | leave the key out for a job that runs by hand alone
"#);
}

#[test]
fn it_is_shown_with_its_zone_where_that_matters() {
    assert_eq!(schedule(" 0  6 * * * ", "Europe/Berlin").to_string(), "0 6 * * * (Europe/Berlin)");
    assert_eq!(schedule("@daily", "UTC").to_string(), "@daily (UTC)");
    assert_eq!(schedule("every 10m", "Europe/Berlin").to_string(), "every 10m");
    assert_ne!(schedule("@daily", "UTC"), schedule("@daily", "Asia/Kolkata"));
}

#[test]
fn the_last_and_the_newest_are_found_without_walking() {
    let seconds = schedule("* * * * * *", "Europe/Berlin");
    let (from, until) = (at("2020-01-01T00:00:00Z"), at("2026-05-05T05:05:05.5Z"));
    assert_eq!(seconds.last_within(from, until), Some(at("2026-05-05T05:05:05Z")));
    assert_eq!(seconds.newest_within(from, until, 10_000), at("2026-05-05T05:05:05Z") - SignedDuration::from_secs(10_000));
    let yearly = schedule("@yearly", "UTC");
    assert_eq!(yearly.last_within(from, until), Some(at("2026-01-01T00:00:00Z")));
    assert_eq!(yearly.newest_within(from, until, 3), at("2023-01-01T00:00:00Z"));
    assert_eq!(yearly.newest_within(from, until, 6), from);
    assert_eq!(yearly.last_within(at("2026-01-01T00:00:00Z"), until), None);
    // A few seconds of each day.
    let uneven = schedule("0-9 0 0 * * *", "UTC");
    let cut = uneven.newest_within(at("2026-01-01T00:00:05Z"), until, 25);
    assert_eq!(uneven.count_within(cut, until, 100), 25);
}

/// What one minute of the wall's clock means, written down once more and in another way: field by field, without searching.
fn fits(fields: &[&str; 5], wall: civil::DateTime) -> bool {
    let one = |field: &str, value: i8, min: i8, max: i8| {
        field.split(',').any(|part| {
            let (range, step) = part.split_once('/').map_or((part, 1), |(range, step)| (range, step.parse().unwrap()));
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (min, max),
                Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
                None => (range.parse().unwrap(), range.parse().unwrap()),
            };
            value >= from && value <= to && (value - from) % step == 0
        })
    };
    let weekday = match wall.weekday() {
        Weekday::Sunday => 0,
        other => other.to_monday_one_offset(),
    };
    let (day, week) = (one(fields[2], wall.day(), 1, 31), one(fields[4], weekday, 0, 6));
    let days = match (fields[2], fields[4]) {
        ("*", _) => week,
        (_, "*") => day,
        _ => day || week,
    };
    one(fields[0], wall.minute(), 0, 59) && one(fields[1], wall.hour(), 0, 23) && one(fields[3], wall.month(), 1, 12) && days
}

/// Every minute of the wall's clock in a stretch of days, mapped by the rule that the papers state.
fn by_hand(fields: &[&str; 5], zone: &TimeZone, first: civil::Date, days: i32) -> Vec<Timestamp> {
    let mut due = Vec::new();
    // All hours are every hour, however they are written.
    let open_hour = fields[1].starts_with('*') || matches!(fields[1], "0-23" | "0-23/1");
    for minute in 0..days * 1440 {
        let wall = first.at(0, 0, 0, 0) + SignedDuration::from_mins(minute.into());
        if !fits(fields, wall) {
            continue;
        }
        match zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => due.push(offset.to_timestamp(wall).unwrap()),
            AmbiguousOffset::Fold { before, after } => {
                due.push(before.to_timestamp(wall).unwrap());
                if open_hour {
                    due.push(after.to_timestamp(wall).unwrap());
                }
            }
            AmbiguousOffset::Gap { before, .. } if !open_hour => {
                // Read with the offset of before, the time lies after the change; the change is the last one before it.
                let beyond = before.to_timestamp(wall).unwrap() + SignedDuration::from_nanos(1);
                due.push(zone.preceding(beyond).next().unwrap().timestamp());
            }
            AmbiguousOffset::Gap { .. } => {}
        }
    }
    due.sort();
    due.dedup();
    due
}

fn field(min: i8, max: i8) -> impl Strategy<Value = String> {
    let number = min..=max;
    prop_oneof![
        3 => Just("*".to_owned()),
        4 => number.clone().prop_map(|n| n.to_string()),
        2 => (2i8..=15).prop_map(|step| format!("*/{step}")),
        2 => (number.clone(), number.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (number.clone(), number.clone(), 1i8..=9).prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b))),
        2 => (number.clone(), number).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

proptest! {
    // D-38, O-06: over stretches with and without changes of the clock, in zones of every kind.
    #[test]
    fn due_moments_are_those_found_by_hand(
        minute in field(0, 59), hour in field(0, 23), day in prop_oneof![3 => Just("*".to_owned()), 1 => field(1, 31)],
        week in prop_oneof![3 => Just("*".to_owned()), 1 => field(0, 6)],
        which in 0usize..6, start in 0i32..8,
    ) {
        // Two days before and after a change each, and a day that a country skipped.
        let stretches = [
            ("Europe/Berlin", civil::date(2026, 3, 27)), ("Europe/Berlin", civil::date(2026, 10, 23)),
            ("America/New_York", civil::date(2026, 10, 30)), ("Australia/Lord_Howe", civil::date(2026, 10, 2)),
            ("Australia/Lord_Howe", civil::date(2026, 4, 3)), ("Pacific/Apia", civil::date(2011, 12, 28)),
        ];
        let (zone_name, first) = stretches[which];
        let zone = zone(zone_name);
        let fields = [minute.as_str(), hour.as_str(), day.as_str(), "*", week.as_str()];
        let expected = by_hand(&fields, &zone, first, 5);
        let schedule = Schedule::parse(&fields.join(" "), zone.clone()).map_err(|wrong| TestCaseError::fail(wrong.message))?;
        // From anywhere in the stretch, the middle of a second showing too.
        let from = first.at(0, 0, 0, 0).to_zoned(zone.clone()).unwrap().timestamp() + SignedDuration::from_mins((start * 707).into());
        let from = from - SignedDuration::from_millis(1);
        let end = (first + SignedDuration::from_hours(5 * 24)).to_zoned(zone).unwrap().timestamp() - SignedDuration::from_secs(1);
        let found: Vec<Timestamp> = schedule.within(from, end).collect();
        let expected: Vec<Timestamp> = expected.into_iter().filter(|due| *due > from && *due <= end).collect();
        prop_assert_eq!(&found, &expected, "{} in {}", schedule.text(), zone_name);
        prop_assert_eq!(schedule.last_within(from, end), expected.last().copied());
    }

    #[test]
    fn no_text_panics(text: String, more in "[0-9*/,LW#@a-zA-Z -]{0,24}") {
        for text in [text, more.clone(), format!("* * * * {more}"), format!("{more} * * * *")] {
            if let Ok(schedule) = Schedule::parse(&text, TimeZone::UTC) {
                prop_assert!(schedule.next_after(Timestamp::UNIX_EPOCH).is_some());
            }
        }
    }
}
