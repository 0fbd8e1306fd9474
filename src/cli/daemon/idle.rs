//! What is done to tables while nobody needs them: old partitions go, small files are joined. One job at a time, a little at a time,
//! and never where a run is due: a run that begins has the turn ended, and waits only for a commit that is half way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::cli::engine::Engine;
use crate::clock::Clock;
use crate::config::catalog::Job;
use crate::disk;
use crate::error::ErrorKind;
use crate::ids::{JobName, Seq};
use crate::run::{self, Effort, RunError};
use crate::schedule::{Handle, JobView};
use crate::stop::Stop;

use super::files::Files;
use super::spare::Spare;
use super::within;

/// How often tables are looked at where no run has ended meanwhile.
const LOOK: Duration = Duration::from_secs(30);
/// After a run has ended its table is left alone for so long: whoever asked for it may want another.
const PAUSE: Duration = Duration::from_secs(1);
/// No turn begins where a run of its job is due sooner than this.
const SPARE: SignedDuration = SignedDuration::from_secs(5);
/// A table that nothing has happened to is looked at again after this: its partitions grow old.
const AGAIN: SignedDuration = SignedDuration::from_hours(6);
/// The same where a turn failed.
const AGAIN_FAILED: SignedDuration = SignedDuration::from_hours(1);
/// Records of one turn; between two of them it is seen whether a run is due.
const RECORDS_MAX: u32 = 1;
/// Turns in a row of one job, before the others are looked at.
const TURNS_MAX: u32 = 64;
/// How long a run waits for the end of a turn. After that it takes the lease, and what the turn still does counts for nothing.
const GIVE_WAY: Duration = Duration::from_secs(60);

/// The turn at work, if there is one.
#[derive(Default)]
pub(super) struct Turns {
    at_work: Mutex<Option<Turn>>,
    ended: Notify,
}

#[derive(Clone)]
struct Turn {
    job: JobName,
    stop: Stop,
    over: Stop,
}

impl Turns {
    /// Ends the turn of a job whose run begins.
    pub async fn give_way(&self, job: &JobName, clock: &dyn Clock) {
        let turn = lock(&self.at_work).clone().filter(|turn| turn.job == *job);
        if let Some(turn) = turn {
            turn.stop.request();
            if within(clock, GIVE_WAY, turn.over.wait()).await.is_none() {
                tracing::warn!(job.id = %job, "{job}: the work on its files does not end, the run begins all the same");
            }
        }
    }

    /// A run has ended: its table may want some work.
    pub fn look(&self) {
        self.ended.notify_one();
    }

    fn begin(&self, job: &JobName) -> Turn {
        let turn = Turn { job: job.clone(), stop: Stop::new(), over: Stop::new() };
        *lock(&self.at_work) = Some(turn.clone());
        turn
    }

    fn end(&self, turn: &Turn) {
        *lock(&self.at_work) = None;
        turn.over.request();
    }
}

fn lock(turn: &Mutex<Option<Turn>>) -> MutexGuard<'_, Option<Turn>> {
    // Replaced in one assignment.
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of a table that needs nothing for now.
struct Known {
    seq: Seq,
    until: Timestamp,
}

pub(super) struct Idle {
    pub engine: Arc<Engine>,
    pub files: Arc<Files>,
    pub turns: Arc<Turns>,
    pub handle: Handle,
    pub spare: Arc<Spare>,
}

impl Idle {
    /// Looks after the tables until `stop` is asked for.
    pub async fn work(self, stop: Stop) {
        let clock = Arc::clone(&self.engine.clock);
        let mut known: HashMap<JobName, Known> = HashMap::new();
        while !stop.requested() {
            tokio::select! {
                () = stop.wait() => return,
                () = clock.sleep(LOOK) => {}
                () = async { self.turns.ended.notified().await; clock.sleep(PAUSE).await } => {}
            }
            self.look_around(&stop, &mut known).await;
        }
    }

    async fn look_around(&self, stop: &Stop, known: &mut HashMap<JobName, Known>) {
        let reading = self.files.reading();
        known.retain(|job, _| reading.catalog.jobs.contains_key(job));
        let seqs = match self.engine.state.datasets().await {
            Ok(datasets) => datasets.into_iter().map(|(dataset, state)| (dataset, state.seq)).collect::<HashMap<_, _>>(),
            Err(error) => return tracing::warn!(%error, "tables are not looked after: the state does not answer"),
        };
        for job in reading.catalog.jobs.values().filter(|job| job.enabled && has_chores(job)) {
            let Some(seq) = seqs.get(&job.dataset).copied().filter(|seq| *seq > 0) else { continue };
            let now = self.engine.clock.now();
            let is_known = |known: &Known| known.seq == seq && now < known.until;
            if known.get(&job.name).is_some_and(is_known) || stop.requested() || !self.is_idle(&job.name) {
                continue;
            }
            let settings = &reading.catalog.settings;
            if disk::check(settings.disk_free, &disk::folders(settings, job)).is_err() {
                continue;
            }
            let memory = settings.memory / settings.runs.max(1) as u64;
            if let Some(next) = self.tend(job, memory, seq, stop).await {
                known.insert(job.name.clone(), next);
            }
        }
    }

