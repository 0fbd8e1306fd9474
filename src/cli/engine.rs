//! Runs jobs side by side: what `run` and `demo` share.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::catalog::{Job, SinkPlace};
use crate::config::secret::SecretSource;
use crate::error::{ErrorKind, chain};
use crate::event::{Event, Events, Listener, RunEnd};
use crate::ids::JobName;
use crate::ledger::Ledger;
use crate::quota::{Budgets, Class};
use crate::run::{self, Ports, Purpose, Roster, RunOptions, RunReport, SliceFailure};
use crate::scratch::Scratch;
use crate::source::Source;
use crate::source::http::recording::Wire;
use crate::source::http::{HttpSource, Shared, Tokens};
use crate::source::none::NoSource;
use crate::state::State;
use crate::stop::Stop;
use crate::store;
use crate::store::sound::Soundness;
use crate::vault::TokenVault;

use super::exit::Exit;
use super::failure::Failure;
use super::faults::Faults;

/// What the runs of one process share.
pub(crate) struct Engine {
    pub state: Arc<dyn State>,
    pub secrets: Arc<dyn SecretSource>,
    pub budgets: Arc<Budgets>,
    pub tokens: Arc<Tokens>,
    /// Which sinks were found fit to be written to.
    pub soundness: Soundness,
    pub clock: Arc<dyn Clock>,
    pub events: Events,
    pub stop: Stop,
    /// Unique to this process.
    pub owner: String,
    pub spool: PathBuf,
    /// Ceiling on data in flight over all runs, bytes.
    pub memory: u64,
    /// Jobs at the same time; above zero.
    pub runs: usize,
    /// What tests want to go wrong.
    pub faults: Faults,
    /// Where answers come from.
    pub wire: Wire,
}

/// A run that came to its report.
#[derive(Debug)]
pub(crate) struct Finished {
    pub report: RunReport,
    /// Requests sent, retries among them.
    pub requests: u64,
}

/// How one job's run ended.
#[derive(Debug)]
pub(crate) struct JobEnd {
    pub job: JobName,
    pub outcome: Result<Finished, Trouble>,
}

/// Why a run did not get as far as a report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub exit: Exit,
    /// What to do about it; `exit` says how it counts.
    pub kind: ErrorKind,
    /// The whole chain.
    pub reason: String,
}

impl JobEnd {
    pub fn exit(&self) -> Exit {
        match &self.outcome {
            Err(trouble) => trouble.exit,
            Ok(Finished { report, .. }) => {
                let failed = report.failed.iter().map(|failure| Exit::from(failure.kind)).max().unwrap_or(Exit::Done);
                let failed = if failed == Exit::Config && report.is_partial() { Exit::Failed } else { failed };
                if report.stopped { failed.max(Exit::TryLater) } else { failed }
            }
        }
    }

    /// The same for whoever decides what comes next. Of several slices that failed, the worst decides, and of these the first.
    pub fn end(&self) -> RunEnd {
        let report = match &self.outcome {
            Err(trouble) => return RunEnd::of(trouble.kind, trouble.reason.clone()),
            Ok(Finished { report, .. }) => report,
        };
        let worse = |worst: &'_ SliceFailure, next: &SliceFailure| Exit::from(next.kind) > Exit::from(worst.kind);
        match report.failed.iter().reduce(|worst, next| if worse(worst, next) { next } else { worst }) {
            // One account that is closed to us must not park the job of all the others.
            Some(worst) if report.is_partial() && !matches!(worst.kind, ErrorKind::Throttled { .. }) => {
                RunEnd::Failed { kind: worst.kind, reason: format!("{}: {}", worst.slice.partition, worst.reason) }
            }
            Some(worst) => RunEnd::of(worst.kind, worst.reason.clone()),
            None if report.stopped => RunEnd::Stopped,
            None => RunEnd::Done,
        }
    }
}

