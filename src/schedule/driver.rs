//! The loop: rings, commands, ends of runs and the request to stop, one event at a time.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};

use super::alarm::{Alarm, CronAlarm};
use super::handle::{Command, HandRuns, Handle};
use super::timetable::{Start, Timetable};
use super::{Reloaded, Runner, ScheduleError, ScheduledJob, Why};
use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::event::RunEnd;
use crate::ids::{ClaimId, JobName};
use crate::state::{DueTimes, State, StateError};
use crate::stop::Stop;

/// At least this often the timetable is looked at, whether anything rang or not.
const LOOK: Duration = Duration::from_secs(15);

/// How long the scheduler has for taking a moment, and for shutting down.
const ARM_MAX: Duration = Duration::from_secs(5);

/// How long the state is left alone after it did not take what it has to keep.
const SAVE_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What is known of a job that no file names any more is kept for as long as its schedule may be wanted back.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Commands that wait for their turn; whoever sends more waits with them.
const COMMANDS: usize = 64;

enum Event {
    /// The moment that was set has come, or it is time to look.
    Wake,
    Command(Command),
    Ended {
        job: JobName,
        ended: RunEnd,
    },
    Stop,
}

/// Whoever waits for the end of a run that was asked for by hand.
type Waiter = mpsc::Sender<(JobName, RunEnd)>;

/// Starts runs when they are due.
pub struct Driver {
    state: Arc<dyn State>,
    clock: Arc<dyn Clock>,
    runner: Arc<dyn Runner>,
    jobs: Vec<ScheduledJob>,
    runs_at_once: usize,
    alarm: Option<Box<dyn Alarm>>,
    timetable: Arc<Mutex<Timetable>>,
    commands: mpsc::Receiver<Command>,
}

impl Driver {
    /// A driver of these jobs that has at most `runs_at_once` runs under way (at least one), and the handle to speak to it. It does
    /// nothing before [`drive`](Self::drive).
    pub fn new(
        state: Arc<dyn State>,
        clock: Arc<dyn Clock>,
        runner: Arc<dyn Runner>,
        jobs: Vec<ScheduledJob>,
        runs_at_once: usize,
    ) -> (Driver, Handle) {
        let (sender, commands) = mpsc::channel(COMMANDS);
        // The state has not been asked yet; until then the jobs stand there without a past.
        let timetable = Timetable::new(jobs.clone(), &BTreeMap::new(), clock.now());
        let timetable = Arc::new(Mutex::new(timetable));
        let handle = Handle { commands: sender, timetable: Arc::clone(&timetable), clock: Arc::clone(&clock) };
        let driver = Driver { state, clock, runner, jobs, runs_at_once: runs_at_once.max(1), alarm: None, timetable, commands };
        (driver, handle)
    }

    /// Is woken by another than tokio-cron-scheduler.
    pub fn woken_by(mut self, alarm: Box<dyn Alarm>) -> Self {
        self.alarm = Some(alarm);
        self
    }

    /// Works until `stop` is asked for and every run has ended; the runs watch `stop` themselves. Dropping it aborts the runs.
    ///
    /// # Errors
    /// Where the state cannot be read at the beginning, or the scheduler does not start. Later on, a state that does not answer
    /// delays runs and is told to the log.
    pub async fn drive(mut self, stop: Stop) -> Result<(), ScheduleError> {
        let now = self.clock.now();
        let known = read_known(&*self.state).await?;
        let jobs = std::mem::take(&mut self.jobs);
        forget(&*self.state, &jobs, &known, now).await;
        *lock(&self.timetable) = Timetable::new(jobs, &known, now);
        let alarm = match self.alarm.take() {
            Some(alarm) => alarm,
            None => {
                let alarm = CronAlarm::start().await;
                Box::new(alarm.map_err(|error| ScheduleError::Alarm { message: error.message })?)
            }
        };
        let mut at_work = AtWork {
            state: self.state,
            clock: self.clock,
            runner: self.runner,
            runs_at_once: self.runs_at_once,
            alarm,
            timetable: self.timetable,
            commands: self.commands,
            runs: JoinSet::new(),
            names: HashMap::new(),
            waiters: BTreeMap::new(),
            claims: BTreeMap::new(),
            armed: None,
            save_after: None,
        };
        at_work.settle_down().await;
        while !at_work.stopping() {
            let event = at_work.next_event(&stop).await;
            at_work.handle(event).await;
        }
        at_work.drain().await;
        Ok(())
    }
}

