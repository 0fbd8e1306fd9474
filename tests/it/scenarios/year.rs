//! A year of schedules: 300 jobs in five zones through changes of the clocks, an outage of three days, steps of the clock, reloads
//! and kills. What the driver did is compared, job by job, with what the papers say it does, told once more without its code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use highwater::cadence::Schedule;
use highwater::clock::Clock;
use highwater::config::catalog::CatchUp;
use highwater::event::RunEnd;
use highwater::ids::JobName;
use highwater::schedule::{Driver, DueRun, Handle, Runner, ScheduleError, ScheduledJob};
use highwater::state::State;
use highwater::state::memory::MemoryState;
use highwater::state::sqlite::SqliteState;
use highwater::stop::Stop;
use jiff::civil::{self, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use crate::world::timer::{Armed, Bell, Ringing, Timer};

const ZONES: [&str; 5] = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"];
const CATCH_UPS: [CatchUp; 3] = [CatchUp::None, CatchUp::One, CatchUp::All];
const SCHEDULES: [&str; 20] = [
    "30 2 * * *",
    "0 0 * * *",
    "*/30 2 * * *",
    "15 1,3 * * *",
    "0 0 * * 0",
    "0 0 1 * *",
    "0 12 13 * 5",
    "every 11h",
    "45 1 * * *",
    "0 3 * * 1-5",
    "10 2 * * 0",
    "0 0 29 2 *",
    "0 0 1 1 *",
    "5 4 * * *",
    "20 2 * * *",
    "59 23 31 12 *",
    "0 */12 * * *",
    "15 * 22-31 3,10 *",
    "30 */2 1-7 4,11 *",
    "30 1 * * *",
];

/// A moment of the test: time that has passed since its beginning, which never goes back.
type Tau = Duration;

/// A stretch in which the clock on the wall ran evenly.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: Tau,
    to: Tau,
    wall: Timestamp,
    /// A driver was at work.
    up: bool,
    /// It began with this stretch.
    began: bool,
}

/// A time in which a job was in the files with one schedule.
#[derive(Clone, Debug)]
struct Life {
    from: Tau,
    /// `None`: until the end.
    to: Option<Tau>,
    schedule: String,
}

#[derive(Clone, Debug)]
struct Run {
    start: Tau,
    end: Tau,
    due_at: Option<Timestamp>,
}

/// Runs of a length that hangs on the job and its due time, which note when they began and ended, also if they are cut off.
struct Log {
    timer: Arc<Timer>,
    runs: Mutex<BTreeMap<JobName, Vec<Run>>>,
    ends: Mutex<BTreeSet<(Tau, JobName)>>,
}

struct UnderWay<'a> {
    log: &'a Log,
    job: JobName,
    index: usize,
    planned: Tau,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let end = self.log.timer.elapsed();
        self.log.runs.lock().unwrap().get_mut(&self.job).unwrap()[self.index].end = end;
        self.log.ends.lock().unwrap().remove(&(self.planned, self.job.clone()));
    }
}

#[async_trait]
impl Runner for Log {
    async fn run(&self, due: DueRun) -> RunEnd {
        let start = self.timer.elapsed();
        let salt = due
            .job
            .as_str()
            .bytes()
            .fold(due.due_at.map_or(0, Timestamp::as_second) as u64, |sum, byte| sum * 31 % 99_991 + u64::from(byte));
        // Some run past their next due times. Never a whole second, so that no end falls onto a due time.
        let seconds = if salt % 40 == 0 { 20_000 + salt % 9_000 } else { 10 + salt % 300 };
        let planned = start + Duration::from_millis(seconds * 1000 + 123);
        let index = {
            let mut runs = self.runs.lock().unwrap();
            let runs = runs.entry(due.job.clone()).or_default();
            runs.push(Run { start, end: Tau::MAX, due_at: due.due_at });
            runs.len() - 1
        };
        self.ends.lock().unwrap().insert((planned, due.job.clone()));
        let _under_way = UnderWay { log: self, job: due.job, index, planned };
        self.timer.sleep(planned - start).await;
        RunEnd::Done
    }
}

