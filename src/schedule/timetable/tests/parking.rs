//! Jobs that are parked until a moment, over restarts and steps of the clock.

use super::*;
use crate::state::PARKED_REASON_MAX;

fn parked(until: &str) -> RunEnd {
    RunEnd::Parked { until: Some(at(until)), reason: "quota".to_owned() }
}

fn hourly() -> Vec<ScheduledJob> {
    vec![job("a", "0 * * * *", CatchUp::One)]
}

/// The hourly job, parked at 11:01.
fn parked_until(until: &str) -> Desk {
    let mut desk = Desk::new(hourly(), "10:30");
    assert_eq!(desk.at("11:00"), ["a 11:00 schedule"]);
    assert_eq!(desk.end("a", parked(until), "11:01"), NOTHING);
    desk
}

/// What the state keeps of the job's parking.
fn kept(desk: &Desk) -> Option<Timestamp> {
    desk.state[&name("a")].parked_until
}

fn shown(desk: &Desk, now: &str) -> Option<ParkedView> {
    desk.table.view(at(now)).jobs.remove(0).parked
}

#[test]
fn a_restart_changes_nothing() {
    //
    let mut desk = parked_until("13:30");
    assert_eq!(kept(&desk), Some(at("13:30")));
    let before = shown(&desk, "11:01");
    assert_eq!(before, Some(ParkedView { until: Some(at("13:30")), reason: "quota".to_owned() }));
    for now in ["11:05", "12:10"] {
        desk.restart(hourly(), now);
        assert_eq!(desk.at(now), NOTHING);
        assert_eq!((desk.table.next_wake(), shown(&desk, now)), (Some(at("13:30")), before.clone()));
    }
    assert_eq!(desk.at("13:29:59"), NOTHING);
    assert_eq!(kept(&desk), Some(at("13:30")));
    assert_eq!(desk.at("13:30"), ["a 13:00 resume"]);
    assert_eq!(kept(&desk), None, "its run has begun");
    desk.restart(hourly(), "13:31");
    assert_eq!((desk.at("13:31"), shown(&desk, "13:31")), (Vec::new(), None));
    assert_eq!(desk.at("14:00"), ["a 14:00 schedule"]);
}

#[test]
fn a_time_that_is_over_by_the_restart_resumes_at_once() {
    //
    let mut desk = parked_until("11:30");
    desk.places = 0;
    for now in ["11:40", "11:45"] {
        desk.restart(hourly(), now);
        assert_eq!(desk.at(now), NOTHING, "there is no place for it, and it is not forgotten");
    }
    desk.restart(hourly(), "11:50");
    desk.places = 1;
    assert_eq!(desk.at("11:50"), ["a - resume"], "nothing was due since");
    assert_eq!(kept(&desk), None);
    assert_eq!(desk.done("a", "11:51"), NOTHING);
    assert_eq!(desk.at("12:00"), ["a 12:00 schedule"]);
}

#[test]
fn what_was_due_meanwhile_is_caught_up_on_as_without_a_restart() {
    //
    for (catch_up, then) in [
        (CatchUp::None, vec!["a - resume", "a 10:50 schedule"]),
        (CatchUp::One, vec!["a 10:40 resume", "a 10:50 schedule"]),
        (CatchUp::All, vec!["a 10:20 resume", "a 10:30 catch_up", "a 10:40 catch_up", "a 10:50 schedule"]),
    ] {
        for restarts in [vec![], vec!["10:15"], vec!["10:15", "10:35"], vec!["10:45"]] {
            let jobs = vec![job("a", "*/10 * * * *", catch_up)];
            let mut desk = Desk::new(jobs.clone(), "10:05");
            assert_eq!(desk.at("10:10"), ["a 10:10 schedule"]);
            assert_eq!(desk.end("a", parked("10:45"), "10:11"), NOTHING);
            for now in ["10:15", "10:20", "10:30", "10:35", "10:40"] {
                if restarts.contains(&now) {
                    desk.restart(jobs.clone(), now);
                }
                assert_eq!(desk.at(now), NOTHING, "{catch_up:?} {restarts:?}");
            }
            if restarts.contains(&"10:45") {
                desk.restart(jobs, "10:45");
            }
            let mut starts = desk.at("10:45");
            for now in ["10:46", "10:47", "10:48"] {
                starts.extend(desk.done("a", now));
            }
            starts.extend(desk.at("10:50"));
            assert_eq!(starts, then, "{catch_up:?} {restarts:?}");
            let dropped = usize::from(catch_up == CatchUp::None);
            assert_eq!(desk.notices().len(), dropped, "{catch_up:?} {restarts:?}");
        }
    }
}

#[test]
fn jobs_without_a_schedule_resume_too() {
    let jobs = vec![after("a", &["b"]), job("b", "0 * * * *", CatchUp::One)];
    let mut desk = Desk::new(jobs.clone(), "10:30");
    assert_eq!(desk.at("11:00"), ["b 11:00 schedule"]);
    assert_eq!(desk.done("b", "11:01"), ["a - after b"]);
    desk.end("a", parked("12:30"), "11:02");
    desk.restart(jobs.clone(), "11:10");
    assert_eq!(desk.at("12:00"), ["b 12:00 schedule"]);
    assert_eq!(desk.done("b", "12:01"), NOTHING, "it is owed, and parked");
    desk.restart(jobs, "12:10");
    assert_eq!(desk.at("12:10"), NOTHING);
    assert_eq!(desk.at("12:30"), ["a - after b"], "one run for both");
    assert_eq!((kept(&desk), desk.state[&name("a")].owed_after.clone()), (None, None));
}

