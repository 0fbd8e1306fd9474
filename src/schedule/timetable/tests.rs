mod history;
mod parking;

use jiff::tz::TimeZone;

use super::*;
use crate::config::catalog::CatchUp;
use crate::error::ErrorKind;

fn at(text: &str) -> Timestamp {
    // `10:20` and `10:20:30` of one day, or an instant in full.
    match text.len() {
        5 => format!("2026-01-10T{text}:00Z"),
        8 => format!("2026-01-10T{text}Z"),
        _ => text.to_owned(),
    }
    .parse()
    .expect("an instant")
}

fn name(job: &str) -> JobName {
    JobName::new(job)
}

fn job(job: &str, schedule: &str, catch_up: CatchUp) -> ScheduledJob {
    let schedule = (!schedule.is_empty()).then(|| Schedule::parse(schedule, TimeZone::UTC).expect("a schedule"));
    ScheduledJob { job: name(job), schedule, catch_up, after: Vec::new(), jitter: SignedDuration::ZERO, shares: "api".to_owned() }
}

fn after(job_name: &str, first: &[&str]) -> ScheduledJob {
    ScheduledJob { after: first.iter().map(|first| name(first)).collect(), ..job(job_name, "", CatchUp::One) }
}

/// A table and a state that grants each due time once, as the real ones do.
struct Desk {
    table: Timetable,
    state: BTreeMap<JobName, DueTimes>,
    places: usize,
}

impl Desk {
    fn new(jobs: Vec<ScheduledJob>, now: &str) -> Self {
        let mut desk = Desk { table: Timetable::new(jobs, &BTreeMap::new(), at(now)), state: BTreeMap::new(), places: 100 };
        desk.save();
        desk
    }

    /// The process ends, and the next one begins with these jobs.
    fn restart(&mut self, jobs: Vec<ScheduledJob>, now: &str) {
        self.table = Timetable::new(jobs, &self.state, at(now));
        self.save();
    }

    fn save(&mut self) {
        let rows = self.table.unsaved();
        self.table.saved(&rows);
        self.state.extend(rows);
    }

    /// What starts at this moment: `a 10:20 schedule`.
    fn at(&mut self, now: &str) -> Vec<String> {
        self.table.advance(at(now));
        self.starts(now)
    }

    fn starts(&mut self, now: &str) -> Vec<String> {
        self.save();
        let mut shown = Vec::new();
        loop {
            let starts = self.table.take_ready(at(now), self.places.saturating_sub(self.table.running()));
            if starts.is_empty() {
                self.save();
                return shown;
            }
            for start in starts {
                if let Some(claim) = start.claim {
                    let row = self.state.get_mut(&start.due.job).expect("it was saved before");
                    assert!(row.last_due.is_none_or(|last_due| last_due < claim.due_at), "{} twice", claim.due_at);
                    (row.last_due, row.next_due, row.owed_after) = (Some(claim.due_at), claim.next_due, None);
                    (row.parked_until, row.parked_reason) = (None, None);
                }
                self.table.confirm(&start);
                let due_at = start.due.due_at.map_or("-".to_owned(), |due_at| due_at.strftime("%H:%M:%S").to_string());
                let why = match &start.due.why {
                    Why::After(first) => format!("after {first}"),
                    other => other.name().to_owned(),
                };
                shown.push(format!("{} {} {why}", start.due.job, due_at.strip_suffix(":00").unwrap_or(&due_at)));
            }
        }
    }

    /// The job's run ends, and what starts then.
    fn end(&mut self, job: &str, ended: RunEnd, now: &str) -> Vec<String> {
        self.table.finish(&name(job), ended, at(now));
        self.at(now)
    }

    fn done(&mut self, job: &str, now: &str) -> Vec<String> {
        self.end(job, RunEnd::Done, now)
    }

