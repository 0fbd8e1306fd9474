use super::*;
use crate::batch::Counts;
use crate::error::ErrorKind;
use crate::event::Recovery;
use crate::freshness::Freshness;
use crate::ids::RunId;

const OPS: &str = "ops";

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + minute * 60).expect("in range")
}

fn job(name: &str) -> JobName {
    JobName::new(name)
}

fn everything() -> BTreeSet<AlertKind> {
    BTreeSet::from(AlertKind::ALL)
}

fn setup(names: &[&str]) -> Setup {
    let watched = |name: &&str| {
        let freshness = Freshness { mark: None, done_at: Some(at(0)), since: at(0) };
        Watched { job: job(name), limit: Some(Duration::from_secs(3600)), freshness }
    };
    Setup { jobs: names.iter().map(watched).collect(), ..Setup::default() }
}

fn book(names: &[&str]) -> Book {
    let mut book = Book::new(Vec::new(), at(0));
    book.set(&setup(names), at(0));
    book
}

fn ended(name: &str, end: RunEnd) -> Event {
    Event::JobEnded { job: job(name), took: Duration::from_secs(1), end }
}

fn failed(name: &str) -> Event {
    ended(name, RunEnd::of(ErrorKind::Unavailable, "status 503".to_owned()))
}

/// What is due to a channel, in short.
fn due(book: &Book, channel: &str) -> Vec<String> {
    let show = |item: &Item| format!("{} {} {:?}", item.key.job, item.key.kind, item.telling);
    book.due(channel, &everything()).iter().map(show).collect()
}

/// Tells a channel what is due to it, and what that was.
fn tell(book: &mut Book, channel: &str) -> Vec<String> {
    let told = due(book, channel);
    let items = book.due(channel, &everything());
    book.send(channel, &items);
    book.sent(channel, true);
    book.tidy(&[(channel, &everything())]);
    told
}

/// What the next process finds.
fn restart(book: &mut Book, kept: &mut BTreeMap<ConditionKey, Condition>, now: Timestamp) {
    for change in book.changes_to_save() {
        match change {
            Change::Put(condition) => drop(kept.insert(condition.key.clone(), condition)),
            Change::Drop(key) => drop(kept.remove(&key)),
        }
    }
    *book = Book::new(kept.values().cloned().collect(), now);
}

// O-19
#[test]
fn a_condition_is_told_once_whatever_runs_and_restarts_come() {
    let mut book = book(&["orders"]);
    let mut kept = BTreeMap::new();
    book.hear(&failed("orders"), at(1));
    assert_eq!(tell(&mut book, OPS), ["orders run_failed Raised"]);
    for minute in 2..200 {
        book.hear(&failed("orders"), at(minute));
        assert_eq!(tell(&mut book, OPS), Vec::<String>::new());
        if minute % 10 == 0 {
            restart(&mut book, &mut kept, at(minute));
            book.set(&setup(&["orders"]), at(minute));
        }
    }
    let since = kept.values().next().expect("one").since;
    assert_eq!((kept.len(), since), (1, at(1)), "the first moment and the first reason stay");
    book.hear(&ended("orders", RunEnd::Done), at(201));
    restart(&mut book, &mut kept, at(201));
    book.set(&setup(&["orders"]), at(201));
    assert_eq!(tell(&mut book, OPS), ["orders run_failed Cleared"]);
    book.hear(&ended("orders", RunEnd::Done), at(202));
    assert_eq!(tell(&mut book, OPS), Vec::<String>::new());
    restart(&mut book, &mut kept, at(203));
    assert!(kept.is_empty(), "nothing is kept of what is over: {kept:?}");
}

#[test]
fn what_passes_before_it_was_told_is_not_told() {
    let mut book = book(&["orders"]);
    book.hear(&failed("orders"), at(1));
    book.hear(&ended("orders", RunEnd::Done), at(2));
    assert_eq!(due(&book, OPS), Vec::<String>::new());
    book.tidy(&[(OPS, &everything())]);
    assert!(book.conditions.is_empty());
}

#[test]
fn what_is_back_before_its_end_was_told_is_not_told_again() {
    let mut book = book(&["orders"]);
    book.hear(&failed("orders"), at(1));
    tell(&mut book, OPS);
    book.hear(&ended("orders", RunEnd::Done), at(2));
    book.hear(&failed("orders"), at(3));
    assert_eq!(due(&book, OPS), Vec::<String>::new());
    book.hear(&ended("orders", RunEnd::Done), at(4));
    assert_eq!(due(&book, OPS), ["orders run_failed Cleared"]);
}

