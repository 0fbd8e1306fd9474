use jiff::civil::date;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use crate::slice::Cover;

use super::outline::OUTLINE_MAX;
use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

/// A job over a stream with the given cursor and window.
fn job(cursor: &str, window: &str) -> Job {
    let stream =
        "[streams.rows]\npath = \"/rows\"\nrecords = \"\"\nprimary_key = [\"id\"]\n[streams.rows.cursor]\nfield = \"at\"";
    fixture::job(&format!("{stream}\n{cursor}"), &format!("stream = \"rows\"\nmode = \"append\"\n[window]\n{window}"))
}

const BOTH_ENDS: &str = "type = \"timestamp\"\nquery = { since = \"{{ from }}\", until = \"{{ to }}\" }";
const DATES: &str = "type = \"date\"\ntimezone = \"Europe/Berlin\"\nquery = { since = \"{{ from }}\", until = \"{{ to }}\" }";

fn spans(slices: &[Slice]) -> Vec<Span> {
    slices.iter().map(|slice| slice.span().expect("a span")).collect()
}

#[test]
fn a_stretch_is_open_where_nothing_of_it_is_covered() {
    let job = job(BOTH_ENDS, "start = \"2026-01-01T00:00:00Z\"\nlookback = \"1h\"");
    let slice = |from: &str, to: &str| Slice {
        partition: PartitionKey::default(),
        reach: Reach::Time(Span::new(Some(at(from)), at(to))),
    };
    let mut coverage = Coverage::default();
    let all = slice("2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z");
    assert!(is_open(&job, &coverage, &all));
    assert!(!is_open(&job, &coverage, &slice("2025-12-31T00:00:00Z", "2026-01-05T00:00:00Z")), "before the window");
    let (from, to) = (Some(at("2026-01-01T00:00:00Z")), at("2026-01-03T00:00:00Z"));
    coverage.add(&Cover::Span { partition: PartitionKey::default(), from, to });
    assert!(!is_open(&job, &coverage, &all), "half of it was read meanwhile");
    assert!(is_open(&job, &coverage, &slice("2026-01-02T23:00:00Z", "2026-01-05T00:00:00Z")), "looked back, as it is planned");
    let whole = Slice { partition: PartitionKey::default(), reach: Reach::Snapshot };
    assert!(!is_open(&job, &coverage, &whole));
}

#[test]
fn a_window_is_cut_into_steps_up_to_closed_time() {
    let job = job(BOTH_ENDS, "start = \"2026-01-01T00:00:00Z\"\nstep = \"1d\"\nsettle = \"1m\"");
    let outline = outline(&job, &Coverage::default(), at("2026-01-03T12:00:00.1234567Z"));
    let expected = [
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
        ("2026-01-03T00:00:00Z", "2026-01-03T11:59:00.123456Z"),
    ];
    assert_eq!(spans(&outline.slices), expected.map(|(from, to)| Span::new(Some(at(from)), at(to))));
}

#[test]
fn without_a_start_the_first_slice_has_no_lower_end() {
    let job = job(BOTH_ENDS, "step = \"1d\"\nsettle = \"0s\"");
    let now = at("2026-01-03T00:00:00Z");
    assert_eq!(spans(&outline(&job, &Coverage::default(), now).slices), [Span::new(None, now)]);
    let mut coverage = Coverage::default();
    coverage.add(&Cover::Span { partition: PartitionKey::new(""), from: None, to: at("2026-01-01T12:00:00Z") });
    assert_eq!(outline(&job, &coverage, now).slices.len(), 2, "from the mark on, steps count");
}

#[test]
fn only_what_was_read_up_to_a_forgotten_place_is_missing() {
    // C-55
    let job = job(&format!("{BOTH_ENDS}\nhistory_max = \"30d\""), "start = \"2020-01-01T00:00:00Z\"");
    let set = PartitionKey::new("");
    let covered = |from: Option<&str>, to: &str| {
        let mut coverage = Coverage::default();
        coverage.add(&Cover::Span { partition: set.clone(), from: from.map(at), to: at(to) });
        coverage
    };
    let start = Some("2020-01-01T00:00:00Z");
    let now = at("2026-03-31T00:00:00Z");
    assert_eq!(forgotten(&job, &set, &Coverage::default(), now), None, "a first load takes what there is");
    assert_eq!(forgotten(&job, &set, &covered(start, "2026-03-01T00:00:00Z"), now), None);
    let told = forgotten(&job, &set, &covered(start, "2026-02-28T23:59:59Z"), now);
    assert_eq!(told, Some(Forgotten { mark: at("2026-02-28T23:59:59Z"), horizon: at("2026-03-01T00:00:00Z") }));
    let later = covered(Some("2026-03-15T00:00:00Z"), "2026-03-20T00:00:00Z");
    assert_eq!(forgotten(&job, &set, &later, now), None, "what lies before was never read");
}

