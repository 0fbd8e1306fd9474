//! From a project to a daemon that works, until somebody stops it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use crate::cli::Context;
use crate::cli::commands::close;
use crate::cli::engine::{Engine, make_spool};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::faults::Faults;
use crate::cli::history::History;
use crate::cli::project::Project;
use crate::cli::signals::{Signal, Signals};
use crate::cli::text::counted;
use crate::error::chain;
use crate::event::{Event, Events, Listener, RunEnd};
use crate::quota::Budgets;
use crate::schedule::{Driver, ScheduleError};
use crate::state::State;
use crate::stop::Stop;
use crate::telemetry::RunLog;

use super::files::{Files, Reading};
use super::hand::Hands;
use super::idle::{Idle, Turns};
use super::outlook::{Outlook, open_web};
use super::runs::Runs;
use super::service::Service;
use super::socket::Socket;
use super::spare::Spare;
use super::{supervisor, within};

/// How long the loop of the schedule may take to come round for the first time: it reads every job's due time.
const BEGIN_WITHIN: Duration = Duration::from_secs(60);
/// How long everything but the runs may take to end, once these have.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How often a job that is parked until somebody changes something is tried all the same: what was changed may be a secret, or
/// at the API's end, and nobody may think of the reload.
const PROBE_EVERY: Duration = Duration::from_secs(3_600);
/// A run that would have to wait for its quota longer than this is parked: it ends, and begins again then.
const PARK_AFTER: Duration = Duration::from_secs(60);

/// `highwater serve`.
pub(crate) async fn serve(context: &Context) -> Result<Exit, Failure> {
    // Before anything is done that a signal could cut off.
    let signals = Signals::listen_as_daemon()?;
    let project = Project::open(context)?;
    project.require_settings()?;
    let state = project.take_state().await?;
    let ended = match Daemon::start(context, &project, Arc::clone(&state)).await {
        Ok(daemon) => daemon.work(context, signals).await,
        Err(failure) => Err(failure),
    };
    close(state).await;
    ended
}

/// Everything at work.
struct Daemon {
    service: Arc<Service>,
    outlook: Outlook,
    history: Arc<History>,
    events: Events,
    driving: JoinSet<Result<(), ScheduleError>>,
    tasks: JoinSet<()>,
    /// No run begins any more; those at work finish their slices.
    stop: Stop,
    /// The runs are over: the rest ends too.
    end: Stop,
}

impl Daemon {
    async fn start(context: &Context, project: &Project, state: Arc<dyn State>) -> Result<Daemon, Failure> {
        let settings = &project.catalog.settings;
        let spool = make_spool(&settings.state_path)?;
        let faults = Faults::read(&context.environment)?;
        let plain_state = state;
        let state = faults.in_state(Arc::clone(&plain_state));
        let files = Arc::new(Files::of(project));
        let hands = Arc::new(Hands::default());
        let clock = Arc::clone(&context.clock);
        let (history, writer) = History::new(plain_state, Arc::clone(&clock));
        let (outlook, courier) = Outlook::new(&state, &clock, project.secrets.clone(), &context.throttle);
        let listeners: Vec<Arc<dyn Listener>> =
            vec![Arc::new(RunLog), history.clone(), hands.clone(), outlook.metrics.clone(), outlook.alerts.clone()];
        let engine = Engine::new(Arc::clone(&state), project.secrets.clone(), Arc::clone(&clock), spool);
        let mut engine = engine.parking_after(PARK_AFTER).listened_by(listeners);
        engine.faults = faults;
        let (stop, end, events) = (engine.stop.clone(), Stop::new(), engine.events.clone());
        let (budgets, tokens) = (Arc::clone(&engine.budgets), Arc::clone(&engine.tokens));
        let (engine, turns, spare) = (Arc::new(engine), Arc::new(Turns::default()), Arc::new(Spare::default()));
        let runs = Runs::new(
            Arc::clone(&engine),
            Arc::clone(&files),
            Arc::clone(&hands),
            Arc::clone(&history),
            Arc::clone(&turns),
            Arc::clone(&spare),
        );
        let jobs = files.reading().scheduled();
        let (driver, handle) = Driver::new(Arc::clone(&state), Arc::clone(&clock), Arc::new(runs), jobs, settings.runs);
        let idle = Idle { engine, files: Arc::clone(&files), turns, handle: handle.clone(), spare: Arc::clone(&spare) };
        let since = clock.now();
        let service = Arc::new(Service {
            clock,
            state: Arc::clone(&state),
            handle,
            files,
            hands,
            budgets: Arc::clone(&budgets),
            tokens,
            since,
        });
        // All that may be refused comes before anything is at work.
        outlook.look_at(&service.files.reading()).await?;
        let web = open_web(settings, &*project.secrets, &service, &outlook.metrics).await?;
        let socket = Socket::bind(&settings.state_path)?;
        let (mut driving, mut tasks) = (JoinSet::new(), JoinSet::new());
        driving.spawn(driver.drive(stop.clone()));
        if let Some((web, listener)) = web {
            tasks.spawn(web.serve(listener, end.clone()));
        }
        tasks.spawn(writer.write(end.clone()));
        tasks.spawn(courier.drive(end.clone()));
        tasks.spawn(share_limits(Arc::clone(&budgets), end.clone()));
        tasks.spawn(socket.serve(Arc::clone(&service), end.clone()));
        tasks.spawn(supervisor::watch(Arc::clone(&service), end.clone()));
        tasks.spawn(supervisor::keep_status(Arc::clone(&service), end.clone()));
        tasks.spawn(probe(Arc::clone(&service), stop.clone()));
        tasks.spawn(idle.work(stop.clone()));
        tasks.spawn(spare.give_back(Arc::clone(&service.clock), stop.clone()));
        Ok(Daemon { service, outlook, history, events, driving, tasks, stop, end })
    }