impl Engine {
    pub fn new(state: Arc<dyn State>, secrets: Arc<dyn SecretSource>, clock: Arc<dyn Clock>, spool: PathBuf) -> Self {
        let host = rustix::system::uname();
        let owner = format!("{}:{}:{}", host.nodename().to_string_lossy(), std::process::id(), clock.run_id());
        let ledger: Arc<dyn Ledger> = Arc::clone(&state) as Arc<dyn State>;
        let vault: Arc<dyn TokenVault> = Arc::clone(&state) as Arc<dyn State>;
        Engine {
            tokens: Arc::new(Tokens::new(Arc::clone(&clock), vault)),
            soundness: Soundness::new(Arc::clone(&clock)),
            state,
            secrets,
            budgets: Arc::new(Budgets::new(Arc::clone(&clock)).kept_in(ledger, &owner).at(&place_of(&owner, &spool, &*clock))),
            clock,
            events: Events::default(),
            stop: Stop::new(),
            owner,
            spool,
            memory: 512 * 1024 * 1024,
            runs: 1,
            faults: Faults::default(),
            wire: Wire::Network,
        }
    }

    /// Runs that would wait for their quota longer than this end, to be begun again: for whoever does that.
    pub fn parking_after(mut self, patience: Duration) -> Self {
        self.budgets = Arc::new(self.new_budgets().patient_for(patience));
        self
    }

    /// Sources are asked although they wanted patience of an earlier process.
    pub fn impatient(mut self) -> Self {
        self.budgets = Arc::new(self.new_budgets().impatient());
        self
    }

    /// Tokens are kept elsewhere than in its state: for whoever works with a state of its own.
    pub fn keeping_tokens_in(mut self, vault: Arc<dyn TokenVault>) -> Self {
        self.tokens = Arc::new(Tokens::new(Arc::clone(&self.clock), vault));
        self
    }

    fn new_budgets(&self) -> Budgets {
        let ledger: Arc<dyn Ledger> = Arc::clone(&self.state) as Arc<dyn State>;
        let place = place_of(&self.owner, &self.spool, &*self.clock);
        Budgets::new(Arc::clone(&self.clock)).kept_in(ledger, &self.owner).at(&place)
    }

    pub fn listened_by(mut self, listeners: Vec<Arc<dyn Listener>>) -> Self {
        self.events = Events::to(listeners);
        self
    }

    /// Runs every job once, at most `runs` at a time; one that fails or panics does not stop the others. Ends early where
    /// `stop` was asked for. Dropping the future aborts the runs: the next run settles what they leave.
    pub async fn run_all(self: &Arc<Self>, jobs: Vec<Job>, options: &RunOptions) -> Vec<JobEnd> {
        let at_once = self.runs.min(jobs.len()).max(1);
        let share = self.memory / at_once as u64;
        let places = Arc::new(Semaphore::new(at_once));
        let mut running = JoinSet::new();
        let mut ends = BTreeMap::new();
        let order: Vec<JobName> = jobs.iter().map(|job| job.name.clone()).collect();
        for job in jobs {
            let (engine, places, options) = (Arc::clone(self), Arc::clone(&places), options.clone());
            running.spawn(async move {
                // The semaphore is never closed; were it, running without a place would only use more memory.
                let _place = places.acquire_owned().await;
                let begun = engine.clock.elapsed();
                let end = engine.attempt(&job, &options, share).await;
                let took = engine.clock.elapsed().saturating_sub(begun);
                engine.events.tell(Event::JobEnded { job: job.name, took, end: end.end() });
                end
            });
        }
        while let Some(joined) = running.join_next().await {
            match joined {
                Ok(end) => drop(ends.insert(end.job.clone(), end)),
                // A panic ends inside of the attempt, and nobody aborts a task of a set that lives.
                Err(error) => tracing::error!(%error, "a run's task was lost"),
            }
        }
        order.into_iter().filter_map(|job| ends.remove(&job)).collect()
    }

    /// Runs a job once, with a part of the memory. A panic is an end like any other: it concerns this job alone.
    pub async fn attempt(&self, job: &Job, options: &RunOptions, memory: u64) -> JobEnd {
        let attempt = AssertUnwindSafe(self.run_one(job, Purpose::Load, options, memory)).catch_unwind().await;
        let outcome = attempt.unwrap_or_else(|payload| {
            let reason = format!("the run panicked, which is a bug of highwater: {}", panic_text(&*payload));
            Err(Trouble { exit: Exit::Failed, kind: ErrorKind::Bug, reason })
        });
        JobEnd { job: job.name.clone(), outcome }
    }