    fn notices(&mut self) -> Vec<String> {
        self.table.take_notices().into_iter().map(|notice| format!("{} {}: {}", notice.job, notice.kind, notice.text)).collect()
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_job_runs_when_it_is_due_and_not_before() {
    let mut desk = Desk::new(vec![job("a", "*/10 * * * *", CatchUp::One)], "10:05");
    assert_eq!(desk.at("10:05"), NOTHING, "nothing of the time before it was known is missed");
    assert_eq!(desk.table.next_wake(), Some(at("10:10")));
    assert_eq!(desk.at("10:09:59"), NOTHING);
    assert_eq!(desk.at("10:10"), ["a 10:10 schedule"]);
    assert_eq!(desk.at("10:10"), NOTHING, "a second ring changes nothing");
    assert_eq!(desk.table.next_wake(), None, "while it runs there is nothing to decide");
    assert_eq!(desk.done("a", "10:12"), NOTHING);
    assert_eq!(desk.table.next_wake(), Some(at("10:20")));
    assert_eq!(desk.at("10:20:40"), ["a 10:20 schedule"], "a ring that comes late is on time");
}

#[test]
fn no_job_runs_beside_itself() {
    // O-06, R-43
    for (catch_up, then) in [
        (CatchUp::None, vec!["a 10:50 schedule"]),
        (CatchUp::One, vec!["a 10:40 catch_up", "a 10:50 schedule"]),
        (CatchUp::All, vec!["a 10:20 catch_up", "a 10:30 catch_up", "a 10:40 catch_up", "a 10:50 schedule"]),
    ] {
        let mut desk = Desk::new(vec![job("a", "*/10 * * * *", catch_up)], "10:05");
        assert_eq!(desk.at("10:10"), ["a 10:10 schedule"]);
        for now in ["10:20", "10:30", "10:40"] {
            assert_eq!(desk.at(now), NOTHING, "{catch_up:?}");
        }
        let mut starts = desk.done("a", "10:40:30");
        for seconds in 31..40 {
            let now = format!("10:40:{seconds}");
            starts.extend(if desk.table.running() > 0 { desk.done("a", &now) } else { desk.at(&now) });
        }
        starts.extend(desk.at("10:50"));
        assert_eq!(starts, then, "{catch_up:?}");
        assert_eq!(desk.notices().len(), usize::from(catch_up == CatchUp::None), "{catch_up:?}");
    }
}

#[test]
fn what_was_missed_while_nothing_ran_is_caught_up_on() {
    // O-06
    for (catch_up, then) in [
        (CatchUp::None, vec![]),
        (CatchUp::One, vec!["a 10:40 catch_up"]),
        (CatchUp::All, vec!["a 10:20 catch_up", "a 10:30 catch_up", "a 10:40 catch_up"]),
    ] {
        let jobs = vec![job("a", "*/10 * * * *", catch_up)];
        let mut desk = Desk::new(jobs.clone(), "10:05");
        assert_eq!(desk.at("10:10"), ["a 10:10 schedule"]);
        desk.done("a", "10:11");
        desk.restart(jobs.clone(), "10:45");
        let mut starts = desk.at("10:45");
        // Killed in the middle of catching up: the rest is still missed, no more.
        desk.restart(jobs, "10:46");
        for _ in 0..5 {
            starts.extend(desk.at("10:46"));
            starts.extend(desk.done("a", "10:46"));
        }
        assert_eq!(starts, then, "{catch_up:?}");
    }
}

#[test]
fn a_short_restart_misses_nothing() {
    for catch_up in [CatchUp::None, CatchUp::One, CatchUp::All] {
        let jobs = vec![job("a", "*/10 * * * *", catch_up)];
        let mut desk = Desk::new(jobs.clone(), "10:05");
        desk.restart(jobs, "10:10:20");
        assert_eq!(desk.at("10:10:20"), ["a 10:10 schedule"], "{catch_up:?}");
    }
}

#[test]
fn a_due_time_that_was_never_claimed_is_not_lost() {
    // It waited for a place when the process was killed.
    let jobs = vec![job("a", "*/10 * * * *", CatchUp::One), job("b", "*/10 * * * *", CatchUp::One)];
    let mut desk = Desk::new(jobs.clone(), "10:05");
    desk.places = 1;
    assert_eq!(desk.at("10:10"), ["a 10:10 schedule"]);
    desk.restart(jobs, "10:13");
    assert_eq!(desk.at("10:13"), ["b 10:10 catch_up"]);
}

#[test]
fn one_run_makes_up_for_what_came_due_while_it_waited() {
    for (catch_up, then) in [
        (CatchUp::None, vec!["b 10:10 schedule"]),
        (CatchUp::One, vec!["b 10:30 schedule"]),
        (CatchUp::All, vec!["b 10:10 schedule", "b 10:20 catch_up", "b 10:30 catch_up"]),
    ] {
        let mut desk = Desk::new(vec![job("a", "10 10 * * *", CatchUp::One), job("b", "*/10 * * * *", catch_up)], "10:05");
        desk.places = 1;
        assert_eq!(desk.at("10:10"), ["a 10:10 schedule"]);
        desk.at("10:20");
        desk.at("10:30");
        let mut starts = desk.done("a", "10:35");
        for _ in 0..4 {
            starts.extend(desk.done("b", "10:35"));
        }
        assert_eq!(starts, then, "{catch_up:?}");
    }
}

#[test]
fn the_clock_steps_back_and_no_due_time_comes_twice() {
    // D-37
    for catch_up in [CatchUp::None, CatchUp::One, CatchUp::All] {
        let jobs = vec![job("a", "*/10 * * * *", catch_up)];
        let mut desk = Desk::new(jobs.clone(), "10:05");
        for (now, due) in [("10:10", "a 10:10 schedule"), ("10:20", "a 10:20 schedule")] {
            assert_eq!(desk.at(now), [due]);
            desk.done("a", now);
        }
        for now in ["09:30", "10:10", "10:20", "10:29:59"] {
            assert_eq!(desk.at(now), NOTHING, "{catch_up:?} {now}");
        }
        desk.restart(jobs, "10:10");
        assert_eq!(desk.at("10:10"), NOTHING);
        assert_eq!(desk.at("10:30"), ["a 10:30 schedule"], "{catch_up:?}");
    }
}

#[test]
fn the_clock_steps_forward_like_an_outage() {
    // D-37
    for (catch_up, then) in
        [(CatchUp::None, vec![]), (CatchUp::One, vec!["a 10:50 catch_up"]), (CatchUp::All, vec!["a 10:20 catch_up"])]
    {
        let mut desk = Desk::new(vec![job("a", "*/10 * * * *", catch_up)], "10:05");
        desk.at("10:10");
        desk.done("a", "10:11");
        assert_eq!(desk.at("10:55"), then, "{catch_up:?}");
    }
}

#[test]
fn what_waits_does_not_wait_longer_when_the_clock_is_put_back() {
    let mut jobs = vec![job("a", "0 * * * *", CatchUp::One), job("b", "0 * * * *", CatchUp::One)];
    jobs.iter_mut().for_each(|job| job.jitter = SignedDuration::from_secs(60));
    let mut desk = Desk::new(jobs, "10:30");
    assert_eq!(desk.at("11:00").len(), 1);
    assert_eq!(desk.table.next_wake(), Some(at("11:00:01")));
    desk.table.advance(at("10:00"));
    assert_eq!(desk.table.next_wake(), Some(at("10:00:01")));
    assert_eq!(desk.at("10:00:01").len(), 1);
}

#[test]
fn a_due_time_far_ahead_is_not_believed_for_long() {
    // D-37: the clock was a year ahead for a while.
    let jobs = vec![job("a", "0 * * * *", CatchUp::One)];
    let mut desk = Desk::new(jobs.clone(), "10:30");
    assert_eq!(desk.at("2027-01-10T11:00:00Z"), ["a 11:00 catch_up"]);
    desk.done("a", "2027-01-10T11:00:00Z");
    for now in ["10:31", "11:00", "11:30"] {
        assert_eq!(desk.at(now), NOTHING);
    }
    desk.notices();
    assert_eq!(desk.at("11:45"), NOTHING);
    assert_eq!(desk.notices().len(), 1);
    assert_eq!(desk.at("12:00"), ["a 12:00 schedule"]);
    // The clock of now is wrong and is set right: nothing is believed that is not so.
    let mut desk = Desk::new(jobs.clone(), "10:30");
    desk.at("11:00");
    desk.done("a", "11:00");
    desk.restart(jobs, "2020-01-01T00:00:00Z");
    assert_eq!(desk.at("2020-01-01T00:00:00Z"), NOTHING);
    assert_eq!(desk.at("2020-01-01T00:40:00Z"), NOTHING);
    assert_eq!(desk.at("11:10"), NOTHING);
    assert_eq!(desk.notices(), NOTHING);
    assert_eq!(desk.at("12:00"), ["a 12:00 schedule"]);
}

#[test]
fn catching_up_has_a_bound() {
    let jobs = vec![job("a", "* * * * * *", CatchUp::All)];
    let mut desk = Desk::new(jobs.clone(), "10:00");
    desk.restart(jobs, "2026-03-10T10:00:00Z");
    let first = desk.at("2026-03-10T10:00:00Z");
    assert_eq!(first, ["a 07:13:21 catch_up"], "10,000 seconds before 10:00:00, this one included");
    let notices = desk.notices();
    assert_eq!(notices.len(), 1);
    assert!(notices[0].starts_with("a due_capped: more than 10000 due times were missed"), "{notices:?}");
    let mut runs = 1;
    while !desk.done("a", "2026-03-10T10:00:00Z").is_empty() {
        runs += 1;
    }
    assert_eq!((runs, desk.notices().len()), (CATCH_UP_MAX, 0));
}

#[test]
fn jobs_run_after_jobs_that_succeed() {
    let mut jobs = vec![job("a", "0 * * * *", CatchUp::One), after("b", &["a"]), after("c", &["a", "b"]), after("d", &["x"])];
    jobs[1].catch_up = CatchUp::None;
    let mut desk = Desk::new(jobs.clone(), "10:30");
    assert_eq!(desk.at("11:00"), ["a 11:00 schedule"]);
    assert_eq!(desk.end("a", RunEnd::Failed { kind: ErrorKind::Data, reason: "x".to_owned() }, "11:01"), NOTHING);
    assert_eq!(desk.at("12:00"), ["a 12:00 schedule"]);
    assert_eq!(desk.done("a", "12:01"), ["b - after a", "c - after a"]);
    // A success while it runs is one more run behind it, however many there were.
    assert_eq!(desk.at("13:00"), ["a 13:00 schedule"]);
    assert_eq!(desk.done("a", "13:01"), NOTHING);
    assert_eq!(desk.done("b", "13:02"), ["b - after a"]);
    assert_eq!(desk.done("c", "13:03"), ["c - after b"]);
    // What is owed outlives the process.
    assert_eq!(desk.done("b", "13:04"), NOTHING);
    desk.restart(jobs.clone(), "13:05");
    assert_eq!(desk.at("13:05"), ["c - after b"]);
    desk.done("c", "13:06");
    desk.restart(jobs, "13:07");
    assert_eq!(desk.at("13:07"), NOTHING, "and is paid once");
}

#[test]
fn a_run_by_hand_comes_first() {
    let jobs = ["a", "b", "c"].map(|name| job(name, "0 * * * *", CatchUp::One)).to_vec();
    let mut desk = Desk::new(jobs, "10:30");
    desk.places = 1;
    assert_eq!(desk.at("11:00"), ["a 11:00 schedule"]);
    let (unknown, behind) = desk.table.ask(&["a", "c", "x"].map(name), at("11:01"));
    assert_eq!((unknown, behind), (vec![name("x")], vec![name("a")]));
    assert_eq!(desk.done("a", "11:02"), ["c 11:00 hand"], "its due time is done with by the same run");
    assert_eq!(desk.done("c", "11:03"), ["a - hand"]);
    assert_eq!(desk.done("a", "11:04"), ["b 11:00 schedule"]);
    assert_eq!(desk.done("b", "11:05"), NOTHING);
}

#[test]
fn a_parked_job_waits_for_its_moment_or_for_somebody() {
    //
    let parked = |until: Option<&str>| RunEnd::Parked { until: until.map(at), reason: "quota".to_owned() };
    let jobs = vec![job("a", "0 * * * *", CatchUp::One)];
    let mut desk = Desk::new(jobs.clone(), "10:30");
    assert_eq!(desk.at("11:00"), ["a 11:00 schedule"]);
    assert_eq!(desk.end("a", parked(Some("11:30")), "11:01"), NOTHING);
    assert_eq!(desk.table.next_wake(), Some(at("11:30")));
    assert_eq!(desk.at("11:30"), ["a - resume"]);
    assert_eq!(desk.end("a", parked(Some("13:30")), "11:31"), NOTHING);
    assert_eq!(desk.at("12:00"), NOTHING);
    assert_eq!(desk.at("13:30"), ["a 13:00 resume"], "one run for the rest and for what it missed");
    // A moment that is over already is not asked at once, again and again.
    assert_eq!(desk.end("a", parked(Some("13:00")), "13:31"), NOTHING);
    assert_eq!(desk.at("13:31:10"), ["a - resume"]);
    assert_eq!(desk.end("a", parked(None), "13:32"), NOTHING);
    assert_eq!(desk.at("2026-01-12T00:00:00Z"), NOTHING);
    desk.table.ask(&[name("a")], at("2026-01-12T00:00:00Z"));
    assert_eq!(desk.starts("2026-01-12T00:00:00Z"), ["a 00:00 hand"]);
    assert_eq!(desk.end("a", parked(None), "2026-01-12T00:01:00Z"), NOTHING);
    desk.table.reload(jobs, &BTreeMap::new(), at("2026-01-12T00:02:00Z"));
    assert_eq!(desk.starts("2026-01-12T00:02:00Z"), ["a - resume"]);
}

#[test]
fn a_reload_touches_only_what_changed() {
    // O-04
    let jobs = ["a", "b", "c", "d"].map(|name| job(name, "0 * * * *", CatchUp::All)).to_vec();
    let mut desk = Desk::new(jobs, "10:30");
    assert_eq!(desk.at("11:00").len(), 4);
    desk.done("d", "11:01");
    let next = vec![
        job("b", "*/10 * * * *", CatchUp::All),
        job("c", "0 * * * *", CatchUp::All),
        job("d", "0 * * * *", CatchUp::None),
        job("e", "0 * * * *", CatchUp::All),
    ];
    let reloaded = desk.table.reload(next.clone(), &desk.state, at("11:05"));
    let expected = Reloaded { added: vec![name("e")], removed: vec![name("a")], rescheduled: vec![name("b")] };
    assert_eq!(reloaded, expected);
    assert_eq!(desk.at("11:05"), NOTHING, "another schedule has missed nothing");
    assert_eq!(desk.table.view(at("11:05")).running, 3, "also the run of the job that is gone");
    assert_eq!(desk.done("a", "11:06"), NOTHING);
    assert!(!desk.table.knows(&name("a")));
    assert_eq!(desk.done("b", "11:07"), NOTHING);
    assert_eq!(desk.at("11:10"), ["b 11:10 schedule"]);
    desk.done("c", "11:11");
    let mut starts = desk.at("12:00");
    starts.sort();
    assert_eq!(starts, ["c 12:00 schedule", "d 12:00 schedule", "e 12:00 schedule"]);
    // Removed and back again while its run goes on: that run is still its own.
    let without: Vec<ScheduledJob> = next.iter().filter(|job| job.job.as_str() != "c").cloned().collect();
    desk.table.reload(without, &desk.state, at("12:01"));
    desk.table.reload(next.clone(), &desk.state, at("12:02"));
    assert!(desk.table.is_running(&name("c")));
    assert_eq!(desk.done("c", "12:03"), NOTHING);
    assert_eq!(desk.table.running(), 3);
    // A job that was gone for a while has missed what came due meanwhile.
    let only = |keep: &str| next.iter().filter(|job| job.job.as_str() == keep).cloned().collect();
    desk.table.reload(only("e"), &desk.state, at("12:30"));
    desk.done("e", "12:31");
    desk.table.reload(next, &desk.state, at("14:30"));
    let starts = desk.at("14:30");
    assert!(starts.contains(&"c 13:00 catch_up".to_owned()), "{starts:?}");
}

#[test]
fn a_changed_schedule_begins_anew_over_a_restart() {
    let mut desk = Desk::new(vec![job("a", "0 * * * *", CatchUp::All)], "10:30");
    desk.restart(vec![job("a", "*/10 * * * *", CatchUp::All)], "14:05");
    assert_eq!(desk.at("14:05"), NOTHING);
    assert_eq!(desk.at("14:10"), ["a 14:10 schedule"]);
    assert_eq!(desk.state[&name("a")].schedule, "*/10 * * * * (UTC)");
}

#[test]
fn a_run_that_waits_outlives_a_change_of_its_schedule() {
    let mut desk = Desk::new(vec![job("a", "0 * * * *", CatchUp::One), job("b", "0 * * * *", CatchUp::One)], "10:30");
    desk.places = 1;
    assert_eq!(desk.at("11:00"), ["a 11:00 schedule"]);
    let next = vec![job("a", "0 * * * *", CatchUp::One), job("b", "*/7 * * * *", CatchUp::One)];
    desk.table.reload(next, &BTreeMap::new(), at("11:01"));
    assert_eq!(desk.done("a", "11:02"), ["b 11:00 schedule"]);
    assert_eq!(desk.done("b", "11:03"), NOTHING);
    assert_eq!(desk.at("11:07"), ["b 11:07 schedule"]);
}

#[test]
fn a_refused_claim_starts_nothing_and_the_rest_goes_on() {
    let mut desk = Desk::new(vec![job("a", "*/10 * * * *", CatchUp::All)], "10:05");
    desk.table.advance(at("10:25"));
    let start = desk.table.take_ready(at("10:25"), 1).remove(0);
    assert_eq!(start.claim, Some(Claim { due_at: at("10:10"), next_due: Some(at("10:20")) }));
    assert_eq!(desk.table.refuse(&start, at("10:25")), None);
    assert_eq!(desk.starts("10:25"), ["a 10:20 catch_up"]);
    assert_eq!(desk.notices().len(), 1);
    desk.done("a", "10:26");
    // Somebody waits for that one: it runs, without the due time.
    desk.table.ask(&[name("a")], at("10:30"));
    let start = desk.table.take_ready(at("10:30"), 1).remove(0);
    assert_eq!((start.due.due_at, &start.due.why), (Some(at("10:30")), &Why::Hand));
    let rest = desk.table.refuse(&start, at("10:30")).expect("a run without a due time");
    assert_eq!((rest.due.due_at, rest.claim), (None, None));
    desk.table.confirm(&rest);
    assert_eq!(desk.done("a", "10:31"), NOTHING);
}

#[test]
fn a_state_that_does_not_answer_delays() {
    let mut desk = Desk::new(vec![job("a", "*/10 * * * *", CatchUp::One)], "10:05");
    desk.table.advance(at("10:10"));
    let start = desk.table.take_ready(at("10:10"), 1).remove(0);
    desk.table.postpone(&start, at("10:10"));
    assert_eq!(desk.table.take_ready(at("10:10"), 1), []);
    assert_eq!(desk.table.next_wake(), Some(at("10:10:10")));
    assert_eq!(desk.at("10:10:10"), ["a 10:10 schedule"]);
}

#[test]
fn jobs_of_one_credential_do_not_start_in_one_instant() {
    // O-06, S-73
    let mut jobs: Vec<ScheduledJob> = (0..350).map(|n| job(&format!("job{n}"), "0 * * * *", CatchUp::None)).collect();
    jobs.iter_mut().for_each(|job| job.jitter = SignedDuration::from_secs(60));
    for job in jobs.iter_mut().skip(300) {
        job.shares = job.job.to_string();
    }
    jobs[0].jitter = SignedDuration::ZERO;
    let mut desk = Desk::new(jobs.clone(), "10:30");
    desk.places = 1000;
    let first = desk.at("11:00");
    assert_eq!(first.len(), 52, "those alone with their credential, the one without jitter, and the first of the rest");
    let (mut starts, mut busiest) = (first.len(), 0);
    for second in 1..=60 {
        let started = desk.at(&format!("11:{:02}:{:02}", second / 60, second % 60));
        assert!(started.iter().all(|start| start.ends_with(" 11:00 schedule")), "the due time stays");
        busiest = busiest.max(started.len());
        starts += started.len();
    }
    assert_eq!((starts, busiest), (350, 5));
    // The same again: the same delays.
    let order = |jobs: Vec<ScheduledJob>| {
        let mut desk = Desk::new(jobs, "10:30");
        desk.table.advance(at("11:00"));
        desk.table.view(at("11:00")).jobs.into_iter().map(|job| job.waiting.map(|waiting| waiting.start_at)).collect::<Vec<_>>()
    };
    assert_eq!(order(jobs.clone()), order(jobs));
    // Never past half of the way to the next time.
    let mut jobs: Vec<ScheduledJob> = (0..20).map(|n| job(&format!("job{n}"), "*/4 * * * * *", CatchUp::None)).collect();
    jobs.iter_mut().for_each(|job| job.jitter = SignedDuration::from_secs(60));
    let mut desk = Desk::new(jobs, "10:30");
    desk.table.advance(at("10:30:04"));
    assert_eq!(desk.table.view(at("10:30:04")).waiting, 20);
    assert_eq!(desk.at("10:30:06").len(), 20);
}

#[test]
fn many_jobs_come_due_in_one_instant_and_start_in_turn() {
    // O-06
    let (early, late) = (job("", "0 * * * *", CatchUp::One), job("", "30 12 * * *", CatchUp::One));
    let named = |n: usize| ScheduledJob { job: name(&format!("job{n:05}")), ..if n < 1000 { &early } else { &late }.clone() };
    let jobs = (0..10_000).map(named).collect();
    let mut desk = Desk::new(jobs, "10:30");
    desk.places = 8;
    let mut started = desk.at("11:00");
    assert_eq!(started.len(), 8);
    let mut at_work: std::collections::VecDeque<String> = started.iter().cloned().collect();
    while let Some(start) = at_work.pop_front() {
        let next = desk.done(start.split(' ').next().expect("a name"), "11:00:30");
        assert!(next.len() <= 1 && desk.table.running() <= 8);
        at_work.extend(next.iter().cloned());
        started.extend(next);
    }
    let expected: Vec<String> = (0..1000).map(|n| format!("job{n:05} 11:00 schedule")).collect();
    assert_eq!(started, expected);
}

#[test]
fn stop_lets_nothing_begin() {
    let mut desk = Desk::new(vec![job("a", "0 * * * *", CatchUp::One), job("b", "0 * * * *", CatchUp::One)], "10:30");
    desk.places = 1;
    assert_eq!(desk.at("11:00").len(), 1);
    desk.table.stop();
    assert_eq!(desk.done("a", "11:01"), NOTHING);
    let view = desk.table.view(at("11:01"));
    assert!(view.stopping && view.running == 0 && view.waiting == 1);
}

#[test]
fn the_view_tells_where_each_job_stands() {
    let mut desk =
        Desk::new(vec![job("a", "0 * * * *", CatchUp::One), job("b", "0 * * * *", CatchUp::One), after("c", &["a"])], "10:30");
    desk.places = 1;
    desk.at("11:00");
    let view = desk.table.view(at("11:00"));
    assert_eq!((view.running, view.waiting), (1, 1));
    let [a, b, c] = view.jobs.as_slice() else { panic!("three jobs") };
    assert_eq!((a.schedule.as_deref(), a.next_due), (Some("0 * * * * (UTC)"), Some(at("12:00"))));
    assert_eq!(a.running.as_ref().map(|running| running.due_at), Some(Some(at("11:00"))));
    assert_eq!(b.waiting.as_ref().map(|waiting| waiting.why.clone()), Some(Why::Schedule));
    assert_eq!((c.schedule.as_deref(), c.next_due), (None, None));
    desk.end("a", RunEnd::Parked { until: None, reason: "the token is no good".to_owned() }, "11:10");
    let view = desk.table.view(at("11:10"));
    assert_eq!(view.jobs[0].parked.as_ref().map(|parked| parked.reason.as_str()), Some("the token is no good"));
    assert_eq!(view.jobs[0].last_end.as_ref().map(|end| end.ended.name()), Some("parked"));
}