/// The world, and the story so far.
struct Story {
    timer: Arc<Timer>,
    log: Arc<Log>,
    state: Arc<dyn State>,
    jobs: BTreeMap<JobName, ScheduledJob>,
    zones: BTreeMap<JobName, &'static str>,
    lives: BTreeMap<JobName, Vec<Life>>,
    stretches: Vec<Stretch>,
    process: Option<Process>,
}

struct Process {
    handle: Handle,
    stop: Stop,
    armed: Armed,
    tasks: JoinSet<Result<(), ScheduleError>>,
}

fn scheduled(name: &str, schedule: &str, zone: &str, catch_up: CatchUp, shares: String) -> ScheduledJob {
    let schedule = Schedule::parse(schedule, TimeZone::get(zone).unwrap()).map_err(|wrong| wrong.message).unwrap();
    let jitter = SignedDuration::from_secs(60);
    ScheduledJob { job: JobName::new(name), schedule: Some(schedule), catch_up, after: Vec::new(), jitter, shares }
}

impl Story {
    fn begin(wall: &str, count: usize, state: Arc<dyn State>) -> Story {
        let timer = Arc::new(Timer::new(wall.parse().unwrap()));
        let log = Arc::new(Log { timer: Arc::clone(&timer), runs: Mutex::default(), ends: Mutex::default() });
        let mut story = Story {
            timer,
            log,
            state,
            jobs: BTreeMap::new(),
            zones: BTreeMap::new(),
            lives: BTreeMap::new(),
            stretches: Vec::new(),
            process: None,
        };
        for n in 0..count {
            let (zone, catch_up, schedule) = (ZONES[n % 5], CATCH_UPS[n / 5 % 3], SCHEDULES[n / 15 % 20]);
            story.add(&format!("job{n:03}"), schedule, zone, catch_up);
        }
        story
    }

    /// Puts a job into the files, or another schedule into its file.
    fn add(&mut self, name: &str, schedule: &str, zone: &'static str, catch_up: CatchUp) {
        let now = self.timer.elapsed();
        // Ten credentials, so that jobs due together are spread.
        let shares = format!("api{}", name.bytes().map(usize::from).sum::<usize>() % 10);
        self.jobs.insert(JobName::new(name), scheduled(name, schedule, zone, catch_up, shares));
        self.zones.insert(JobName::new(name), zone);
        let lives = self.lives.entry(JobName::new(name)).or_default();
        if let Some(last) = lives.last_mut() {
            last.to.get_or_insert(now);
        }
        lives.push(Life { from: now, to: None, schedule: schedule.to_owned() });
    }

    fn remove(&mut self, name: &str) {
        let now = self.timer.elapsed();
        self.jobs.remove(&JobName::new(name)).unwrap();
        self.lives.get_mut(&JobName::new(name)).unwrap().last_mut().unwrap().to = Some(now);
    }

    fn stretch(&mut self, began: bool) {
        let from = self.timer.elapsed();
        if let Some(last) = self.stretches.last_mut() {
            last.to = from;
        }
        self.stretches.push(Stretch { from, to: Tau::MAX, wall: self.timer.now(), up: self.process.is_some(), began });
    }

    async fn start(&mut self) {
        let (bell, armed) = Bell::new(&self.timer, Ringing::Once);
        let jobs = self.jobs.values().cloned().collect();
        let (driver, handle) = Driver::new(self.state.clone(), self.timer.clone(), self.log.clone(), jobs, 40);
        let (stop, mut tasks) = (Stop::new(), JoinSet::new());
        tasks.spawn(driver.woken_by(Box::new(bell)).drive(stop.clone()));
        self.process = Some(Process { handle, stop, armed, tasks });
        self.stretch(true);
        self.settle().await;
    }