    /// Works until it is asked to stop and the slices at work are finished; a second request does not wait for these.
    async fn work(mut self, context: &Context, mut signals: Signals) -> Result<Exit, Failure> {
        self.begin().await?;
        let clock = Arc::clone(&context.clock);
        let mut draining = std::pin::pin!(supervisor::extend(&*clock));
        loop {
            tokio::select! {
                Some(ended) = self.driving.join_next() => {
                    let ended = self.judge(ended);
                    self.finish().await;
                    return ended;
                }
                Some(ended) = self.tasks.join_next(), if !self.stop.requested() => self.miss(ended)?,
                signal = signals.next() => match signal {
                    Signal::Reload => self.reload(context).await,
                    Signal::Stop if self.stop.requested() => {
                        tracing::warn!("aborted: what was at work is settled at the next start");
                        return Err(Failure::new(Exit::TryLater, "aborted: what was at work is settled at the next start"));
                    }
                    Signal::Stop => self.drain(),
                },
                () = &mut draining, if self.stop.requested() => {}
            }
        }
    }

    /// Tells that it works, once it does.
    async fn begin(&mut self) -> Result<(), Failure> {
        match within(&*self.service.clock, BEGIN_WITHIN, self.service.handle.ping()).await {
            Some(Ok(())) => {}
            // It ended before it began: it says why.
            Some(Err(_gone)) => match self.driving.join_next().await {
                Some(ended) => return self.judge(ended).map(drop),
                None => return Err(Failure::new(Exit::Failed, "the schedule is gone, which is a bug of highwater")),
            },
            None => return Err(Failure::new(Exit::Failed, format!("the schedule did not begin to work in {BEGIN_WITHIN:?}"))),
        }
        let reading = self.service.files.reading();
        let told = summary(&reading);
        tracing::info!(pid = std::process::id(), "serving {told}");
        self.history.note(None, "serve_started", format!("pid {}: {told}", std::process::id()));
        self.tell_parked(&reading);
        supervisor::status(&self.service.line());
        supervisor::ready();
        Ok(())
    }

    /// Jobs whose files are broken never come to a run that could say so.
    fn tell_parked(&self, reading: &Reading) {
        for (job, reason) in &reading.parked {
            let end = RunEnd::Parked { until: None, reason: reason.clone() };
            self.events.tell(Event::JobEnded { job: job.clone(), took: Duration::ZERO, end });
        }
    }

    async fn reload(&self, context: &Context) {
        if self.stop.requested() {
            return;
        }
        supervisor::reloading();
        let taken_up = Project::open(context).map_err(|failure| failure.message);
        match taken_up.and_then(|project| self.service.files.take_up(&project)) {
            Ok(reading) => self.follow(&reading).await,
            Err(problem) => {
                tracing::error!("not reloaded: {problem}");
                self.history.note(None, "reload_refused", problem);
            }
        }
        supervisor::status(&self.service.line());
        supervisor::ready();
    }