#[test]
fn what_is_on_its_way_is_not_forgotten_when_it_passes() {
    let mut book = book(&["orders"]);
    book.hear(&failed("orders"), at(1));
    let items = book.due(OPS, &everything());
    book.send(OPS, &items);
    book.hear(&ended("orders", RunEnd::Done), at(2));
    book.tidy(&[(OPS, &everything())]);
    book.sent(OPS, true);
    assert_eq!(due(&book, OPS), ["orders run_failed Cleared"], "who heard that it fails hears that it does not");
}

#[test]
fn what_did_not_arrive_is_due_again() {
    let mut book = book(&["orders"]);
    book.hear(&failed("orders"), at(1));
    let items = book.due(OPS, &everything());
    book.send(OPS, &items);
    book.sent(OPS, false);
    assert_eq!(due(&book, OPS), ["orders run_failed Raised"]);
}

#[test]
fn each_channel_is_told_what_it_asked_for() {
    let mut book = book(&["orders"]);
    book.hear(&failed("orders"), at(1));
    let late = BTreeSet::from([AlertKind::Late, AlertKind::Recovered]);
    assert_eq!(book.due("late", &late), []);
    assert_eq!(tell(&mut book, OPS), ["orders run_failed Raised"]);
    book.hear(&ended("orders", RunEnd::Done), at(2));
    assert_eq!(book.due("late", &late), [], "nobody hears the end of what he did not hear of");
    let silent = BTreeSet::from([AlertKind::RunFailed]);
    assert_eq!(book.due(OPS, &silent), [], "nor who did not ask for ends");
    book.tidy(&[(OPS, &silent), ("late", &late)]);
    assert!(book.conditions.is_empty());
}

// O-19
#[test]
fn a_table_is_late_by_its_mark_even_if_runs_end_well() {
    let mut book = book(&["orders"]);
    book.look(at(59));
    assert_eq!(due(&book, OPS), Vec::<String>::new());
    let mark = |minute| Event::RunFinished {
        job: job("orders"),
        run: RunId(uuid::Uuid::nil()),
        counts: Counts::default(),
        failed: false,
        mark: Some(at(minute)),
    };
    for minute in (60..=200).step_by(10) {
        book.hear(&mark(30), at(minute));
        book.hear(&ended("orders", RunEnd::Done), at(minute));
        book.look(at(minute));
    }
    let items = book.due(OPS, &everything());
    let [late] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!((late.kind, late.since), (AlertKind::Late, at(90)));
    assert_eq!(late.reason, "its table is 1h10m old and should be at most 1h old");
    tell(&mut book, OPS);
    book.hear(&mark(200), at(201));
    book.look(at(201));
    assert_eq!(tell(&mut book, OPS), ["orders late Cleared"]);
}

#[test]
fn tables_that_are_late_at_the_start_get_time_to_catch_up() {
    let mut book = Book::new(Vec::new(), at(10_000));
    book.set(&setup(&["orders"]), at(10_000));
    book.look(at(10_004));
    assert_eq!(due(&book, OPS), Vec::<String>::new());
    book.look(at(10_005));
    assert_eq!(due(&book, OPS), ["orders late Raised"]);
}

// O-19
#[test]
fn parked_jobs_are_told_and_come_back() {
    let mut book = book(&["orders", "users"]);
    let mut broken = setup(&["users"]);
    broken.parked.insert(job("orders"), "jobs/orders.toml:3:1: unknown key".to_owned());
    book.set(&broken, at(1));
    assert_eq!(tell(&mut book, OPS), ["orders parked Raised"]);
    book.set(&broken, at(2));
    assert_eq!(tell(&mut book, OPS), Vec::<String>::new());
    book.hear(&ended("users", RunEnd::of(ErrorKind::Auth, "401".to_owned())), at(3));
    assert_eq!(tell(&mut book, OPS), ["users parked Raised"]);
    // A reload mends what a file parks; what a run parks, a run mends.
    book.set(&setup(&["orders", "users"]), at(4));
    assert_eq!(tell(&mut book, OPS), ["orders parked Cleared"]);
    book.hear(&ended("users", RunEnd::Done), at(5));
    assert_eq!(tell(&mut book, OPS), ["users parked Cleared"]);
    let patience = ErrorKind::Throttled { retry_at: Some(at(100)) };
    book.hear(&ended("users", RunEnd::of(patience, "the source wants no request".to_owned())), at(6));
    let items = book.due(OPS, &everything());
    assert_eq!(items[0].reason, "the source wants no request; until 2026-01-01 01:40 UTC");
    // One thing is wrong with a job at a time.
    tell(&mut book, OPS);
    book.hear(&failed("users"), at(7));
    assert_eq!(tell(&mut book, OPS), ["users run_failed Raised"]);
    assert_eq!(book.conditions.len(), 1);
}