    /// For what is done to a job's table and asks no source for anything.
    pub fn ports_without_source(&self, job: &Job, memory: u64, stop: Stop) -> Result<Ports, Trouble> {
        let store = store::open(&job.sink, &*self.secrets, self.faults.guards);
        let store = store.map_err(|error| Trouble { exit: error.kind.into(), kind: error.kind, reason: chain(&error) })?;
        Ok(Ports {
            state: Arc::clone(&self.state),
            // Faults on the outside: that a store is probed is no effect of a run.
            store: self.faults.in_store(self.soundness.guard(&job.sink, store)),
            source: Arc::new(NoSource),
            roster: None,
            clock: Arc::clone(&self.clock),
            events: self.events.clone(),
            stop,
            owner: self.owner.clone(),
            spool: self.spool.clone(),
            memory,
            guards: self.faults.guards,
            options: RunOptions::default(),
        })
    }

    /// Opens a job's source and sink and runs it.
    pub async fn run_one(&self, job: &Job, purpose: Purpose, options: &RunOptions, memory: u64) -> Result<Finished, Trouble> {
        let stop = self.stop.clone();
        if stop.requested() {
            let reason = "not started: stop was asked for".to_owned();
            return Err(Trouble { exit: Exit::TryLater, kind: ErrorKind::Cancelled, reason });
        }
        let class = match (purpose, &options.rewind) {
            (Purpose::Preview { .. }, _) => Class::Preview,
            (Purpose::Load, Some(_)) => Class::Backfill,
            (Purpose::Load, None) => Class::Scheduled,
        };
        if let (Purpose::Load, SinkPlace::Local(folder)) = (purpose, &job.sink.place) {
            // Before anything is asked for that could not be kept.
            store::local::look_for_room(folder).map_err(|error| Trouble {
                exit: error.kind.into(),
                kind: error.kind,
                reason: format!("sink {}: {}", job.sink.name, chain(&error)),
            })?;
        }
        let scratch = Arc::new(Scratch::new(&self.spool, self.clock.batch_id()));
        let roster = job.tells_parents_apart().then(|| Arc::new(Roster::new(Arc::clone(&scratch))));
        let source = self.open_source(job, class, memory, &scratch, roster.clone())?;
        let ports = self.ports_without_source(job, memory, stop)?;
        let ports = Ports { source: self.faults.in_source(source.clone()), roster, options: options.clone(), ..ports };
        let report = run::run_job(job, purpose, &ports).await;
        let report = report.map_err(|error| Trouble { exit: error.kind.into(), kind: error.kind, reason: chain(&error) })?;
        Ok(Finished { report, requests: source.requests() })
    }
}

impl Engine {
    /// The source of a job's stream, with those of the streams that it is gone over for.
    fn open_source(
        &self,
        job: &Job,
        class: Class,
        memory: u64,
        scratch: &Arc<Scratch>,
        roster: Option<Arc<Roster>>,
    ) -> Result<Arc<dyn Source>, Trouble> {
        let (clock, events) = (Arc::clone(&self.clock), self.events.clone());
        let shared = Shared { budgets: &self.budgets, tokens: &self.tokens, wire: &self.wire };
        let source = HttpSource::open(job, &*self.secrets, shared, clock, events, self.stop.clone());
        // Nothing was sent yet: a secret that is missing is a matter of set-up, not of the API.
        let source = source.map_err(|error| match error.kind {
            ErrorKind::Auth => Trouble { exit: Exit::Config, kind: ErrorKind::Auth, reason: chain(&error) },
            kind => Trouble { exit: kind.into(), kind, reason: chain(&error) },
        })?;
        let source = run::Ahead::around(job, Arc::new(source.at_most(class)), memory);
        let Some(parents) = job.of_parent() else { return Ok(source) };
        let parents = self.open_source(&parents, class, memory, scratch, None)?;
        Ok(match run::Children::new(job, parents, Arc::clone(&source), memory, Arc::clone(scratch), roster) {
            Some(children) => Arc::new(children),
            None => source,
        })
    }
}