#[test]
fn a_step_that_the_api_cannot_be_asked_for_is_ignored() {
    let job = job("type = \"timestamp\"\nquery = { since = \"{{ from }}\" }", "start = \"2026-01-01T00:00:00Z\"\nstep = \"1d\"");
    assert_eq!(outline(&job, &Coverage::default(), at("2026-02-01T00:00:00Z")).slices.len(), 1);
}

#[test]
fn days_of_a_zone_are_days_on_the_day_the_clock_changes() {
    // C-36 C-56
    let job = job(DATES, "start = \"2026-03-28T00:00:00Z\"\nstep = \"1d\"\nsettle = \"0s\"");
    let outline = outline(&job, &Coverage::default(), at("2026-03-31T12:00:00Z"));
    let hours: Vec<i64> =
        spans(&outline.slices).iter().map(|span| span.to.duration_since(span.from.expect("a start")).as_hours()).collect();
    assert_eq!(hours, [24, 23, 24], "today is left out, the 29th has 23 hours");
    let first = spans(&outline.slices)[0].from.expect("a start");
    assert_eq!(first, date(2026, 3, 28).to_zoned(TimeZone::get("Europe/Berlin").expect("a zone")).expect("a day").timestamp());
}

#[test]
fn leap_days_are_days() {
    let job = job(DATES, "start = \"2028-02-28T12:00:00Z\"\nstep = \"1d\"\nsettle = \"0s\"");
    assert_eq!(outline(&job, &Coverage::default(), at("2028-03-02T12:00:00Z")).slices.len(), 3, "28th, 29th, 1st");
}

#[test]
fn a_source_behind_its_own_window_plans_nothing() {
    let job = job(BOTH_ENDS, "start = \"2026-01-01T00:00:00Z\"\nsettle = \"1m\"");
    assert_eq!(next(&job, &PartitionKey::default(), &Coverage::default(), &[], at("2026-01-01T00:00:59Z")), None);
    assert_eq!(next(&job, &PartitionKey::default(), &Coverage::default(), &[], Timestamp::MIN), None);
}

#[test]
fn a_window_of_many_slices_is_counted_not_kept() {
    let job = job(BOTH_ENDS, "start = \"2026-01-01T00:00:00Z\"\nstep = \"1s\"\nsettle = \"0s\"");
    let outline = outline(&job, &Coverage::default(), at("2026-01-02T00:00:00Z"));
    assert_eq!((outline.slices.len(), outline.more), (OUTLINE_MAX, 86_400 - OUTLINE_MAX as u64));
}

#[test]
fn whole_numbers_are_read_from_their_mark_once_a_run() {
    let job = job("type = \"integer\"\nquery = { since = \"{{ from }}\" }", "");
    let first = next(&job, &PartitionKey::default(), &Coverage::default(), &[], Timestamp::UNIX_EPOCH).expect("a slice");
    assert_eq!(first.reach, Reach::Mark(None));
    assert_eq!(next(&job, &PartitionKey::default(), &Coverage::default(), &[first], Timestamp::UNIX_EPOCH), None);
    let mut from_four = job;
    from_four.window.start_integer = Some(4);
    let first = next(&from_four, &PartitionKey::default(), &Coverage::default(), &[], Timestamp::UNIX_EPOCH).expect("a slice");
    assert_eq!(first.reach, Reach::Mark(Some(CursorMark::at(4i64))));
}

#[test]
fn coverage_tells_of_a_clock_that_is_ahead() {
    let job = job(BOTH_ENDS, "settle = \"1m\"");
    let cursor = job.stream.cursor.clone().expect("a cursor");
    let now = at("2026-01-03T12:00:00Z");
    let expected = |end: &str| expected_now(&cursor, job.window.settle, &[Span::new(None, at(end))], now);
    assert_eq!(expected_now(&cursor, job.window.settle, &[], now), Ok(now));
    assert_eq!(expected("2026-01-03T11:59:00Z"), Ok(now));
    // C-08
    assert_eq!(expected("2026-01-03T12:04:00Z"), Ok(at("2026-01-04T12:00:00Z")));
    assert_eq!(expected("2035-01-01T00:00:00Z"), Err(at("2035-01-01T00:00:00Z")), "nobody would notice that nothing is read");
}

