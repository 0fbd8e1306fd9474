//! One run as the daemon makes it: the engine's, with what a year without anybody asks for around it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::cli::engine::{Engine, JobEnd, Trouble};
use crate::cli::exit::Exit;
use crate::cli::history::History;
use crate::cli::report::report_json;
use crate::config::catalog::Job;
use crate::disk;
use crate::error::ErrorKind;
use crate::event::{Event, RunEnd};
use crate::ids::JobName;
use crate::run::RunOptions;
use crate::schedule::{DueRun, Runner, Why};

use super::files::Files;
use super::hand::{Hand, Hands};
use super::idle::Turns;
use super::spare::Spare;

/// A run that failed for a passing reason is tried again after these, jittered, before it counts as failed. The source's own
/// attempts, which take seconds, are over by then.
const RETRIES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];

/// How long a job waits for room on the disk before it looks again.
const ROOM: SignedDuration = SignedDuration::from_mins(5);

pub(super) struct Runs {
    engine: Arc<Engine>,
    files: Arc<Files>,
    hands: Arc<Hands>,
    history: Arc<History>,
    turns: Arc<Turns>,
    spare: Arc<Spare>,
    /// Retries that were spent, by job; a job that ended in any way is not in it.
    retried: Mutex<HashMap<JobName, usize>>,
}

impl Runs {
    pub fn new(
        engine: Arc<Engine>,
        files: Arc<Files>,
        hands: Arc<Hands>,
        history: Arc<History>,
        turns: Arc<Turns>,
        spare: Arc<Spare>,
    ) -> Self {
        Runs { engine, files, hands, history, turns, spare, retried: Mutex::default() }
    }

    async fn attempt(&self, name: &JobName, options: &RunOptions) -> JobEnd {
        let reading = self.files.reading();
        let not_started = |exit: Exit, kind: ErrorKind, reason: String| JobEnd {
            job: name.clone(),
            outcome: Err(Trouble { exit, kind, reason }),
        };
        let Some(job) = reading.catalog.jobs.get(name) else {
            // Between the decision to run it and now its file went, or broke.
            let reason = reading.parked.get(name).cloned().unwrap_or_else(|| "there is no such job any more".to_owned());
            return not_started(Exit::Config, ErrorKind::Config, reason);
        };
        if let Err(reason) = self.find_room(job) {
            let until = self.engine.clock.now().checked_add(ROOM).ok();
            return not_started(Exit::TryLater, ErrorKind::Throttled { retry_at: until }, reason);
        }
        let settings = &reading.catalog.settings;
        self.engine.attempt(job, options, settings.memory / settings.runs.max(1) as u64).await
    }

    fn find_room(&self, job: &Job) -> Result<(), String> {
        let reading = self.files.reading();
        let settings = &reading.catalog.settings;
        disk::check(settings.disk_free, &disk::folders(settings, job))
    }

    /// When to try again; `None` if that is not worth it, or was done often enough.
    fn retry_at(&self, due: &DueRun, end: &RunEnd) -> Option<Timestamp> {
        let passes = matches!(
            end,
            RunEnd::Failed { kind: ErrorKind::Unavailable | ErrorKind::Throttled { .. } | ErrorKind::Conflict, .. }
        );
        let mut retried = self.retried.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = retried.remove(&due.job).unwrap_or(0);
        // Another daemon has the lease: nothing is wrong, and nothing is counted. Should it die, its lease ends.
        let elsewhere = matches!(end, RunEnd::Failed { kind: ErrorKind::Conflict, .. });
        if let Some(length) = self.engine.state.lease_length().filter(|_| elsewhere && due.why != Why::Hand) {
            let delay = length.mul_f64(1.0 + self.engine.clock.fraction() / 2.0);
            return self.engine.clock.now().checked_add(delay).ok();
        }
        // Whoever asked for a run waits for its end, and decides.
        if !passes || due.why == Why::Hand {
            return None;
        }
        let delay = RETRIES.get(spent)?;
        // Many jobs meet one API's bad minute; they need not meet again.
        let delay = delay.mul_f64(1.0 + self.engine.clock.fraction() / 2.0);
        let at = self.engine.clock.now().checked_add(delay).ok()?;
        retried.insert(due.job.clone(), spent + 1);
        Some(at)
    }

    fn conclude(&self, due: &DueRun, took: Duration, end: RunEnd) -> RunEnd {
        if let (Some(at), RunEnd::Failed { kind, reason }) = (self.retry_at(due, &end), &end) {
            if *kind == ErrorKind::Conflict && self.engine.state.lease_length().is_some() {
                // The usual case where daemons share a state: nobody has to read of it.
                tracing::info!(job.id = %due.job, reason, %at, "{}: left to another daemon, looked at again at {at}", due.job);
                return RunEnd::Parked { until: Some(at), reason: reason.clone() };
            }
            tracing::warn!(job.id = %due.job, reason, %at, "{}: failed, tried again at {at}: {reason}", due.job);
            self.history.note(Some(&due.job), "run_again", format!("at {at}: {reason}"));
            return RunEnd::Parked { until: Some(at), reason: format!("tried again: {reason}") };
        }
        self.engine.events.tell(Event::JobEnded { job: due.job.clone(), took, end: end.clone() });
        end
    }
}