/// Drops what is known of jobs that are long gone. A job whose file has a problem is not here either, so nobody is forgotten at
/// once.
async fn forget(state: &dyn State, jobs: &[ScheduledJob], known: &BTreeMap<JobName, DueTimes>, now: Timestamp) {
    let here: BTreeSet<&JobName> = jobs.iter().map(|job| &job.job).collect();
    let long_gone = |known: &DueTimes| known.last_due.is_none_or(|last_due| now.duration_since(last_due) > FORGET_AFTER);
    let gone = known.iter().filter(|(job, known)| !here.contains(job) && long_gone(known));
    let gone: Vec<JobName> = gone.map(|(job, _)| job.clone()).collect();
    if gone.is_empty() {
        return;
    }
    if let Err(error) = state.forget_due_times(&gone).await {
        // They are tried again at the next start, and harm nobody until then.
        tracing::warn!(error = %error, "could not forget the due times of {} jobs that are gone", gone.len());
    }
}

async fn read_known(state: &dyn State) -> Result<BTreeMap<JobName, DueTimes>, StateError> {
    Ok(state.due_times().await?.into_iter().collect())
}

fn lock(timetable: &Mutex<Timetable>) -> MutexGuard<'_, Timetable> {
    // A panic while it was held would be a bug; to go on with what stands there is better than to run nothing any more.
    timetable.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver with all that it needs while it works.
struct AtWork {
    state: Arc<dyn State>,
    clock: Arc<dyn Clock>,
    runner: Arc<dyn Runner>,
    runs_at_once: usize,
    alarm: Box<dyn Alarm>,
    timetable: Arc<Mutex<Timetable>>,
    commands: mpsc::Receiver<Command>,
    runs: JoinSet<RunEnd>,
    names: HashMap<Id, JobName>,
    waiters: BTreeMap<JobName, Waiters>,
    /// Claims whose answer was lost: asked again, they must be known as the same.
    claims: BTreeMap<JobName, (Timestamp, ClaimId)>,
    armed: Option<Timestamp>,
    /// The state is not written to before this moment.
    save_after: Option<Timestamp>,
}

/// Whose wait ends with the run that is under way or next to begin, and whose with the one behind it.
#[derive(Default)]
struct Waiters {
    first: Vec<Waiter>,
    behind: Vec<Waiter>,
}

impl AtWork {
    fn stopping(&self) -> bool {
        lock(&self.timetable).is_stopping()
    }

    async fn next_event(&mut self, stop: &Stop) -> Event {
        tokio::select! {
            biased;
            () = stop.wait() => Event::Stop,
            Some(joined) = self.runs.join_next_with_id(), if !self.runs.is_empty() => ended(&mut self.names, joined),
            Some(command) = self.commands.recv() => Event::Command(command),
            () = self.alarm.ring() => {
                self.armed = None;
                Event::Wake
            }
            () = self.clock.sleep(LOOK) => Event::Wake,
        }
    }

    async fn handle(&mut self, event: Event) {
        let mut answer: Option<Box<dyn FnOnce() + Send>> = None;
        match event {
            Event::Wake => {}
            Event::Stop => lock(&self.timetable).stop(),
            Event::Ended { job, ended } => self.end(job, ended),
            Event::Command(Command::Ping { answer: to }) => answer = Some(Box::new(move || answer_one(to, ()))),
            Event::Command(Command::RunNow { jobs, answer: to }) => {
                let runs = self.ask(jobs);
                answer = Some(Box::new(move || answer_one(to, runs)));
            }
            Event::Command(Command::Reload { jobs, answer: to }) => {
                let reloaded = self.reload(jobs).await;
                answer = Some(Box::new(move || answer_one(to, reloaded)));
            }
        }
        self.settle_down().await;
        // Whoever asked is told when all that follows from it is done.
        if let Some(answer) = answer {
            answer();
        }
    }

    /// Does all that there is to do at this moment.
    async fn settle_down(&mut self) {
        lock(&self.timetable).advance(self.clock.now());
        self.save().await;
        self.start_ready().await;
        self.save().await;
        self.tell().await;
        self.arm().await;
    }

    /// Writes what the state has to keep.
    async fn save(&mut self) {
        let now = self.clock.now();
        let rows = lock(&self.timetable).unsaved();
        // A clock that was put back must not hold it off for longer.
        let too_early = self.save_after.is_some_and(|after| now < after && after.duration_since(now) <= SAVE_AGAIN);
        if rows.is_empty() || too_early {
            return;
        }
        match self.state.set_due_times(&rows).await {
            Ok(()) => {
                lock(&self.timetable).saved(&rows);
                self.save_after = None;
            }
            Err(error) => {
                tracing::warn!(error = %error, "could not note the due times of {} jobs; they are tried again", rows.len());
                self.save_after = now.checked_add(SAVE_AGAIN).ok();
            }
        }
    }