    /// What `kill -9` does.
    async fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.tasks.shutdown().await;
        self.stretch(false);
    }

    /// The clock on the wall is put forward or back while the driver works.
    async fn step(&mut self, by: SignedDuration) {
        self.timer.step(by);
        self.stretch(false);
        self.settle().await;
    }

    async fn reload(&mut self) {
        let jobs = self.jobs.values().cloned().collect();
        self.process.as_ref().unwrap().handle.reload(jobs).await.unwrap();
        self.settle().await;
    }

    /// Nothing is left to do at this moment: the runs that end have ended, and the driver knows.
    async fn settle(&self) {
        for _ in 0..2 {
            self.process.as_ref().unwrap().handle.ping().await.unwrap();
        }
    }

    /// Lets time pass up to a moment of the clock on the wall, from one moment to the next at which something happens.
    async fn until(&mut self, wall: &str) {
        let end: Timestamp = wall.parse().unwrap();
        while self.timer.now() < end {
            let now = self.timer.now();
            let Some(process) = &self.process else {
                return self.timer.pass(Duration::try_from(end.duration_since(now)).unwrap());
            };
            let ring = process.armed.lock().unwrap().map_or(end, |at| at.max(now));
            let run = self.log.ends.lock().unwrap().first().map(|(at, _)| *at - self.timer.elapsed());
            let ring = Duration::try_from(ring.min(end).duration_since(now)).unwrap();
            self.timer.pass(run.map_or(ring, |run| run.min(ring)));
            self.settle().await;
        }
    }

    /// The last runs end, and the driver with them.
    async fn end(&mut self) {
        let mut process = self.process.take().unwrap();
        process.stop.request();
        loop {
            tokio::select! {
                biased;
                done = process.tasks.join_next() => return assert!(done.unwrap().unwrap().is_ok()),
                () = tokio::task::yield_now() => {
                    let run = self.log.ends.lock().unwrap().first().map(|(at, _)| *at - self.timer.elapsed());
                    self.timer.pass(run.unwrap_or_default());
                }
            }
        }
    }
}

/// The field's numbers, spelled out.
fn numbers(field: &str, min: i8, max: i8) -> BTreeSet<i8> {
    let mut all = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, 1), |(range, step)| (range, step.parse().unwrap()));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None if range == "*" => (min, max),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        all.extend((from..=to).step_by(step));
    }
    all
}

/// Every due time of a schedule from the first day on, by going through the days of the calendar and the minutes of their clocks.
fn due_times(schedule: &str, zone: &str, first: civil::Date, days: usize) -> Vec<Timestamp> {
    let zone = TimeZone::get(zone).unwrap();
    if let Some(hours) = schedule.strip_prefix("every ").map(|text| text.trim_end_matches('h').parse::<i64>().unwrap()) {
        let begin = first.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second();
        let seconds = (begin..begin + days as i64 * 86_400).step_by(3600).filter(|second| second % (hours * 3600) == 0);
        return seconds.map(|second| Timestamp::from_second(second).unwrap()).collect();
    }
    let fields: Vec<&str> = schedule.split(' ').collect();
    let (minutes, hours) = (numbers(fields[0], 0, 59), numbers(fields[1], 0, 23));
    let (dates, months, weekdays) = (numbers(fields[2], 1, 31), numbers(fields[3], 1, 12), numbers(fields[4], 0, 6));
    let mut due = Vec::new();
    for day in first.series(jiff::ToSpan::days(1)).take(days) {
        let weekday = if day.weekday() == Weekday::Sunday { 0 } else { day.weekday().to_monday_one_offset() };
        let (date_fits, weekday_fits) = (dates.contains(&day.day()), weekdays.contains(&weekday));
        let either = fields[2] != "*" && fields[4] != "*";
        if !months.contains(&day.month()) || !(if either { date_fits || weekday_fits } else { date_fits && weekday_fits }) {
            continue;
        }
        for (hour, minute) in hours.iter().flat_map(|hour| minutes.iter().map(move |minute| (*hour, *minute))) {
            let wall = day.at(hour, minute, 0, 0);
            let open_hour = fields[1].starts_with('*');
            match zone.to_ambiguous_timestamp(wall).offset() {
                AmbiguousOffset::Unambiguous { offset } => due.push(offset.to_timestamp(wall).unwrap()),
                AmbiguousOffset::Fold { before, after } => {
                    due.push(before.to_timestamp(wall).unwrap());
                    due.extend(open_hour.then(|| after.to_timestamp(wall).unwrap()));
                }
                AmbiguousOffset::Gap { before, .. } if !open_hour => {
                    let beyond = before.to_timestamp(wall).unwrap() + SignedDuration::from_nanos(1);
                    due.push(zone.preceding(beyond).next().unwrap().timestamp());
                }
                AmbiguousOffset::Gap { .. } => {}
            }
        }
    }
    due.sort();
    due.dedup();
    due
}

