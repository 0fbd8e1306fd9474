use proptest::prelude::*;

use crate::plan::fixture;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

const NOW: &str = "2026-03-01T00:00:00Z";
const TIME: &str = "field = \"at\"\ntype = \"timestamp\"\nquery = { since = \"{{ from }}\", until = \"{{ to }}\" }";
const DATE: &str =
    "field = \"at\"\ntype = \"date\"\ntimezone = \"Europe/Berlin\"\nquery = { since = \"{{ from }}\", until = \"{{ to }}\" }";
const NUMBER: &str = "field = \"at\"\ntype = \"integer\"\nquery = { since = \"{{ from }}\" }";

/// A job over two sets with the given cursor and lines of its own; one that names its stream has no sets.
fn job(cursor: &str, more: &str) -> Job {
    let rows = "[streams.rows]\npath = \"/rows/{{ shop }}\"\nprimary_key = [\"id\"]\n[streams.rows.cursor]";
    let source = format!("[parameters]\nshop = {{ default = \"\" }}\n{rows}\n{cursor}\n[streams.plain]\npath = \"/plain\"");
    let sets = "stream = \"rows\"\nfor_each = [{ shop = \"a\" }, { shop = \"b\" }]\n";
    let names_its_own = more.contains("stream =");
    fixture::job(&source, &format!("{}{more}", if names_its_own { "" } else { sets }))
}

fn set(name: &str) -> PartitionKey {
    PartitionKey::of([("shop", name)])
}

fn asked(what: RewindKind) -> Rewind {
    Rewind { what, set: None, may_empty: true, may_lose: 0, asked_by: "alice".to_owned(), why: None }
}

fn range(from: &str, to: &str) -> RewindKind {
    let bound = |text: &str| (!text.is_empty()).then(|| text.parse().expect("a bound"));
    RewindKind::Range { from: bound(from), to: bound(to) }
}

fn mark(text: &str) -> RewindKind {
    RewindKind::Mark(text.parse().expect("a bound"))
}

/// Set `a` is read to the end of February, `b` to the end of January.
fn state(job: &Job) -> DatasetState {
    let mut state = DatasetState { seq: 3, generation: 1, fingerprint: fingerprint(job), ..DatasetState::default() };
    for (name, to) in [("a", "2026-03-01T00:00:00Z"), ("b", "2026-02-01T00:00:00Z")] {
        state.coverage.add(&Cover::Span { partition: set(name), from: Some(at("2026-01-01T00:00:00Z")), to: at(to) });
    }
    state
}

fn spans(planned: &RewindPlan, name: &str) -> Vec<(String, String)> {
    let text = |span: &Span| (span.from.map(|from| from.to_string()).unwrap_or_default(), span.to.to_string());
    planned.coverage.spans(&set(name)).iter().map(text).collect()
}

fn refusal(job: &Job, what: RewindKind) -> String {
    plan(job, &asked(what), &state(job), at(NOW)).expect_err("refused").message
}

const WINDOW: &str = "mode = \"merge\"\n[window]\nstart = \"2026-01-01T00:00:00Z\"\nstep = \"1d\"\nsettle = \"0s\"";

#[test]
fn where_files_are_lost_sets_that_the_job_has_no_more_are_uncovered_too() {
    // D-67
    let (job, gone) = (job(TIME, WINDOW), set("gone"));
    let mut state = state(&job);
    state.coverage.add(&Cover::Span { partition: gone.clone(), from: None, to: at(NOW) });
    let full = plan(&job, &asked(RewindKind::Full), &state, at(NOW)).expect("a plan");
    for lost in [BTreeSet::new(), BTreeSet::from(["t/part-1".to_owned()])] {
        let mut planned = full.clone();
        planned.lose(&job, lost.clone());
        let mut covered = state.coverage.clone();
        planned.uncovers.iter().for_each(|cover| covered.forget(cover));
        assert_eq!(planned.coverage, covered, "what is decided comes to what is known");
        assert_eq!(covered.spans(&gone).is_empty(), !lost.is_empty(), "{covered:?}");
        assert!(spans(&planned, "a").is_empty() && spans(&planned, "b").is_empty());
    }
    // Nothing else is to be done, and yet something changes.
    let mut planned = RewindPlan::default();
    planned.lose(&job, BTreeSet::from(["t/part-1".to_owned()]));
    assert!(planned.changes);
}