    async fn start_ready(&mut self) {
        loop {
            let now = self.clock.now();
            let starts = {
                let mut timetable = lock(&self.timetable);
                let places = self.runs_at_once.saturating_sub(timetable.running());
                timetable.take_ready(now, places)
            };
            if starts.is_empty() {
                return;
            }
            for start in starts {
                self.start(start, now).await;
            }
        }
    }

    async fn start(&mut self, start: Start, now: Timestamp) {
        let job = start.due.job.clone();
        // Without its row the state would grant no claim, and would not know of a success that is still to be followed.
        if lock(&self.timetable).is_unsaved(&job) {
            return lock(&self.timetable).postpone(&start, now);
        }
        let granted = match self.claim(&start).await {
            Ok(granted) => granted,
            Err(error) => {
                tracing::warn!(job.id = %job, error = %error, "could not claim a due time of {job}; it is tried again");
                return lock(&self.timetable).postpone(&start, now);
            }
        };
        let start = match granted {
            true => start,
            false => match lock(&self.timetable).refuse(&start, now) {
                Some(rest) => rest,
                None => return,
            },
        };
        lock(&self.timetable).confirm(&start);
        let due_at = start.due.due_at.map(|due_at| due_at.to_string());
        tracing::info!(job.id = %job, why = start.due.why.name(), due_at, "{job} starts ({})", reason(&start.due.why));
        let runner = Arc::clone(&self.runner);
        let run = self.runs.spawn(async move { runner.run(start.due).await });
        self.names.insert(run.id(), job);
    }

    async fn claim(&mut self, start: &Start) -> Result<bool, StateError> {
        let Some(claim) = start.claim else { return Ok(true) };
        let job = &start.due.job;
        let before = self.claims.get(job).filter(|(due_at, _)| *due_at == claim.due_at);
        let id = before.map_or_else(|| ClaimId(self.clock.run_id().0), |(_, id)| *id);
        match self.state.claim_due(job, claim.due_at, id, claim.next_due).await {
            Ok(granted) => {
                self.claims.remove(job);
                Ok(granted)
            }
            Err(error) => {
                self.claims.insert(job.clone(), (claim.due_at, id));
                Err(error)
            }
        }
    }

    fn end(&mut self, job: JobName, ended: RunEnd) {
        match &ended {
            RunEnd::Failed { kind, reason } => tracing::error!(job.id = %job, kind = kind.name(), "{job} failed: {reason}"),
            RunEnd::Parked { until: Some(until), reason } => {
                tracing::warn!(job.id = %job, "{job} is parked until {until}: {reason}")
            }
            RunEnd::Parked { until: None, reason } => tracing::error!(job.id = %job, "{job} is parked: {reason}"),
            RunEnd::Done | RunEnd::Stopped => {
                tracing::info!(job.id = %job, ended = ended.name(), "{job} ended ({})", ended.name())
            }
        }
        if let Some(waiters) = self.waiters.get_mut(&job) {
            let first = std::mem::replace(&mut waiters.first, std::mem::take(&mut waiters.behind));
            tell_waiters(&first, &job, &ended);
            if waiters.first.is_empty() {
                self.waiters.remove(&job);
            }
        }
        lock(&self.timetable).finish(&job, ended, self.clock.now());
    }

    fn ask(&mut self, mut jobs: Vec<JobName>) -> HandRuns {
        jobs.sort();
        jobs.dedup();
        let (unknown, behind) = lock(&self.timetable).ask(&jobs, self.clock.now());
        jobs.retain(|job| !unknown.contains(job));
        let (sender, ends) = mpsc::channel(jobs.len().max(1));
        for job in jobs {
            let is_behind = behind.contains(&job);
            let waiters = self.waiters.entry(job).or_default();
            let list = if is_behind { &mut waiters.behind } else { &mut waiters.first };
            list.push(sender.clone());
        }
        HandRuns { unknown, behind, ends }
    }