/// The folder for pages of undecided slices, beside the state: made if it is not there, else cleared of what a crash left.
/// Only for the process that holds the state.
pub(crate) fn make_spool(state_path: &Path) -> Result<PathBuf, Failure> {
    let folder = state_path.parent().unwrap_or(Path::new(".")).join("spool");
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failure::new(Exit::Failed, format!("make folder `{}`: {error}", folder.display())))?;
    run::clean_spools(&folder);
    Ok(folder)
}

/// A name that only one process can have at a time: that of this folder, which is held alone, on this machine since its boot. Empty
/// where there is no such folder.
fn place_of(owner: &str, spool: &Path, clock: &dyn Clock) -> String {
    use std::os::unix::fs::MetadataExt;
    let host = owner.split(':').next().unwrap_or_default();
    match (std::fs::metadata(spool), clock.uptime()) {
        (Ok(folder), Some(uptime)) => format!("{host} {} {} {}", uptime.boot, folder.dev(), folder.ino()),
        _ => String::new(),
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PartitionKey, RunId};
    use crate::slice::{Reach, Slice};

    fn end(kinds: &[ErrorKind], stopped: bool) -> JobEnd {
        let slice = Slice { partition: PartitionKey::new(""), reach: Reach::Snapshot };
        let failed = kinds.iter().map(|kind| SliceFailure { slice: slice.clone(), kind: *kind, reason: String::new() });
        let report = RunReport {
            run: RunId(uuid::Uuid::nil()),
            job: JobName::new("j"),
            counts: Default::default(),
            misfit: None,
            pages: 0,
            bytes: 0,
            files: 0,
            bytes_written: 0,
            commits: 0,
            empty_slices: 0,
            failed: failed.collect(),
            stopped,
            sets_left: 0,
            mark: None,
            marks: Default::default(),
            rewound: None,
            recovered: Vec::new(),
            preview: None,
            began_with: Default::default(),
        };
        JobEnd { job: JobName::new("j"), outcome: Ok(Finished { report, requests: 0 }) }
    }

    #[test]
    fn a_run_is_as_good_as_its_worst_slice() {
        assert_eq!(end(&[], false).exit(), Exit::Done);
        assert_eq!(end(&[], true).exit(), Exit::TryLater);
        assert_eq!(end(&[ErrorKind::Throttled { retry_at: None }], false).exit(), Exit::TryLater);
        assert_eq!(end(&[ErrorKind::Conflict, ErrorKind::Data], true).exit(), Exit::Failed);
        assert_eq!(end(&[ErrorKind::Config], false).exit(), Exit::Config);
    }

    #[test]
    fn the_worst_slice_says_what_comes_next() {
        assert_eq!(end(&[], false).end(), RunEnd::Done);
        assert_eq!(end(&[], true).end(), RunEnd::Stopped);
        let failed = end(&[ErrorKind::Throttled { retry_at: None }, ErrorKind::Data, ErrorKind::Unavailable], true).end();
        assert_eq!(failed, RunEnd::Failed { kind: ErrorKind::Data, reason: String::new() });
        assert_eq!(end(&[ErrorKind::Auth], false).end(), RunEnd::Parked { until: None, reason: String::new() });
    }

    #[test]
    fn a_panics_words_are_kept() {
        let payload = std::panic::catch_unwind(|| panic!("index {} out of range", 7)).expect_err("panicked");
        assert_eq!(panic_text(&*payload), "index 7 out of range");
        assert_eq!(panic_text(&7), "without a message");
    }

    #[test]
    fn a_spool_of_an_earlier_process_is_cleared() {
        let folder = tempfile::tempdir().expect("folder");
        let state_path = folder.path().join("state.db");
        let spool = make_spool(&state_path).map_err(|failure| failure.message).expect("made");
        for old in ["old.pages", "old.ops", "old-0.parents", "old-0.rows"] {
            std::fs::write(spool.join(old), "x").expect("file");
        }
        make_spool(&state_path).map_err(|failure| failure.message).expect("cleared");
        assert_eq!(std::fs::read_dir(&spool).expect("folder").count(), 0);
    }
}