#[test]
fn a_range_becomes_a_hole_in_each_set() {
    // D-66
    let job = job(TIME, WINDOW);
    let planned = plan(&job, &asked(range("2026-01-10", "2026-01-12T12:00:00Z")), &state(&job), at(NOW)).expect("a plan");
    let hole = |end: &str| {
        [("2026-01-01T00:00:00Z", "2026-01-10T00:00:00Z"), ("2026-01-12T12:00:00Z", end)]
            .map(|(from, to)| (from.to_owned(), to.to_owned()))
            .to_vec()
    };
    assert_eq!(spans(&planned, "a"), hole("2026-03-01T00:00:00Z"));
    assert_eq!(spans(&planned, "b"), hole("2026-02-01T00:00:00Z"));
    assert!(planned.changes && !planned.empties);

    let one = Rewind { set: Some(set("b")), ..asked(range("2026-01-10", "")) };
    let planned = plan(&job, &one, &state(&job), at(NOW)).expect("a plan");
    assert_eq!(spans(&planned, "a"), spans(&RewindPlan { coverage: state(&job).coverage, ..RewindPlan::default() }, "a"));
    assert_eq!(spans(&planned, "b"), [("2026-01-01T00:00:00Z".to_owned(), "2026-01-10T00:00:00Z".to_owned())]);

    // What was never read need not be taken back.
    let planned = plan(&job, &asked(range("2027-01-01", "")), &state(&job), at(NOW)).expect("a plan");
    assert!(!planned.changes);
}

#[test]
fn days_are_days_of_the_cursors_zone() {
    let job = job(DATE, WINDOW);
    let planned =
        plan(&job, &asked(range("2026-01-10T12:00:00Z", "2026-01-11T12:00:00Z")), &state(&job), at(NOW)).expect("a plan");
    let spans = spans(&planned, "a");
    assert_eq!((spans[0].1.as_str(), spans[1].0.as_str()), ("2026-01-09T23:00:00Z", "2026-01-11T23:00:00Z"));
}

#[test]
fn a_mark_goes_back_and_forth() {
    let job = job(TIME, WINDOW);
    let planned = plan(&job, &asked(mark("2026-02-15")), &state(&job), at(NOW)).expect("a plan");
    for name in ["a", "b"] {
        assert_eq!(spans(&planned, name), [("2026-01-01T00:00:00Z".to_owned(), "2026-02-15T00:00:00Z".to_owned())]);
    }
    let planned = plan(&job, &asked(mark("2025-01-01")), &state(&job), at(NOW)).expect("a plan");
    assert!(planned.coverage.partitions.is_empty(), "before the start nothing is read");
    assert!(refusal(&job, mark("2026-03-02")).contains("in the future"));
}

#[test]
fn whole_numbers_only_go_back() {
    let job = job(NUMBER, "mode = \"merge\"");
    let mut state = DatasetState { seq: 1, fingerprint: fingerprint(&job), ..DatasetState::default() };
    state.coverage.add(&at_value(&set("a"), 100i64.into()));
    let planned = plan(&job, &asked(range("40", "")), &state, at(NOW)).expect("a plan");
    assert_eq!(planned.coverage.cursor_mark(&set("a")).and_then(|mark| mark.value.number()), Some(40));
    assert_eq!(planned.coverage.cursor_mark(&set("b")), None, "of it nothing was read");
    assert!(!plan(&job, &asked(range("200", "")), &state, at(NOW)).expect("a plan").changes);
    let planned = plan(&job, &asked(mark("200")), &state, at(NOW)).expect("a plan");
    assert_eq!(planned.coverage.cursor_mark(&set("b")).and_then(|mark| mark.value.number()), Some(200));

    // The log alone may know of less than the state did, whose last slices were empty.
    let mut log_only = Coverage::default();
    log_only.add(&at_value(&set("a"), 70i64.into()));
    let planned = plan(&job, &asked(range("40", "")), &state, at(NOW)).expect("a plan");
    planned.uncovers.iter().for_each(|cover| log_only.forget(cover));
    planned.covers.iter().for_each(|cover| log_only.add(cover));
    assert_eq!(log_only.cursor_mark(&set("a")).and_then(|mark| mark.value.number()), Some(40));

    assert!(refusal(&job, range("", "40")).contains("there is no end to give"));
    assert!(refusal(&job, range("2026-01-01", "")).contains("`2026-01-01` is none"));
}

