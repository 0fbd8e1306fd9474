//! The driver: its loop, its commands, runs that panic, a state that fails; with a clock and a bell of ours.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use highwater::cadence::Schedule;
use highwater::clock::Clock;
use highwater::config::catalog::CatchUp;
use highwater::error::ErrorKind;
use highwater::event::RunEnd;
use highwater::fault::FaultPlan;
use highwater::ids::JobName;
use highwater::schedule::{Driver, DueRun, Handle, Runner, ScheduleError, ScheduledJob};
use highwater::state::State;
use highwater::state::faulty::FaultyState;
use highwater::state::memory::MemoryState;
use highwater::stop::Stop;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::world::Deadline;
use crate::world::timer::{Bell, Ringing, Timer};

fn name(job: &str) -> JobName {
    JobName::new(job)
}

/// `11:00` of the day of these scenarios.
fn instant(time: &str) -> Timestamp {
    format!("2026-01-10T{time}:00Z").parse().unwrap()
}

fn job(job: &str, schedule: &str) -> ScheduledJob {
    let schedule =
        (!schedule.is_empty()).then(|| Schedule::parse(schedule, TimeZone::UTC).map_err(|wrong| wrong.message).unwrap());
    ScheduledJob {
        job: name(job),
        schedule,
        catch_up: CatchUp::One,
        after: Vec::new(),
        jitter: SignedDuration::ZERO,
        shares: String::new(),
    }
}

/// Runs that last until they are let go, and that end as was said before.
struct Script {
    started: Mutex<Vec<String>>,
    gate: Semaphore,
    now: AtomicUsize,
    most: AtomicUsize,
    ends: Mutex<BTreeMap<String, RunEnd>>,
}

#[async_trait]
impl Runner for Script {
    async fn run(&self, due: DueRun) -> RunEnd {
        let due_at = due.due_at.map_or("-".to_owned(), |due_at| due_at.strftime("%H:%M").to_string());
        self.started.lock().unwrap().push(format!("{} {due_at} {}", due.job, due.why.name()));
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.now.fetch_sub(1, Ordering::SeqCst);
        assert!(due.job.as_str() != "panics", "as it was told");
        self.ends.lock().unwrap().get(due.job.as_str()).cloned().unwrap_or(RunEnd::Done)
    }
}

struct Stage {
    clock: Arc<Timer>,
    script: Arc<Script>,
    handle: Handle,
    stop: Stop,
    tasks: JoinSet<Result<(), ScheduleError>>,
}

impl Stage {
    async fn new(state: Arc<dyn State>, jobs: Vec<ScheduledJob>, places: usize, ringing: Ringing) -> Stage {
        Stage::at("10:30", state, jobs, places, ringing).await
    }

    async fn at(now: &str, state: Arc<dyn State>, jobs: Vec<ScheduledJob>, places: usize, ringing: Ringing) -> Stage {
        let clock = Arc::new(Timer::new(instant(now)));
        let script = Arc::new(Script {
            started: Mutex::default(),
            gate: Semaphore::new(0),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            ends: Mutex::default(),
        });
        let (driver, handle) = Driver::new(state, clock.clone(), script.clone(), jobs, places);
        let driver = driver.woken_by(Box::new(Bell::new(&clock, ringing).0));
        let stop = Stop::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(driver.drive(stop.clone()));
        let stage = Stage { clock, script, handle, stop, tasks };
        // It has looked at the clock before anything happens.
        stage.settle().await;
        stage
    }

    /// Waits until the driver has nothing more to do at this moment.
    async fn settle(&self) {
        for _ in 0..3 {
            self.handle.ping().await.unwrap();
            tokio::task::yield_now().await;
        }
    }

    async fn pass(&self, seconds: u64) {
        self.clock.pass(Duration::from_secs(seconds));
        self.settle().await;
    }

    /// What has started since the last call.
    fn started(&self) -> Vec<String> {
        std::mem::take(&mut *self.script.started.lock().unwrap())
    }

    /// Lets that many runs end.
    async fn end(&self, runs: usize) {
        self.script.gate.add_permits(runs);
        self.settle().await;
    }
}

fn memory() -> Arc<dyn State> {
    Arc::new(MemoryState::new())
}