/// What became of a job's due times.
#[derive(Default)]
struct Tally {
    jobs: usize,
    ticks: usize,
    on_time: usize,
    caught_up: usize,
    dropped: usize,
    double: usize,
}

impl Story {
    fn wall(&self, at: Tau) -> Timestamp {
        let stretch = self.stretches.iter().rev().find(|stretch| stretch.from <= at).unwrap();
        stretch.wall + SignedDuration::try_from(at - stretch.from).unwrap()
    }

    /// When drivers that knew the job saw that moment come on the clock: again, where it was put back or another one began.
    fn seen(&self, due: Timestamp, from: Tau, to: Tau) -> impl Iterator<Item = Tau> {
        let stretches = self.stretches.iter().filter(move |stretch| stretch.up && stretch.to > from && stretch.from < to);
        stretches.filter_map(move |stretch| {
            let first = stretch.from.max(from);
            let wall = stretch.wall + SignedDuration::try_from(first - stretch.from).unwrap();
            let ahead = due.duration_since(wall);
            let at = if ahead.is_negative() { first } else { first + Duration::try_from(ahead).unwrap() };
            (at < stretch.to.min(to)).then_some(at)
        })
    }

    /// Goes through one job's year as the papers tell it, and compares with what was run.
    fn judge(&self, job: &JobName, catch_up: CatchUp, tally: &mut Tally) {
        let runs = self.log.runs.lock().unwrap().get(job).cloned().unwrap_or_default();
        let mut left = runs.iter().peekable();
        assert!(runs.is_sorted_by(|one, other| one.end <= other.start), "{job} ran beside itself");
        let end = self.stretches.last().unwrap().to;
        let first_day = self.stretches[0].wall.to_zoned(TimeZone::UTC).date().yesterday().unwrap();
        let days = self.wall(end).duration_since(self.stretches[0].wall).as_hours() / 24 + 5;
        let mut settled = Timestamp::MIN;
        let lives = &self.lives[job];
        for (index, life) in lives.iter().enumerate() {
            let to = life.to.unwrap_or(end);
            // The same schedule again goes on where it was; another one begins anew.
            let same = index > 0 && lives[index - 1].schedule == life.schedule;
            if !same {
                settled = settled.max(self.wall(life.from));
            }
            let due: Vec<Timestamp> = due_times(&life.schedule, self.zones[job], first_day, days as usize);
            let due: Vec<Timestamp> = due.into_iter().filter(|due| *due > settled).collect();
            let mut coming: Vec<(Tau, Timestamp)> =
                due.iter().filter_map(|due| Some((self.seen(*due, life.from, to).next()?, *due))).collect();
            coming.sort();
            tally.ticks += coming.len();
            let begins = self.stretches.iter().filter(|stretch| stretch.began).map(|stretch| stretch.from.max(life.from));
            let ends: BTreeSet<Tau> = runs.iter().map(|run| run.end).collect();
            let mut moments: BTreeSet<Tau> = begins.chain(ends.iter().copied()).collect();
            moments.extend(due.iter().flat_map(|due| self.seen(*due, life.from, to)));
            moments.retain(|at| *at >= life.from && *at < to);
            let mut coming = coming.into_iter().peekable();
            let mut open: Vec<Timestamp> = Vec::new();
            // Until when the job is taken: it waits for its place or runs.
            let mut taken = Tau::ZERO;
            for at in moments {
                while let Some((_, due)) = coming.next_if(|(seen, _)| *seen <= at) {
                    open.push(due);
                }
                let before = runs.partition_point(|run| run.start < at);
                let busy = at < taken || before > 0 && at < runs[before - 1].end;
                // What has come once and lies ahead again, because the clock was put back, is not due.
                let wall = self.wall(at);
                let count = open.iter().filter(|due| **due <= wall).count();
                if busy || count == 0 {
                    continue;
                }
                let latest = open[count - 1];
                let after_run = ends.contains(&at) && !self.began(at);
                let on_time = wall.duration_since(latest) <= SignedDuration::from_secs(60) && !after_run;
                let killed = self.stretches.iter().find(|stretch| !stretch.up && stretch.from > at);
                let killed = killed.map_or(Tau::MAX, |stretch| stretch.from);
                if catch_up == CatchUp::None && !on_time {
                    tally.dropped += count;
                    settled = latest;
                    open.drain(..count);
                    continue;
                }
                // Its run begins now, or when a place is free; unless the driver is killed before, or stops.
                let Some(run) = left.next_if(|run| run.start < killed) else {
                    assert!(killed != Tau::MAX || self.ending(at), "{job}: {latest} was due and did not start, seen at {wall}");
                    taken = killed;
                    continue;
                };
                assert!(run.start >= at, "{job}: {:?} started before it was due, {latest}", run.due_at);
                let waited = run.start - at;
                assert!(waited < Duration::from_secs(8 * 3600), "{job}: {latest} waited for {waited:?}");
                let mut count = count;
                if catch_up == CatchUp::One {
                    // One run makes up for what came due until it began.
                    while let Some((_, due)) = coming.next_if(|(seen, _)| *seen <= run.start) {
                        open.push(due);
                    }
                    let wall = self.wall(run.start);
                    count = count.max(open.iter().filter(|due| **due <= wall).count());
                }
                let expected = if catch_up == CatchUp::All { open[0] } else { open[count - 1] };
                assert_eq!(run.due_at, Some(expected), "{job}: {} of {open:?}", life.schedule);
                if on_time && count == 1 {
                    tally.on_time += 1;
                } else {
                    tally.caught_up += 1;
                }
                if catch_up == CatchUp::All {
                    open.remove(0);
                } else {
                    tally.dropped += count - 1;
                    open.drain(..count);
                }
                settled = settled.max(expected);
                taken = run.end;
            }
            // What was seen in the last moments of a life, and is decided on in the next or never.
            tally.ticks -= open.len() + coming.count();
        }
        assert_eq!(left.next().map(|run| run.due_at), None, "{job} ran without reason");
        let fired: Vec<Timestamp> = runs.iter().filter_map(|run| run.due_at).collect();
        tally.double += fired.len() - fired.iter().collect::<BTreeSet<_>>().len();
        tally.jobs += 1;
    }