#[test]
fn what_makes_no_sense_is_refused_with_a_way_out() {
    let merge = job(TIME, WINDOW);
    assert!(refusal(&merge, range("2026-02-01", "2026-01-01")).contains("the range is empty"));
    assert!(refusal(&merge, range("7", "")).contains("a point in time"));
    let unknown = Rewind { set: Some(set("c")), ..asked(RewindKind::Full) };
    let error = plan(&merge, &unknown, &state(&merge), at(NOW)).expect_err("refused");
    assert_eq!(error.message, "job rows has no parameter set `shop=c`: such as `shop=a`, `shop=b`");

    let plain = job(TIME, "stream = \"plain\"\nmode = \"append\"");
    assert!(refusal(&plain, range("2026-01-01", "")).contains("has no cursor"));
    let replace = job(TIME, "mode = \"replace\"");
    assert!(refusal(&replace, mark("2026-01-01")).contains("replaces its table"));
    assert!(!plan(&replace, &asked(RewindKind::Full), &state(&replace), at(NOW)).expect("a plan").changes);

    let mut without_key = job(TIME, WINDOW);
    (without_key.mode, without_key.stream.primary_key) = (Mode::Append, Vec::new());
    assert!(refusal(&without_key, RewindKind::Full).contains("would be there twice"));
    assert!(
        plan(&without_key, &asked(mark("2026-03-01")), &state(&without_key), at(NOW)).is_ok(),
        "forward nothing is read twice"
    );
}

#[test]
fn another_definition_empties_the_table() {
    let mut job = job(TIME, WINDOW);
    let before = state(&job);
    job.stream.primary_key = vec!["number".to_owned()];
    let planned = plan(&job, &asked(RewindKind::Full), &before, at(NOW)).expect("a plan");
    assert!(planned.empties && planned.coverage.partitions.is_empty());
    let error = plan(&job, &asked(range("2026-01-01", "")), &before, at(NOW)).expect_err("refused");
    assert!(error.message.contains("highwater run rows --full"), "{}", error.message);
    let one = Rewind { set: Some(set("a")), ..asked(RewindKind::Full) };
    assert!(plan(&job, &one, &before, at(NOW)).is_err());
    // Sets that are gone lose their rows too: put back, they are to be read.
    job.sets.pop();
    assert!(plan(&job, &asked(RewindKind::Full), &before, at(NOW)).expect("a plan").coverage.partitions.is_empty());
}

proptest! {
    #[test]
    fn a_range_takes_away_what_lies_in_it_and_nothing_else(
        covered in prop::collection::vec((0..1000_i64, 1..100_i64), 0..6),
        from in prop::option::of(0..1000_i64),
        length in 1..500_i64,
    ) {
        let job = job(TIME, WINDOW);
        let second = |second: i64| at("2026-01-01T00:00:00Z") + jiff::SignedDuration::from_secs(second);
        let mut state = DatasetState { seq: 1, fingerprint: fingerprint(&job), ..DatasetState::default() };
        for (start, length) in covered {
            state.coverage.add(&Cover::Span { partition: set("a"), from: Some(second(start)), to: second(start + length) });
        }
        let to = second(from.unwrap_or(0) + length);
        let what = RewindKind::Range { from: from.map(|from| Bound::Instant(second(from))), to: Some(Bound::Instant(to)) };
        let planned = plan(&job, &asked(what), &state, at(NOW)).expect("a plan");
        let gone = Span::new(from.map(second), to);
        for tenth in 0..1_200 {
            let here = second(tenth);
            let was = state.coverage.spans(&set("a")).iter().any(|span| span.contains(here));
            let is = planned.coverage.spans(&set("a")).iter().any(|span| span.contains(here));
            prop_assert_eq!(is, was && !gone.contains(here));
        }
    }
}