const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn a_ring_starts_what_is_due() {
    let stage = Stage::new(memory(), vec![job("a", "0 * * * *"), job("b", "")], 8, Ringing::Once).await;
    stage.pass(29 * 60).await;
    assert_eq!(stage.started(), NOTHING);
    stage.pass(60).await;
    assert_eq!(stage.started(), ["a 11:00 schedule"]);
    stage.end(1).await;
    let view = stage.handle.view();
    assert_eq!((view.running, view.jobs[0].last_end.as_ref().map(|end| end.ended.clone())), (0, Some(RunEnd::Done)));
}

#[tokio::test]
async fn rings_that_are_lost_or_doubled_change_nothing() {
    // O-06
    for ringing in [Ringing::Once, Ringing::Twice, Ringing::Never] {
        let stage = Stage::new(memory(), vec![job("a", "*/10 * * * *")], 8, ringing).await;
        let mut started = Vec::new();
        // The loop looks around by itself every 15 seconds.
        for _ in 0..(4 * 60) {
            stage.pass(15).await;
            started.extend(stage.started());
            stage.end(stage.script.now.load(Ordering::SeqCst)).await;
        }
        let expected = ["10:40", "10:50", "11:00", "11:10", "11:20", "11:30"].map(|due| format!("a {due} schedule"));
        assert_eq!(started, expected);
    }
}