    /// Nothing of a job runs or is about to, and there is a place that a run could have.
    fn is_idle(&self, job: &JobName) -> bool {
        let view = self.handle.view();
        let is_near = |view: &JobView| view.next_due.is_some_and(|due| due.duration_since(self.engine.clock.now()) < SPARE);
        let is_free = |view: &JobView| view.running.is_none() && view.waiting.is_none() && !is_near(view);
        let places = self.files.reading().catalog.settings.runs.max(1);
        !view.stopping && view.running < places && view.jobs.iter().find(|view| view.job == *job).is_some_and(is_free)
    }

    /// Turn after turn, until there is nothing left to do or something else is; what is known then.
    async fn tend(&self, job: &Job, memory: u64, seq: Seq, stop: &Stop) -> Option<Known> {
        for _ in 0..TURNS_MAX {
            let turn = self.turns.begin(&job.name);
            // A run that began before the turn was there to be ended has not seen it, but is seen.
            let done = match self.is_idle(&job.name) {
                true => Some(self.take_turn(job, memory, &turn, stop).await),
                false => None,
            };
            self.turns.end(&turn);
            let (seq, wait) = match done? {
                Ok((seq, true)) if turn.stop.requested() || seq == 0 => return None,
                Ok((_, true)) => continue,
                Ok((seq, false)) => (seq, AGAIN),
                // Another daemon is at it, and will do the same.
                Err(error) if error.kind == ErrorKind::Conflict => (seq, AGAIN_FAILED),
                Err(error) => {
                    tracing::warn!(job.id = %job.name, "{}: its files stay as they are for now: {error}", job.name);
                    (seq, AGAIN_FAILED)
                }
            };
            return self.engine.clock.now().checked_add(wait).ok().map(|until| Known { seq, until });
        }
        None
    }

    /// The end of the table's log afterwards, and whether there is more to do.
    async fn take_turn(&self, job: &Job, memory: u64, turn: &Turn, stop: &Stop) -> Result<(Seq, bool), RunError> {
        let _at_work = self.spare.begin();
        let ports = self
            .engine
            .ports_without_source(job, memory, turn.stop.clone())
            .map_err(|trouble| RunError::new(trouble.kind, trouble.reason))?;
        let effort = |(least, all): (u32, bool)| Effort {
            least: usize::try_from(least).unwrap_or(usize::MAX),
            alike: true,
            beside_only: !all,
            records_max: RECORDS_MAX,
            dry_run: false,
        };
        let effort = job.compacts_from().map(effort);
        let job = job.clone();
        // A task of its own: a panic in it concerns this turn alone, and who drops the set ends it.
        let mut task = JoinSet::new();
        task.spawn(async move { run::tend(&job, &ports, effort).await });
        loop {
            tokio::select! {
                Some(ended) = task.join_next() => return match ended {
                    Ok(tended) => tended.map(|(_, compacted, seq)| (seq, compacted.is_partial)),
                    Err(error) => Err(RunError::new(ErrorKind::Bug, format!("the work panicked, which is a bug of highwater: {error}"))),
                },
                () = stop.wait(), if !turn.stop.requested() => turn.stop.request(),
            }
        }
    }
}

fn has_chores(job: &Job) -> bool {
    job.keep.retain.is_some() || job.compacts_from().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn a_run_ends_the_turn_of_its_own_job_and_waits_for_no_other() {
        let (turns, clock) = (Arc::new(Turns::default()), SystemClock::new());
        let (job, other) = (JobName::new("orders"), JobName::new("others"));
        let turn = turns.begin(&job);
        turns.give_way(&other, &clock).await;
        assert!(!turn.stop.requested());
        let (ending, running) = (Arc::clone(&turns), Arc::clone(&turns));
        let work = async {
            turn.stop.wait().await;
            ending.end(&turn);
        };
        let run = async {
            running.give_way(&job, &clock).await;
            assert!(turn.over.requested(), "the run began beside the turn");
        };
        tokio::join!(work, run);
        turns.give_way(&job, &clock).await;
    }
}