    async fn reload(&mut self, jobs: Vec<ScheduledJob>) -> Reloaded {
        let is_new = |job: &ScheduledJob| !lock(&self.timetable).knows(&job.job);
        let known = match jobs.iter().any(is_new) {
            false => BTreeMap::new(),
            true => read_known(&*self.state).await.unwrap_or_else(|error| {
                // A job that was here before is then taken for new, and what it missed is not caught up on.
                tracing::warn!(error = %error, "could not read the due times; jobs that were added begin anew");
                BTreeMap::new()
            }),
        };
        let reloaded = lock(&self.timetable).reload(jobs, &known, self.clock.now());
        for job in &reloaded.removed {
            let running = lock(&self.timetable).is_running(job);
            let Some(waiters) = self.waiters.get_mut(job) else { continue };
            tell_waiters(&std::mem::take(&mut waiters.behind), job, &RunEnd::Stopped);
            if !running {
                tell_waiters(&std::mem::take(&mut waiters.first), job, &RunEnd::Stopped);
                self.waiters.remove(job);
            }
        }
        reloaded
    }

    async fn tell(&mut self) {
        let notices = lock(&self.timetable).take_notices();
        let now = self.clock.now();
        for notice in notices {
            match notice.warn {
                true => tracing::warn!(job.id = %notice.job, "{}: {}", notice.job, notice.text),
                false => tracing::info!(job.id = %notice.job, "{}: {}", notice.job, notice.text),
            }
            if let Err(error) = self.state.note_event(now, Some(&notice.job), notice.kind, &notice.text).await {
                // The log has it.
                tracing::warn!(error = %error, "could not note an event of {}", notice.job);
            }
        }
    }

    async fn arm(&mut self) {
        let wake = lock(&self.timetable).next_wake();
        let Some(at) = wake.filter(|at| self.armed != Some(*at)) else { return };
        let set = tokio::select! {
            set = self.alarm.arm(at, self.clock.now()) => set.map_err(|error| error.message),
            () = self.clock.sleep(ARM_MAX) => Err("it did not answer".to_owned()),
        };
        match set {
            Ok(()) => self.armed = Some(at),
            // Runs start late by as much as the loop looks around by itself.
            Err(message) => tracing::warn!("could not set the scheduler: {message}"),
        }
    }

    /// Waits for the runs under way. Whoever pings is still answered; nothing else is taken any more.
    async fn drain(&mut self) {
        tokio::select! {
            () = self.alarm.close() => {}
            // The process ends, and the scheduler's tasks with it.
            () = self.clock.sleep(ARM_MAX) => tracing::warn!("the scheduler did not shut down, and is left behind"),
        }
        while !self.runs.is_empty() {
            tokio::select! {
                biased;
                Some(joined) = self.runs.join_next_with_id() => {
                    if let Event::Ended { job, ended } = ended(&mut self.names, joined) {
                        self.end(job, ended);
                    }
                    self.save().await;
                }
                Some(command) = self.commands.recv() => {
                    if let Command::Ping { answer } = command {
                        answer_one(answer, ());
                    }
                }
            }
        }
        self.commands.close();
        for (job, waiters) in std::mem::take(&mut self.waiters) {
            tell_waiters(&waiters.first, &job, &RunEnd::Stopped);
            tell_waiters(&waiters.behind, &job, &RunEnd::Stopped);
        }
        self.save_after = None;
        self.save().await;
        self.tell().await;
    }
}

fn answer_one<T>(to: oneshot::Sender<T>, answer: T) {
    match to.send(answer) {
        // One that has gone away meanwhile needs no answer.
        Ok(()) | Err(_) => {}
    }
}

fn reason(why: &Why) -> String {
    match why {
        Why::After(first) => format!("after {first}"),
        Why::CatchUp => "catching up".to_owned(),
        Why::Hand => "by hand".to_owned(),
        Why::Schedule | Why::Resume => why.name().to_owned(),
    }
}

fn tell_waiters(waiters: &[Waiter], job: &JobName, ended: &RunEnd) {
    for waiter in waiters {
        match waiter.try_send((job.clone(), ended.clone())) {
            // There is room for every job it waits for; one that has gone away needs no answer.
            Ok(()) | Err(_) => {}
        }
    }
}

/// A run's end as an event; one that panicked has failed, and nothing else is touched.
fn ended(names: &mut HashMap<Id, JobName>, joined: Result<(Id, RunEnd), JoinError>) -> Event {
    let (id, ended) = match joined {
        Ok((id, ended)) => (id, ended),
        Err(error) => (error.id(), after_panic(error)),
    };
    match names.remove(&id) {
        Some(job) => Event::Ended { job, ended },
        // Every run has its name; without it there is nothing to note.
        None => Event::Wake,
    }
}

fn after_panic(error: JoinError) -> RunEnd {
    let reason = match error.try_into_panic() {
        Ok(payload) => format!("the run panicked, which is a bug of highwater: {}", panic_text(&*payload)),
        Err(_) => "the run was aborted".to_owned(),
    };
    RunEnd::Failed { kind: ErrorKind::Bug, reason }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