proptest! {
    /// Whatever is covered and whatever fails: the slices of a run and the coverage together are the window, each instant once.
    #[test]
    fn slices_and_coverage_are_the_window(
        covered in proptest::collection::vec((0i64..5_000_000, 1i64..900_000), 0..8),
        start in proptest::option::of(0i64..2_000_000),
        step in 3_600i64..400_000,
        now in 0i64..5_000_000,
        dates in any::<bool>(),
    ) {
        // Around the March change of clocks in Berlin.
        let base = at("2026-03-01T00:00:00Z");
        let instant = |second: i64| base + SignedDuration::from_secs(second);
        let mut job = job(if dates { DATES } else { BOTH_ENDS }, "settle = \"0s\"");
        job.window.start = start.map(instant);
        job.window.step = Some(SignedDuration::from_secs(step));
        let mut coverage = Coverage::default();
        for (from, length) in covered {
            coverage.add(&Cover::Span { partition: PartitionKey::new(""), from: Some(instant(from)), to: instant(from + length) });
        }
        let before = coverage.spans(&PartitionKey::new("")).to_vec();
        let cursor = job.stream.cursor.clone().expect("a cursor");
        let end = closed_end(&cursor, SignedDuration::ZERO, instant(now)).expect("in range");
        let mut tried = Vec::new();
        while let Some(slice) = next(&job, &PartitionKey::default(), &coverage, &tried, instant(now)) {
            let span = slice.span().expect("a span");
            prop_assert!(span.to <= end, "{span:?} is not closed at {end}");
            prop_assert!(before.iter().all(|known| !known.overlaps(&span)), "{span:?} is covered already");
            prop_assert!(spans(&tried).iter().all(|other| !other.overlaps(&span)), "{span:?} is read twice");
            // Every other slice fails and stays a hole.
            if tried.len() % 2 == 0 {
                coverage.add(&Cover::Span { partition: PartitionKey::new(""), from: span.from, to: span.to });
            }
            tried.push(slice);
            prop_assert!(tried.len() < 3_000);
        }
        let mut all = before;
        all.extend(spans(&tried));
        let begin = window::align_start(&cursor, job.window.start);
        prop_assert_eq!(gaps(begin, end, &all), Vec::new());
    }
}

#[test]
fn what_lies_behind_the_mark_is_read_again_once_a_run() {
    // C-06
    let window = "start = \"2026-01-01T00:00:00Z\"\nstep = \"1d\"\nsettle = \"0s\"\nlookback = \"6h\"";
    let job = job(BOTH_ENDS, window);
    let mut coverage = Coverage::default();
    let partition = PartitionKey::new("");
    coverage.add(&Cover::Span { partition, from: Some(at("2026-01-01T00:00:00Z")), to: at("2026-01-03T00:00:00Z") });
    let now = at("2026-01-03T03:00:00Z");
    let first = next(&job, &PartitionKey::default(), &coverage, &[], now).expect("something to read");
    assert_eq!(first.span(), Some(Span::new(Some(at("2026-01-02T18:00:00Z")), now)));
    assert_eq!(next(&job, &PartitionKey::default(), &coverage, &[first], now), None);
    assert_eq!(outline(&job, &coverage, now).slices.len(), 1);
}

#[test]
fn what_lies_before_a_hole_is_read_again_with_it() {
    // C-06, C-20
    let window = "start = \"2026-01-01T00:00:00Z\"\nstep = \"1d\"\nsettle = \"0s\"\nlookback = \"6h\"";
    let job = job(BOTH_ENDS, window);
    let mut coverage = Coverage::default();
    for (from, to) in [("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"), ("2026-01-04T00:00:00Z", "2026-01-06T00:00:00Z")] {
        coverage.add(&Cover::Span { partition: PartitionKey::new(""), from: Some(at(from)), to: at(to) });
    }
    let expected = [
        ("2026-01-02T18:00:00Z", "2026-01-03T00:00:00Z"),
        ("2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("2026-01-05T18:00:00Z", "2026-01-06T00:00:00Z"),
        ("2026-01-06T00:00:00Z", "2026-01-06T03:00:00Z"),
    ];
    let (mut tried, now) = (Vec::new(), at("2026-01-06T03:00:00Z"));
    while let Some(slice) = next(&job, &PartitionKey::default(), &coverage, &tried, now) {
        tried.push(slice);
    }
    let read = spans(&tried);
    let is_read = |(from, to)| {
        let missing = gaps(Some(at(from)), at(to), &read);
        assert_eq!(missing, [], "{read:?}");
    };
    expected.into_iter().for_each(is_read);
    assert_eq!(
        read.iter().map(|span| span.to.duration_since(span.from.expect("a beginning")).as_hours()).sum::<i64>(),
        6 + 24 + 6 + 3
    );
}