// O-19
#[test]
fn each_change_of_columns_is_told_once() {
    let mut book = book(&["orders"]);
    let change = |text: &str| Event::SchemaChanged { job: job("orders"), change: text.to_owned() };
    book.hear(&change("new column `a`"), at(1));
    book.hear(&change("new column `b`"), at(1));
    assert_eq!(tell(&mut book, OPS), ["orders schema_changed Raised", "orders schema_changed Raised"]);
    book.hear(&change("new column `a`"), at(2));
    assert_eq!(tell(&mut book, OPS), Vec::<String>::new());
    book.look(at(8 * 24 * 60));
    assert!(book.happenings().next().is_none(), "and forgotten in the end");
    for number in 0..1_000 {
        book.hear(&change(&format!("new column `c{number}`")), at(number));
    }
    assert_eq!(book.happenings().count(), HAPPENINGS_MAX);
}

#[test]
fn a_lake_that_lost_something_is_told_of_though_the_run_ends_well() {
    // D-20, D-41
    let mut book = book(&["orders"]);
    let found = |recovery, what: &str| Event::Recovered { job: job("orders"), recovery, what: what.to_owned() };
    book.hear(&found(Recovery::Adopted, "record 7 was finished"), at(1));
    book.hear(&ended("orders", RunEnd::Done), at(1));
    assert_eq!(tell(&mut book, OPS), Vec::<String>::new(), "what a crash left is no alarm");
    for recovery in [Recovery::Lost, Recovery::Voided] {
        book.hear(&found(recovery, recovery.name()), at(2));
        book.hear(&ended("orders", RunEnd::Done), at(2));
        assert_eq!(tell(&mut book, OPS), ["orders lost Raised"]);
    }
    let mut kept = BTreeMap::new();
    restart(&mut book, &mut kept, at(3));
    book.set(&setup(&["orders"]), at(3));
    book.hear(&found(Recovery::Lost, "lost"), at(3));
    assert_eq!(tell(&mut book, OPS), Vec::<String>::new(), "each once");
    book.look(at(8 * 24 * 60));
    assert!(book.happenings().next().is_none(), "and forgotten in the end");
}

#[test]
fn jobs_that_are_gone_take_their_conditions_along() {
    let mut book = book(&["orders", "users"]);
    let mut kept = BTreeMap::new();
    book.hear(&failed("orders"), at(1));
    book.hear(&failed("users"), at(1));
    restart(&mut book, &mut kept, at(2));
    book.set(&setup(&["users"]), at(2));
    assert_eq!(due(&book, OPS), ["users run_failed Raised"]);
    restart(&mut book, &mut kept, at(3));
    assert_eq!(kept.len(), 1);
    // Without a limit nothing is late any more, and nobody is told that it is well again, which nobody knows.
    book.set(&setup(&["users"]), at(100));
    book.look(at(200));
    tell(&mut book, OPS);
    let mut unlimited = setup(&["users"]);
    unlimited.jobs[0].limit = None;
    book.set(&unlimited, at(201));
    book.look(at(201));
    assert_eq!(due(&book, OPS), Vec::<String>::new());
}

#[test]
fn runs_by_hand_of_jobs_that_are_not_enabled_alert_nobody() {
    let mut book = book(&["orders"]);
    book.hear(&failed("by_hand"), at(1));
    assert_eq!(due(&book, OPS), Vec::<String>::new());
}

#[test]
fn a_storm_comes_in_messages_of_twenty() {
    let names: Vec<String> = (0..50).map(|number| format!("job_{number:02}")).collect();
    let mut book = book(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for (minute, name) in (0..).zip(&names) {
        book.hear(&failed(name), at(minute));
    }
    let told: Vec<usize> = (0..4).map(|_| tell(&mut book, OPS).len()).collect();
    assert_eq!(told, [20, 20, 10, 0]);
}

#[test]
fn what_could_not_be_saved_is_saved_the_next_time() {
    let mut book = book(&["orders"]);
    book.hear(&failed("orders"), at(1));
    let changes = book.changes_to_save();
    assert_eq!((changes.len(), book.changes_to_save()), (1, Vec::new()));
    book.unsaved(&changes[0]);
    assert_eq!(book.changes_to_save(), changes);
}
