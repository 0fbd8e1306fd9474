//! One run as the daemon makes it: the engine's, with what a year without anybody asks for around it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::cli::engine::{Engine, JobEnd, Trouble};
use crate::cli::exit::Exit;
use crate::cli::report::report_json;
use crate::config::catalog::Job;
use crate::disk;
use crate::error::ErrorKind;
use crate::event::{Event, RunEnd};
use crate::ids::JobName;
use crate::run::RunOptions;
use crate::schedule::{DueRun, Ended, Runner, Why};

use super::files::Files;
use super::hand::{Hand, Hands};

/// A run that failed for a passing reason is tried again after these, jittered, before it counts as failed. The source's own
/// attempts, which take seconds, are over by then.
const RETRIES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];

/// How long a job waits for room on the disk before it looks again.
const ROOM: SignedDuration = SignedDuration::from_mins(5);

pub(super) struct Runs {
    pub engine: Arc<Engine>,
    pub files: Arc<Files>,
    pub hands: Arc<Hands>,
    /// Retries that were spent, by job; a job that ended in any way is not in it.
    retried: Mutex<HashMap<JobName, usize>>,
}

impl Runs {
    pub fn new(engine: Arc<Engine>, files: Arc<Files>, hands: Arc<Hands>) -> Self {
        Runs { engine, files, hands, retried: Mutex::default() }
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

    fn conclude(&self, due: &DueRun, took: Duration, end: RunEnd) -> Ended {
        if let (Some(at), RunEnd::Failed { reason, .. }) = (self.retry_at(due, &end), &end) {
            tracing::warn!(job.id = %due.job, reason, %at, "{}: failed, tried again at {at}: {reason}", due.job);
            return Ended::Parked { until: Some(at), reason: format!("tried again: {reason}") };
        }
        self.engine.events.tell(Event::JobEnded { job: due.job.clone(), took, end: end.clone() });
        match end {
            RunEnd::Done => Ended::Done,
            RunEnd::Failed { kind, reason } => Ended::Failed { kind, reason },
            RunEnd::Parked { until, reason } => Ended::Parked { until, reason },
            RunEnd::Stopped => Ended::Stopped,
        }
    }
}

#[async_trait]
impl Runner for Runs {
    async fn run(&self, due: DueRun) -> Ended {
        let hands = if due.why == Why::Hand { self.hands.begin(&due.job) } else { Vec::new() };
        let begun = self.engine.clock.elapsed();
        // All of them want the same.
        let options = hands.first().map(|hand| hand.options.clone()).unwrap_or_default();
        let end = self.attempt(&due.job, &options).await;
        let took = self.engine.clock.elapsed().saturating_sub(begun);
        let ended = self.conclude(&due, took, end.end());
        self.hands.end(&due.job);
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