#[async_trait]
impl Runner for Runs {
    async fn run(&self, due: DueRun) -> RunEnd {
        let hands = if due.why == Why::Hand { self.hands.begin(&due.job) } else { Vec::new() };
        self.turns.give_way(&due.job, &*self.engine.clock).await;
        let _at_work = self.spare.begin();
        let begun = self.engine.clock.elapsed();
        // All of them want the same.
        let options = hands.first().map(|hand| hand.options.clone()).unwrap_or_default();
        let end = self.attempt(&due.job, &options).await;
        let took = self.engine.clock.elapsed().saturating_sub(begun);
        let ended = self.conclude(&due, took, end.end());
        self.hands.end(&due.job);
        self.turns.look();
        report(hands, &end);
        ended
    }
}

fn report(hands: Vec<Hand>, end: &JobEnd) {
    for hand in hands {
        // Whoever left does not want to know.
        drop(hand.report.send(report_json(end)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::project::Project;
    use crate::cli::report::RunJson;
    use crate::cli::secrets::Secrets;
    use crate::clock::SystemClock;
    use crate::state::State;
    use crate::state::memory::MemoryState;

    fn job() -> JobName {
        JobName::new("orders")
    }

    /// The runs of a project without files.
    fn runs(folder: &tempfile::TempDir) -> Runs {
        std::fs::write(folder.path().join("config.toml"), "version = 1\n").expect("config.toml");
        let loaded = crate::config::load(folder.path(), None);
        let secrets = Arc::new(Secrets { folder: folder.path().to_owned(), credentials: None });
        let project = Project {
            catalog: loaded.catalog,
            problems: loaded.problems,
            parked: loaded.parked,
            digest: loaded.digest,
            secrets: Arc::clone(&secrets),
            clock: Arc::new(crate::clock::SystemClock::new()),
            lease: crate::state::postgres::LEASE,
        };
        let state: Arc<dyn State> = Arc::new(MemoryState::default());
        let clock = Arc::new(SystemClock::new());
        let (history, _writer) = History::new(Arc::clone(&state), clock.clone());
        let engine = Engine::new(state, secrets, clock, folder.path().to_owned());
        Runs::new(Arc::new(engine), Arc::new(Files::of(&project)), Arc::default(), history, Arc::default(), Arc::default())
    }

    fn due(why: Why) -> DueRun {
        DueRun { job: job(), due_at: None, why }
    }

    fn failed(kind: ErrorKind) -> RunEnd {
        RunEnd::Failed { kind, reason: "status 503".to_owned() }
    }

    #[test]
    fn what_passes_is_tried_again_and_then_counts() {
        let folder = tempfile::tempdir().expect("folder");
        let runs = runs(&folder);
        let mut last = runs.engine.clock.now();
        for delay in RETRIES {
            let ended = runs.conclude(&due(Why::Schedule), Duration::ZERO, failed(ErrorKind::Unavailable));
            let RunEnd::Parked { until: Some(at), reason } = ended else { panic!("{ended:?}") };
            assert_eq!(reason, "tried again: status 503");
            let waited = at.duration_since(last).unsigned_abs();
            assert!(delay <= waited && waited <= delay * 2, "{waited:?} for {delay:?}");
            last = runs.engine.clock.now();
        }
        for _ in 0..2 {
            let ended = runs.conclude(&due(Why::Resume), Duration::ZERO, failed(ErrorKind::Unavailable));
            assert!(matches!(ended, RunEnd::Failed { kind: ErrorKind::Unavailable, .. }), "{ended:?}");
            // The next tick begins to count anew.
            assert!(runs.retried.lock().expect("whole").is_empty());
            for _ in RETRIES {
                runs.conclude(&due(Why::Schedule), Duration::ZERO, failed(ErrorKind::Unavailable));
            }
        }
    }

    #[test]
    fn what_does_not_pass_and_what_somebody_waits_for_is_told_at_once() {
        let folder = tempfile::tempdir().expect("folder");
        let runs = runs(&folder);
        let ended = runs.conclude(&due(Why::Schedule), Duration::ZERO, failed(ErrorKind::Data));
        assert!(matches!(ended, RunEnd::Failed { kind: ErrorKind::Data, .. }));
        let ended = runs.conclude(&due(Why::Hand), Duration::ZERO, failed(ErrorKind::Unavailable));
        assert!(matches!(ended, RunEnd::Failed { kind: ErrorKind::Unavailable, .. }));
        assert_eq!(runs.conclude(&due(Why::Schedule), Duration::ZERO, RunEnd::Done), RunEnd::Done);
    }

    #[tokio::test]
    async fn a_job_whose_file_went_meanwhile_is_parked_and_its_asker_hears_of_it() {
        let folder = tempfile::tempdir().expect("folder");
        let runs = runs(&folder);
        let (events, _heard) = tokio::sync::mpsc::channel(8);
        let mut reported = runs.hands.put(&job(), RunOptions::default(), events).expect("room");
        let ended = runs.run(due(Why::Hand)).await;
        assert!(matches!(ended, RunEnd::Parked { until: None, .. }), "{ended:?}");
        let report: RunJson = reported.try_recv().expect("told");
        assert_eq!((report.status, report.failed[0].reason.as_str()), (Exit::Config, "there is no such job any more"));
    }
}