    fn began(&self, at: Tau) -> bool {
        self.stretches.iter().any(|stretch| stretch.began && stretch.from == at)
    }

    /// So late that the end of the story may have come before a place was free.
    fn ending(&self, at: Tau) -> bool {
        self.stretches.last().unwrap().to - at < Duration::from_secs(2 * 3600)
    }

    /// Compares all jobs and prints what became of their due times.
    fn tell(&self) {
        println!(
            "{:<20} {:<8} {:>5} {:>8} {:>8} {:>10} {:>8} {:>7}",
            "zone", "catch_up", "jobs", "ticks", "on time", "caught up", "dropped", "double"
        );
        let mut sum = Tally::default();
        for zone in ZONES {
            for catch_up in CATCH_UPS {
                let mut tally = Tally::default();
                let of_both = self.zones.iter().filter(|(job, of)| **of == zone && self.catch_up(job) == catch_up);
                of_both.for_each(|(job, _)| self.judge(job, catch_up, &mut tally));
                print(zone, catch_up.name(), &tally);
                let Tally { jobs, ticks, on_time, caught_up, dropped, double } = tally;
                assert_eq!((ticks, double), (on_time + caught_up + dropped, 0), "{zone} {catch_up:?}");
                sum.jobs += jobs;
                sum.ticks += ticks;
                sum.on_time += on_time;
                sum.caught_up += caught_up;
                sum.dropped += dropped;
            }
        }
        print("all", "", &sum);
        assert!(sum.caught_up > 0 && sum.dropped > 0);
    }

    /// The same over a job's lives, and told by its number.
    fn catch_up(&self, job: &JobName) -> CatchUp {
        let number: usize = job.as_str().trim_start_matches(|c: char| c.is_ascii_alphabetic()).parse().unwrap();
        CATCH_UPS[number / 5 % 3]
    }
}

