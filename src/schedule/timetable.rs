//! What is due, what waits, what runs: the pure half. A moment comes in by argument; nothing waits, nothing is written.
//!
//! The caller tells what happened ([`Timetable::advance`], [`Timetable::finish`], [`Timetable::ask`], [`Timetable::reload`]), takes
//! the runs that are to start ([`Timetable::take_ready`]), claims each one's due time in the state and says how that went
//! ([`Timetable::confirm`], [`Timetable::refuse`], [`Timetable::postpone`]). What the state has to keep is in
//! [`Timetable::unsaved`]; when to come back, in [`Timetable::next_wake`].
//!
//! A job that is parked until a moment is so in the state as well, and stays it over a restart, until its next run begins.
//!
//! A job is in one phase at a time, so it never runs beside itself. Due times that pass while it waits, runs or is parked are
//! not collected: everything after `settled` is still to be decided, and the catch-up rule decides when the job is free again.

mod entry;
mod notice;
mod spread;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::handle::Reloaded;
use super::view::{EndView, JobView, ParkedView, View};
use super::{DueRun, ScheduledJob, Why};
use crate::cadence::Schedule;
use crate::event::RunEnd;
use crate::ids::JobName;
use crate::state::DueTimes;

use entry::{Entry, Occasion, Parked, Parking, Phase, Waiting, has_schedule};

pub use entry::{CATCH_UP_MAX, GRACE};
pub use notice::Notice;

/// How long a start waits after the state did not answer.
const POSTPONED: SignedDuration = SignedDuration::from_secs(10);

/// A job that was parked for a moment that is over already waits this long, or it would be asked again and again.
const PARKED_MIN: SignedDuration = SignedDuration::from_secs(10);

/// A run that is to start, and what has to be claimed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub due: DueRun,
    pub claim: Option<Claim>,
}

/// A due time that the state must grant before the run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub due_at: Timestamp,
    /// The first due time after it.
    pub next_due: Option<Timestamp>,
}

/// Which of the ready runs is next: by hand before by schedule, then who has waited longest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    not_by_hand: bool,
    start_at: Timestamp,
    job: JobName,
}

/// How a job with this schedule is parked by what the state keeps of it: for whoever looks while nobody schedules. `None` where it
/// would run as usual.
pub fn still_parked(schedule: Option<&Schedule>, known: &DueTimes, now: Timestamp) -> Option<ParkedView> {
    let parking = Parking::kept(known, now).filter(|parking| has_schedule(known, schedule) && parking.until > now)?;
    Some(ParkedView { until: Some(parking.until), reason: parking.reason })
}

/// All jobs and where they stand.
pub struct Timetable {
    entries: BTreeMap<JobName, Entry>,
    /// By job, those that run after it.
    followers: BTreeMap<JobName, Vec<JobName>>,
    /// When a job has to be looked at again; at most one moment for each.
    wakes: BTreeSet<(Timestamp, JobName)>,
    /// Runs that lack only a place.
    ready: BTreeSet<Turn>,
    running: usize,
    /// Jobs whose row in the state is behind.
    unsaved: BTreeSet<JobName>,
    notices: Vec<Notice>,
    /// The last moment that was told.
    seen: Timestamp,
    stopping: bool,
}

impl Timetable {
    /// A table of these jobs; `known` is what the state keeps of them. Of a job that the state does not know, or knows with
    /// another schedule, nothing was missed: its due times begin at `now`, and it is not parked.
    pub fn new(jobs: Vec<ScheduledJob>, known: &BTreeMap<JobName, DueTimes>, now: Timestamp) -> Self {
        let mut table = Timetable {
            entries: BTreeMap::new(),
            followers: BTreeMap::new(),
            wakes: BTreeSet::new(),
            ready: BTreeSet::new(),
            running: 0,
            unsaved: BTreeSet::new(),
            notices: Vec::new(),
            seen: now,
            stopping: false,
        };
        for job in jobs {
            table.add(job, known, now);
        }
        table.follow();
        table
    }