    /// The schedule follows the files.
    async fn follow(&self, reading: &Reading) {
        self.service.hands.keep(|job| reading.catalog.jobs.contains_key(job));
        let Ok(changed) = self.service.handle.reload(reading.scheduled()).await else { return };
        if let Err(failure) = self.outlook.look_at(reading).await {
            self.service.files.set_problem(format!("alerts and figures are told as before: {}", failure.message));
        }
        self.tell_parked(reading);
        let mut told = format!(
            "{}; {} added, {} removed, {} with another schedule",
            summary(reading),
            changed.added.len(),
            changed.removed.len(),
            changed.rescheduled.len()
        );
        if let Some(problem) = self.service.files.problem() {
            tracing::warn!("{problem}");
            told = format!("{told}; {problem}");
        }
        tracing::info!("reloaded: {told}");
        self.history.note(None, "reloaded", told);
    }

    fn drain(&self) {
        self.stop.request();
        supervisor::stopping();
        let running = self.service.handle.view().running;
        let told = format!("{} at work: what was read is committed or left to the next run", counted(running as u64, "run"));
        tracing::info!("stopping; {told}");
        self.history.note(None, "serve_stopping", told);
        supervisor::status(&self.service.line());
    }

    /// What the end of the schedule means.
    fn judge(&self, ended: Result<Result<(), ScheduleError>, JoinError>) -> Result<Exit, Failure> {
        match ended {
            Ok(Ok(())) if self.stop.requested() => {
                tracing::info!("stopped");
                self.history.note(None, "serve_stopped", "all runs ended".to_owned());
                Ok(Exit::Done)
            }
            Ok(Ok(())) => Err(Failure::new(Exit::Failed, "the schedule ended by itself, which is a bug of highwater")),
            Ok(Err(error)) => Err(Failure::of(error.kind(), format!("the schedule cannot go on: {}", chain(&error)))),
            Err(error) => Err(Failure::new(Exit::Failed, format!("the schedule panicked, which is a bug of highwater: {error}"))),
        }
    }

    /// A part that ends on its own is missed. Whoever supervises the process starts it anew.
    fn miss(&self, ended: Result<(), JoinError>) -> Result<(), Failure> {
        match ended {
            // The watchdog that nobody asked for.
            Ok(()) => Ok(()),
            Err(error) => {
                Err(Failure::new(Exit::Failed, format!("a part of the daemon panicked, which is a bug of highwater: {error}")))
            }
        }
    }

    async fn finish(&mut self) {
        self.end.request();
        let tasks = &mut self.tasks;
        let all = within(&*self.service.clock, END_WITHIN, async { while tasks.join_next().await.is_some() {} }).await;
        if all.is_none() {
            tracing::warn!("parts of the daemon did not end in {END_WITHIN:?}, and are cut off");
        }
        self.service.budgets.close().await;
        self.service.tokens.close().await;
    }
}

fn summary(reading: &Reading) -> String {
    let jobs = reading.catalog.jobs.values();
    let due = jobs.filter(|job| job.enabled && job.schedule.is_some()).count();
    let parked = reading.parked.len();
    format!("{}, {due} on schedule, {parked} parked", counted(reading.catalog.jobs.len() as u64, "job"))
}

/// Agrees with other daemons about the limits of sources, to the end.
async fn share_limits(budgets: Arc<Budgets>, end: Stop) {
    tokio::select! {
        () = budgets.keep_sharing() => {}
        () = end.wait() => {}
    }
}

/// Tries what is parked without end once in a while.
async fn probe(service: Arc<Service>, stop: Stop) {
    while !stop.requested() {
        tokio::select! {
            () = service.clock.sleep(PROBE_EVERY) => try_parked(&service).await,
            () = stop.wait() => {}
        }
    }
}

async fn try_parked(service: &Service) {
    let parked = service.parked_without_end();
    if !parked.is_empty() {
        // Only fails when the daemon is about to end. Nobody waits for the ends: what they are is told like any other's.
        drop(service.handle.run_now(parked).await);
    }
}