#[tokio::test]
async fn a_thousand_at_once_keep_to_the_places() {
    // O-06: each once, in order, at most as many as there are places.
    let (early, late) = (job("", "0 11 * * *"), job("", "0 12 * * *"));
    let named = |n: usize| ScheduledJob { job: name(&format!("job{n:05}")), ..if n < 1000 { &early } else { &late }.clone() };
    let jobs = (0..10_000).map(named).collect();
    let stage = Stage::new(memory(), jobs, 8, Ringing::Once).await;
    stage.pass(30 * 60).await;
    assert_eq!(stage.script.now.load(Ordering::SeqCst), 8);
    for _ in 0..125 {
        stage.end(8).await;
    }
    let expected: Vec<String> = (0..1000).map(|n| format!("job{n:05} 11:00 schedule")).collect();
    assert_eq!(stage.started(), expected);
    assert_eq!(stage.script.most.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn a_run_that_panics_takes_nobody_along() {
    // S-75
    let stage = Stage::new(memory(), vec![job("panics", "0 * * * *"), job("b", "0 * * * *")], 8, Ringing::Once).await;
    stage.pass(30 * 60).await;
    assert_eq!(stage.started(), ["b 11:00 schedule", "panics 11:00 schedule"]);
    stage.end(2).await;
    let view = stage.handle.view();
    let ended = view.jobs[1].last_end.as_ref().map(|end| end.ended.clone());
    let Some(RunEnd::Failed { kind: ErrorKind::Bug, reason }) = ended else { panic!("{ended:?}") };
    assert_eq!(reason, "the run panicked, which is a bug of highwater: as it was told");
    stage.pass(60 * 60).await;
    assert_eq!(stage.started(), ["b 12:00 schedule", "panics 12:00 schedule"]);
}

#[tokio::test]
async fn runs_by_hand_are_told_of() {
    let stage = Stage::new(memory(), vec![job("a", "0 * * * *"), job("b", ""), job("panics", "")], 2, Ringing::Once).await;
    stage.pass(30 * 60).await;
    let mut runs = stage.handle.run_now(vec![name("a"), name("b"), name("b"), name("panics"), name("x")]).await.unwrap();
    assert_eq!((&runs.unknown, &runs.behind), (&vec![name("x")], &vec![name("a")]));
    for _ in 0..4 {
        stage.end(1).await;
    }
    assert_eq!(stage.started(), ["a 11:00 schedule", "b - hand", "a - hand", "panics - hand"]);
    let mut ends = Vec::new();
    while let Some((job, ended)) = runs.ends.recv().await {
        ends.push(format!("{job} {}", ended.name()));
    }
    ends.sort();
    assert_eq!(ends, ["a done", "b done", "panics failed"]);
}

#[tokio::test]
async fn a_reload_tells_who_waits_in_vain() {
    // O-04
    let stage = Stage::new(memory(), vec![job("a", ""), job("b", "")], 1, Ringing::Once).await;
    let mut runs = stage.handle.run_now(vec![name("a"), name("b")]).await.unwrap();
    assert_eq!(stage.handle.view().running, 1);
    let reloaded = stage.handle.reload(vec![job("c", "0 * * * *")]).await.unwrap();
    assert_eq!((reloaded.added, reloaded.removed), (vec![name("c")], vec![name("a"), name("b")]));
    assert_eq!(runs.ends.recv().await, Some((name("b"), RunEnd::Stopped)));
    stage.end(1).await;
    assert_eq!(runs.ends.recv().await, Some((name("a"), RunEnd::Done)));
    assert_eq!(runs.ends.recv().await, None);
    stage.pass(30 * 60).await;
    assert_eq!(stage.started(), ["a - hand", "c 11:00 schedule"]);
}

#[tokio::test]
async fn stop_waits_for_runs_and_begins_none() {
    let mut stage = Stage::new(memory(), vec![job("a", "0 * * * *"), job("b", "")], 1, Ringing::Once).await;
    stage.pass(30 * 60).await;
    let mut runs = stage.handle.run_now(vec![name("b")]).await.unwrap();
    stage.stop.request();
    stage.settle().await;
    assert!(stage.handle.view().stopping);
    assert!(stage.handle.run_now(vec![name("b")]).await.is_err());
    stage.settle().await;
    stage.script.gate.add_permits(1);
    assert!(stage.tasks.join_next().await.unwrap().unwrap().is_ok());
    assert_eq!(stage.started(), ["a 11:00 schedule"]);
    assert_eq!(runs.ends.recv().await, Some((name("b"), RunEnd::Stopped)));
    assert!(stage.handle.ping().await.is_err());
    assert_eq!(stage.handle.view().jobs[0].last_end.as_ref().map(|end| end.ended.clone()), Some(RunEnd::Done));
}

#[tokio::test]
async fn a_failing_state_delays_and_loses_nothing() {
    // Every call of the state fails once, before it was performed and after.
    for (n, after) in (2..12).flat_map(|n| [(n, false), (n, true)]) {
        let plan = FaultPlan::none();
        let plan = if after { plan.error_after(n) } else { plan.error_at(n) };
        let state = Arc::new(FaultyState::new(memory(), Arc::new(plan)));
        let mut follower = job("b", "");
        follower.after = vec![name("a")];
        let stage = Stage::new(state, vec![job("a", "0 * * * *"), follower], 8, Ringing::Once).await;
        let mut started = Vec::new();
        for _ in 0..(3 * 60 * 4) {
            stage.pass(15).await;
            started.extend(stage.started());
            stage.end(stage.script.now.load(Ordering::SeqCst)).await;
        }
        let expected = ["11:00", "12:00", "13:00"].map(|due| [format!("a {due} schedule"), "b - after".to_owned()]).concat();
        assert_eq!(started, expected, "call {n}, after: {after}");
    }
}

/// The run of this job ends as parked until then.
fn park(stage: &Stage, job: &str, until: &str) {
    let parked = RunEnd::Parked { until: Some(instant(until)), reason: "429".to_owned() };
    stage.script.ends.lock().unwrap().insert(job.to_owned(), parked);
}

fn parked_until(stage: &Stage, job: usize) -> Option<Timestamp> {
    stage.handle.view().jobs[job].parked.as_ref().and_then(|parked| parked.until)
}

#[tokio::test]
async fn a_parked_job_is_parked_in_the_next_process() {
    // with each catch_up, where the next process begins before that moment and after it.
    for (catch_up, before, after) in [
        (CatchUp::None, vec!["a - resume"], vec!["a - resume"]),
        (CatchUp::One, vec!["a 12:00 resume"], vec!["a 14:00 resume"]),
        (CatchUp::All, vec!["a 12:00 resume"], vec!["a 12:00 resume", "a 13:00 catch_up", "a 14:00 catch_up"]),
    ] {
        for (begins, expected) in [("11:30", before), ("14:30", after)] {
            let state = Arc::new(MemoryState::new());
            let mut jobs = vec![job("a", "0 * * * *"), job("b", "")];
            jobs[0].catch_up = catch_up;
            let stage = Stage::new(state.clone(), jobs.clone(), 8, Ringing::Once).await;
            park(&stage, "a", "12:30");
            stage.pass(30 * 60).await;
            assert_eq!(stage.started(), ["a 11:00 schedule"]);
            stage.end(1).await;
            assert_eq!(parked_until(&stage, 0), Some(instant("12:30")));
            // Killed: nobody says goodbye.
            drop(stage);
            let stage = Stage::at(begins, Arc::new(state.reopen()), jobs, 8, Ringing::Once).await;
            if begins < "12:30" {
                assert_eq!((parked_until(&stage, 0), parked_until(&stage, 1)), (Some(instant("12:30")), None));
                stage.pass(59 * 60).await;
                assert_eq!(stage.started(), NOTHING, "{catch_up:?}: not before its moment");
                stage.pass(60).await;
            }
            stage.script.gate.add_permits(expected.len());
            stage.settle().await;
            stage.settle().await;
            assert_eq!(stage.started(), expected, "{catch_up:?} from {begins}");
            assert_eq!(parked_until(&stage, 0), None);
        }
    }
}

#[tokio::test]
async fn a_state_that_fails_once_still_learns_of_a_parking() {
    //
    for (n, after) in (2..8).flat_map(|n| [(n, false), (n, true)]) {
        let plan = FaultPlan::none();
        let plan = if after { plan.error_after(n) } else { plan.error_at(n) };
        let kept = Arc::new(MemoryState::new());
        let state = Arc::new(FaultyState::new(kept.clone(), Arc::new(plan)));
        let jobs = vec![job("a", "0 * * * *")];
        let stage = Stage::new(state, jobs.clone(), 8, Ringing::Once).await;
        park(&stage, "a", "12:30");
        for _ in 0..4 {
            stage.pass(30 * 60 / 4).await;
        }
        stage.pass(15).await;
        assert_eq!(stage.started(), ["a 11:00 schedule"], "call {n}, after: {after}");
        stage.end(1).await;
        stage.pass(15).await;
        drop(stage);
        let stage = Stage::at("12:00", Arc::new(kept.reopen()), jobs, 8, Ringing::Once).await;
        assert_eq!((parked_until(&stage, 0), stage.started()), (Some(instant("12:30")), Vec::new()), "call {n}, after: {after}");
        stage.pass(30 * 60).await;
        assert_eq!(stage.started(), ["a 12:00 resume"], "call {n}, after: {after}");
    }
}

#[tokio::test]
async fn stop_does_not_wait_for_a_parked_job() {
    //
    let state = Arc::new(MemoryState::new());
    let jobs = vec![job("a", "0 * * * *"), job("b", "0 * * * *")];
    let mut stage = Stage::new(state.clone(), jobs.clone(), 8, Ringing::Once).await;
    park(&stage, "a", "13:30");
    park(&stage, "b", "14:30");
    stage.pass(30 * 60).await;
    stage.end(1).await;
    assert_eq!(parked_until(&stage, 0).into_iter().chain(parked_until(&stage, 1)).count(), 1);
    // One is parked, the other's run ends so while the driver stops.
    stage.stop.request();
    stage.script.gate.add_permits(1);
    assert!(stage.tasks.join_next().await.unwrap().unwrap().is_ok());
    assert_eq!(stage.clock.now(), instant("11:00"), "no time has passed");
    drop(stage);
    let stage = Stage::at("11:30", Arc::new(state.reopen()), jobs, 8, Ringing::Once).await;
    assert_eq!([parked_until(&stage, 0), parked_until(&stage, 1)], [Some(instant("13:30")), Some(instant("14:30"))]);
}

#[tokio::test]
async fn stop_does_not_wait_for_a_scheduler_that_is_stuck() {
    // O-03
    let mut stage = Stage::new(memory(), vec![job("a", "0 * * * *")], 8, Ringing::Stuck).await;
    stage.stop.request();
    let mut seconds = 0;
    let ended = loop {
        tokio::select! {
            biased;
            ended = stage.tasks.join_next() => break ended.unwrap().unwrap(),
            () = tokio::task::yield_now() => {}
        }
        assert!(seconds < 60, "it waits for the scheduler");
        stage.clock.pass(Duration::from_secs(1));
        seconds += 1;
    };
    assert!(ended.is_ok());
}

#[tokio::test]
async fn tokio_cron_scheduler_wakes_the_driver() {
    // The one scenario on the machine's own clock: a second's worth.
    let clock = Arc::new(highwater::clock::SystemClock::new());
    let script = Arc::new(Script {
        started: Mutex::default(),
        gate: Semaphore::new(100),
        now: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        ends: Mutex::default(),
    });
    let (driver, handle) = Driver::new(memory(), clock.clone(), script.clone(), vec![job("a", "every 1s")], 8);
    let stop = Stop::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.drive(stop.clone()));
    let deadline = Deadline::after(Duration::from_secs(30));
    while script.started.lock().unwrap().len() < 2 && !deadline.passed() {
        clock.sleep(Duration::from_millis(20)).await;
    }
    assert!(script.started.lock().unwrap().len() >= 2, "{:?}", handle.view());
    stop.request();
    assert!(tasks.join_next().await.unwrap().unwrap().is_ok());
}