    /// Decides on all that has come due up to `now`. The clock may have stepped in either direction since the last call.
    pub fn advance(&mut self, now: Timestamp) {
        if now < self.seen {
            self.step_back(now);
        }
        self.seen = now;
        let mut fresh = Vec::new();
        while let Some((at, job)) = self.wakes.first().cloned().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&(at, job.clone()));
            let Some(entry) = self.entries.get_mut(&job) else { continue };
            entry.wake = None;
            let was_waiting = matches!(entry.phase, Phase::Waiting(_));
            if let Phase::Parked(_) = entry.phase {
                entry.phase = Phase::Idle;
                entry.resume = true;
            }
            self.decide(&job, Occasion::Tick, now);
            if !was_waiting {
                fresh.push(job);
            }
        }
        self.spread(fresh, now);
    }

    /// The runs that start now, at most `places`, in their order. Each counts as running from here on; its claim is to be made and
    /// answered by [`confirm`](Self::confirm), [`refuse`](Self::refuse) or [`postpone`](Self::postpone). None after
    /// [`stop`](Self::stop).
    pub fn take_ready(&mut self, now: Timestamp, places: usize) -> Vec<Start> {
        let mut starts = Vec::new();
        while starts.len() < places && !self.stopping {
            let Some(turn) = self.ready.pop_first() else { break };
            let Some(entry) = self.entries.get_mut(&turn.job) else { continue };
            entry.turn = None;
            if let Some(start) = entry.start(now) {
                self.running += 1;
                starts.push(start);
            }
        }
        starts
    }

    /// The state has granted the claim of a run that was taken; or there was none to make.
    pub fn confirm(&mut self, start: &Start) {
        let Some(entry) = self.entries.get_mut(&start.due.job) else { return };
        // The claim has cleared both in the state; without a claim it has to be written.
        let (owed, parked) = (entry.owed.take().is_some(), entry.parking.take().is_some());
        match start.claim {
            Some(claim) => entry.settle(claim.due_at, claim.next_due),
            None if owed || parked => drop(self.unsaved.insert(start.due.job.clone())),
            None => {}
        }
    }

    /// The due time of a run that was taken was claimed before. Answers the run without it where there is another reason to run,
    /// to be confirmed in its place; else it does not start.
    pub fn refuse(&mut self, start: &Start, now: Timestamp) -> Option<Start> {
        let job = &start.due.job;
        let entry = self.entries.get_mut(job)?;
        if let Some(claim) = start.claim {
            entry.settle(claim.due_at, claim.next_due);
            self.notices.push(Notice::claimed_before(job, claim.due_at));
        }
        if !matches!(start.due.why, Why::Schedule | Why::CatchUp) {
            return Some(Start { due: DueRun { due_at: None, ..start.due.clone() }, claim: None });
        }
        entry.phase = Phase::Idle;
        self.running -= 1;
        self.decide(job, Occasion::Tick, now);
        None
    }

    /// The state did not answer: the run that was taken waits a little.
    pub fn postpone(&mut self, start: &Start, now: Timestamp) {
        self.running -= 1;
        let Some(entry) = self.entries.get_mut(&start.due.job) else { return };
        let (due_at, why) = (start.due.due_at, start.due.why.clone());
        entry.by_hand |= why == Why::Hand;
        entry.phase = Phase::Waiting(Waiting { start_at: now.saturating_add_of(POSTPONED), due_at, why });
        self.register(&start.due.job, now);
    }

    /// A run is over: jobs that follow it come due where it was done, and what it missed meanwhile is decided on.
    pub fn finish(&mut self, job: &JobName, ended: RunEnd, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(job).filter(|entry| matches!(entry.phase, Phase::Running(_))) else { return };
        self.running -= 1;
        entry.phase = match &ended {
            RunEnd::Parked { until: Some(until), reason } => {
                let parking = Parking::new((*until).max(now.saturating_add_of(PARKED_MIN)), reason);
                let phase = parking.phase();
                entry.parking = Some(parking);
                phase
            }
            RunEnd::Parked { until: None, reason } => Phase::Parked(Parked { until: None, reason: reason.clone() }),
            _ => Phase::Idle,
        };
        let done = ended == RunEnd::Done;
        entry.last_end = Some(EndView { at: now, ended });
        let parked = entry.parking.is_some();
        if entry.removed {
            self.drop_entry(job);
        } else {
            if parked {
                self.unsaved.insert(job.clone());
            }
            self.decide(job, Occasion::End, now);
        }
        if done {
            for follower in self.followers.get(job).cloned().unwrap_or_default() {
                self.owe(&follower, job, now);
            }
        }
    }

    /// Runs jobs by hand: before all others, parked or not. Answers which names are unknown, and which jobs run already and will
    /// once more.
    pub fn ask(&mut self, jobs: &[JobName], now: Timestamp) -> (Vec<JobName>, Vec<JobName>) {
        let (mut unknown, mut behind) = (Vec::new(), Vec::new());
        for job in jobs {
            let Some(entry) = self.entries.get_mut(job).filter(|entry| !entry.removed) else {
                unknown.push(job.clone());
                continue;
            };
            entry.by_hand = true;
            match &mut entry.phase {
                Phase::Running(_) => behind.push(job.clone()),
                Phase::Parked(_) => entry.phase = Phase::Idle,
                Phase::Waiting(waiting) => waiting.start_at = waiting.start_at.min(now),
                Phase::Idle => {}
            }
            self.decide(job, Occasion::Tick, now);
        }
        (unknown, behind)
    }

    /// Takes a new list of jobs. `known` is what the state keeps of those that are added. Runs under way go on; runs of removed
    /// jobs that have not begun never do.
    pub fn reload(&mut self, jobs: Vec<ScheduledJob>, known: &BTreeMap<JobName, DueTimes>, now: Timestamp) -> Reloaded {
        let mut reloaded = Reloaded::default();
        let names: BTreeSet<JobName> = jobs.iter().map(|job| job.job.clone()).collect();
        let gone: Vec<JobName> = self.entries.keys().filter(|job| !names.contains(*job)).cloned().collect();
        for job in gone {
            let Some(entry) = self.entries.get_mut(&job).filter(|entry| !entry.removed) else { continue };
            match entry.phase {
                Phase::Running(_) => entry.removed = true,
                _ => self.drop_entry(&job),
            }
            self.unsaved.remove(&job);
            reloaded.removed.push(job);
        }
        for job in jobs {
            let name = job.job.clone();
            match self.entries.get_mut(&name) {
                Some(entry) if !entry.removed => {
                    if entry.replace(job, now) {
                        self.unsaved.insert(name.clone());
                        reloaded.rescheduled.push(name.clone());
                    }
                    // What kept it from running may be what was changed.
                    if matches!(&entry.phase, Phase::Parked(parked) if parked.until.is_none()) {
                        entry.phase = Phase::Idle;
                        entry.resume = true;
                    }
                    self.decide(&name, Occasion::Tick, now);
                }
                returned => {
                    // It was removed and is back before its run has ended: that run is still its own.
                    let phase = returned.map(|entry| std::mem::replace(&mut entry.phase, Phase::Idle));
                    self.add(job, known, now);
                    if let (Some(phase), Some(entry)) = (phase, self.entries.get_mut(&name)) {
                        (entry.phase, entry.parking) = (phase, None);
                    }
                    self.register(&name, now);
                    reloaded.added.push(name);
                }
            }
        }
        self.follow();
        reloaded
    }

    /// No run starts any more.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// When [`advance`](Self::advance) has something to do by itself.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Runs that were taken and are not over.
    pub fn running(&self) -> usize {
        self.running
    }

    pub fn is_running(&self, job: &JobName) -> bool {
        self.entries.get(job).is_some_and(|entry| matches!(entry.phase, Phase::Running(_)))
    }

    pub fn knows(&self, job: &JobName) -> bool {
        self.entries.get(job).is_some_and(|entry| !entry.removed)
    }

    /// Rows that the state lacks or has otherwise.
    pub fn unsaved(&self) -> Vec<(JobName, DueTimes)> {
        let row = |job: &JobName| Some((job.clone(), self.entries.get(job)?.row()));
        self.unsaved.iter().filter_map(row).collect()
    }

    pub fn is_unsaved(&self, job: &JobName) -> bool {
        self.unsaved.contains(job)
    }

    /// The state has these rows now.
    pub fn saved(&mut self, rows: &[(JobName, DueTimes)]) {
        for (job, _) in rows {
            self.unsaved.remove(job);
        }
    }

    /// What an operator may want to know, since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub fn view(&self, now: Timestamp) -> View {
        let jobs: Vec<JobView> = self.entries.values().map(|entry| entry.view(now)).collect();
        let waiting = jobs.iter().filter(|job| job.waiting.is_some()).count();
        View { at: now, jobs, running: self.running, waiting, stopping: self.stopping }
    }

    fn add(&mut self, job: ScheduledJob, known: &BTreeMap<JobName, DueTimes>, now: Timestamp) {
        let name = job.job.clone();
        self.drop_entry(&name);
        let (entry, as_known) = Entry::new(job, known.get(&name), now);
        if !as_known {
            self.unsaved.insert(name.clone());
        }
        self.entries.insert(name.clone(), entry);
        self.register(&name, now);
    }

    fn drop_entry(&mut self, job: &JobName) {
        let Some(entry) = self.entries.remove(job) else { return };
        if let Some(at) = entry.wake {
            self.wakes.remove(&(at, job.clone()));
        }
        if let Some(turn) = entry.turn {
            self.ready.remove(&turn);
        }
    }

    fn follow(&mut self) {
        self.followers.clear();
        for entry in self.entries.values().filter(|entry| !entry.removed) {
            for first in &entry.job.after {
                self.followers.entry(first.clone()).or_default().push(entry.job.job.clone());
            }
        }
    }

    /// `follower` has to run after `first`, which has succeeded. Several successes before it starts are one reason.
    fn owe(&mut self, follower: &JobName, first: &JobName, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(follower) else { return };
        entry.owed = Some(first.clone());
        self.unsaved.insert(follower.clone());
        self.decide(follower, Occasion::Tick, now);
    }

    fn decide(&mut self, job: &JobName, occasion: Occasion, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(job) else { return };
        let settled = entry.settled;
        entry.decide(occasion, now, &mut self.notices);
        if entry.settled != settled {
            self.unsaved.insert(job.clone());
        }
        self.register(job, now);
    }

    /// Puts the job where it will be found: among the ready, at its next wake, or nowhere.
    fn register(&mut self, job: &JobName, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(job) else { return };
        if let Some(at) = entry.wake.take() {
            self.wakes.remove(&(at, job.clone()));
        }
        if let Some(turn) = entry.turn.take() {
            self.ready.remove(&turn);
        }
        match &entry.phase {
            Phase::Waiting(waiting) if waiting.start_at <= now => {
                let turn = Turn { not_by_hand: !entry.by_hand, start_at: waiting.start_at, job: job.clone() };
                entry.turn = Some(turn.clone());
                self.ready.insert(turn);
            }
            _ => {
                if let Some(at) = entry.next_wake(now) {
                    entry.wake = Some(at);
                    self.wakes.insert((at, job.clone()));
                }
            }
        }
    }

    /// Jobs that have come due together and share a credential do not all begin in one instant.
    fn spread(&mut self, fresh: Vec<JobName>, now: Timestamp) {
        let waiting = |job: &JobName| {
            let entry = self.entries.get(job)?;
            matches!(&entry.phase, Phase::Waiting(waiting) if waiting.due_at.is_some() && !entry.by_hand).then_some(&entry.job)
        };
        let delays = spread::delays(fresh.iter().filter_map(waiting), now);
        for (job, delay) in delays {
            if let Some(entry) = self.entries.get_mut(&job)
                && let Phase::Waiting(waiting) = &mut entry.phase
            {
                waiting.start_at = now.saturating_add_of(delay);
                self.register(&job, now);
            }
        }
    }

    /// What waits for a moment of the clock as it was must not wait for longer because the clock was put back.
    fn step_back(&mut self, now: Timestamp) {
        let back = self.seen.duration_since(now);
        let jobs: Vec<JobName> = self.entries.keys().cloned().collect();
        for job in jobs {
            let Some(entry) = self.entries.get_mut(&job) else { continue };
            let earlier = |at: Timestamp| at.checked_sub(back).unwrap_or(now);
            match &mut entry.phase {
                Phase::Waiting(waiting) => waiting.start_at = earlier(waiting.start_at),
                Phase::Parked(parked) => parked.until = parked.until.map(earlier),
                Phase::Idle | Phase::Running(_) => {}
            }
            if let Some(parking) = &mut entry.parking {
                parking.until = earlier(parking.until);
                self.unsaved.insert(job.clone());
            }
            self.decide(&job, Occasion::Tick, now);
        }
    }
}

/// Additions at the end of the calendar stay there.
trait SaturatingAdd {
    fn saturating_add_of(self, length: SignedDuration) -> Timestamp;
}

impl SaturatingAdd for Timestamp {
    fn saturating_add_of(self, length: SignedDuration) -> Timestamp {
        self.checked_add(length).unwrap_or(Timestamp::MAX)
    }
}