#[test]
fn another_schedule_runs_as_usual() {
    let mut desk = parked_until("13:30");
    desk.restart(vec![job("a", "*/10 * * * *", CatchUp::One)], "11:05");
    assert_eq!((desk.at("11:05"), shown(&desk, "11:05"), kept(&desk)), (Vec::new(), None, None));
    assert_eq!(desk.at("11:10"), ["a 11:10 schedule"]);
}

#[test]
fn whoever_asks_for_a_run_has_it() {
    //
    let mut desk = parked_until("13:30");
    desk.restart(hourly(), "11:05");
    assert_eq!(desk.at("11:05"), NOTHING);
    desk.table.ask(&[name("a")], at("11:06"));
    assert_eq!(desk.starts("11:06"), ["a - hand"]);
    assert_eq!(kept(&desk), None);
    // The source has not changed its mind.
    assert_eq!(desk.end("a", parked("13:31"), "11:07"), NOTHING);
    assert_eq!(kept(&desk), Some(at("13:31")));
}

#[test]
fn what_has_to_be_changed_may_have_been_changed_by_a_restart() {
    let mut desk = Desk::new(hourly(), "10:30");
    desk.at("11:00");
    desk.end("a", RunEnd::Parked { until: None, reason: "no token".to_owned() }, "11:01");
    assert_eq!(desk.at("12:00"), NOTHING);
    assert_eq!(kept(&desk), None);
    desk.restart(hourly(), "12:30");
    assert_eq!(desk.at("12:30"), ["a 12:00 catch_up"]);
}

#[test]
fn a_clock_that_is_put_back_keeps_nobody_parked_for_longer() {
    //
    let mut desk = parked_until("13:01");
    desk.table.advance(at("2020-01-01T00:00:00Z"));
    let until = at("2020-01-01T02:00:00Z");
    desk.save();
    assert_eq!((desk.table.next_wake(), kept(&desk)), (Some(until), Some(until)));
    // Between two processes nobody sees the step: a day and some at most, however often it is started.
    let mut desk = parked_until("13:01");
    let cut = at("2020-01-02T01:00:00Z");
    for now in ["2020-01-01T00:00:00Z", "2020-01-01T12:00:00Z", "2020-01-02T00:59:59Z"] {
        desk.restart(hourly(), now);
        assert_eq!(desk.at(now), NOTHING);
        assert_eq!((desk.table.next_wake(), kept(&desk)), (Some(cut), Some(cut)), "{now}");
    }
    assert_eq!(desk.at("2020-01-02T01:00:00Z"), ["a - resume"]);
}

#[test]
fn a_removed_job_is_as_parked_when_it_comes_back() {
    let mut desk = parked_until("13:30");
    desk.table.reload(Vec::new(), &desk.state, at("11:05"));
    desk.table.reload(hourly(), &desk.state, at("12:05"));
    assert_eq!(desk.at("12:05"), NOTHING);
    assert_eq!(desk.at("13:30"), ["a 13:00 resume"]);
    // Its run goes on while it is away: what the state kept of before is not believed.
    let mut stale = desk.state.clone();
    stale.get_mut(&name("a")).expect("its row").parked_until = Some(at("13:45"));
    desk.table.reload(Vec::new(), &desk.state, at("13:31"));
    desk.table.reload(hourly(), &stale, at("13:32"));
    assert_eq!(desk.done("a", "13:33"), NOTHING);
    assert_eq!(kept(&desk), None);
    assert_eq!(desk.at("14:00"), ["a 14:00 schedule"]);
}

#[test]
fn the_state_keeps_a_short_reason_and_only_what_it_lacks() {
    let mut desk = Desk::new(hourly(), "10:30");
    desk.at("11:00");
    let reason = "ü".repeat(PARKED_REASON_MAX * 3);
    desk.end("a", RunEnd::Parked { until: Some(at("13:30")), reason }, "11:01");
    let kept = desk.state[&name("a")].parked_reason.clone().expect("a reason");
    assert_eq!(kept.chars().count(), PARKED_REASON_MAX);
    desk.table = Timetable::new(hourly(), &desk.state, at("11:05"));
    assert_eq!(desk.table.unsaved(), []);
}

#[test]
fn whoever_looks_while_nobody_schedules_sees_the_same() {
    let desk = parked_until("13:30");
    let known = &desk.state[&name("a")];
    let schedule = |text: &str| job("a", text, CatchUp::One).schedule;
    let look = |text: &str, now: &str| still_parked(schedule(text).as_ref(), known, at(now)).and_then(|parked| parked.until);
    assert_eq!(look("0 * * * *", "11:05"), Some(at("13:30")));
    assert_eq!(look("0 * * * *", "13:30"), None, "it resumes");
    assert_eq!((look("*/10 * * * *", "11:05"), look("", "11:05")), (None, None));
    assert_eq!(look("0 * * * *", "2020-01-01T00:00:00Z"), Some(at("2020-01-02T01:00:00Z")));
    assert_eq!(still_parked(None, &DueTimes::default(), at("11:05")), None);
}