fn print(zone: &str, catch_up: &str, tally: &Tally) {
    let Tally { jobs, ticks, on_time, caught_up, dropped, double } = tally;
    println!("{zone:<20} {catch_up:<8} {jobs:>5} {ticks:>8} {on_time:>8} {caught_up:>10} {dropped:>8} {double:>7}");
}

#[tokio::test]
async fn a_year_of_schedules() {
    // O-06, D-37, D-38, O-04
    let mut story = Story::begin("2028-01-01T12:37:17Z", 300, Arc::new(MemoryState::new()));
    story.start().await;
    story.until("2028-02-10T05:37:17Z").await;
    story.step(SignedDuration::from_hours(-2)).await;
    story.until("2028-03-01T09:37:17Z").await;
    // Files change: another schedule, jobs that are gone, one under a new name, a new one.
    for n in 60..75 {
        story.add(&format!("job{n:03}"), "40 5 * * *", ZONES[n % 5], CATCH_UPS[n / 5 % 3]);
    }
    (75..90).for_each(|n| story.remove(&format!("job{n:03}")));
    (90..105).for_each(|n| {
        story.remove(&format!("job{n:03}"));
        story.add(&format!("renamed{n:03}"), SCHEDULES[n / 15 % 20], ZONES[n % 5], CATCH_UPS[n / 5 % 3]);
    });
    story.reload().await;
    // Through the changes of March, with a kill in the middle of one in Berlin, and an outage over one in Lord Howe.
    story.until("2028-03-26T00:37:17Z").await;
    story.kill().await;
    story.until("2028-03-26T02:37:17Z").await;
    story.start().await;
    story.until("2028-04-01T12:37:17Z").await;
    story.kill().await;
    story.until("2028-04-01T16:17:17Z").await;
    story.start().await;
    story.until("2028-05-05T08:37:17Z").await;
    story.step(SignedDuration::from_mins(90)).await;
    // Some of those that were gone are back: what came due meanwhile was missed.
    for n in 75..85 {
        story.add(&format!("job{n:03}"), SCHEDULES[n / 15 % 20], ZONES[n % 5], CATCH_UPS[n / 5 % 3]);
    }
    story.reload().await;
    story.until("2028-06-20T20:37:17Z").await;
    // Three days of nothing.
    story.kill().await;
    story.until("2028-06-23T20:47:17Z").await;
    story.start().await;
    story.until("2028-08-08T10:37:17Z").await;
    story.step(SignedDuration::from_hours(25)).await;
    story.until("2028-08-09T15:37:17Z").await;
    story.step(SignedDuration::from_hours(-25)).await;
    story.until("2028-10-28T23:07:17Z").await;
    // Killed again and again through the night in which Berlin's clocks go back.
    for wall in ["2028-10-29T00:17:17Z", "2028-10-29T00:52:17Z", "2028-10-29T01:07:17Z", "2028-10-29T01:38:17Z"] {
        story.until(wall).await;
        story.kill().await;
        story.timer.pass(Duration::from_secs(200));
        story.start().await;
    }
    story.until("2029-01-01T12:37:17Z").await;
    story.end().await;
    story.stretches.last_mut().unwrap().to = story.timer.elapsed();
    story.tell();
}

#[tokio::test]
async fn a_month_of_schedules_on_sqlite() {
    // O-06, D-37, D-38
    let folder = tempfile::tempdir().unwrap();
    let open = async || Arc::new(SqliteState::open(&folder.path().join("highwater.db")).await.unwrap());
    let mut story = Story::begin("2028-03-20T12:37:17Z", 45, open().await);
    story.start().await;
    for (kill, start) in [("2028-03-26T00:37:17Z", "2028-03-26T04:37:17Z"), ("2028-04-01T15:07:17Z", "2028-04-02T20:37:17Z")] {
        story.until(kill).await;
        story.kill().await;
        story.until(start).await;
        // The next process opens the file anew; the one before must have let go of it.
        story.state = Arc::new(MemoryState::new());
        story.state = open().await;
        story.start().await;
    }
    story.until("2028-04-10T05:37:17Z").await;
    story.step(SignedDuration::from_hours(-3)).await;
    story.until("2028-04-20T12:37:17Z").await;
    story.end().await;
    story.stretches.last_mut().unwrap().to = story.timer.elapsed();
    story.tell();
}
