//! One job: its phase, and what becomes of its due times.

use jiff::{SignedDuration, Timestamp};

use super::notice::Notice;
use super::{Claim, SaturatingAdd, Start, Turn};
use crate::cadence::Schedule;
use crate::config::catalog::CatchUp;
use crate::ids::JobName;
use crate::printable::shortened;
use crate::schedule::view::{EndView, JobView, ParkedView, RunningView, WaitingView};
use crate::schedule::{DueRun, ScheduledJob, Why};
use crate::state::{DueTimes, PARKED_REASON_MAX};

/// A due time that is seen within this long is on time, not missed: rings come late, and a restart takes its moment.
pub const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// Due times of one job that are caught up on, each with a run of its own; of more, the newest.
pub const CATCH_UP_MAX: usize = 10_000;

/// A due time of the state that lies further ahead than this was written while the clock was wrong,
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(48);

/// unless it is wrong now, and is set right within this long.
const DOUBT: SignedDuration = SignedDuration::from_hours(1);

/// A parking of the state that would last longer than this, a day and some, is cut to it: no source's patience is heeded for
/// longer, so the clock was wrong when it was written, or is now.
const PARKED_MAX: SignedDuration = SignedDuration::from_hours(25);

pub(super) struct Entry {
    pub job: ScheduledJob,
    pub phase: Phase,
    /// No due time up to this one may start a run any more.
    pub settled: Timestamp,
    /// The first due time after `settled`.
    next: Option<Timestamp>,
    /// Somebody asked for a run that has not begun.
    pub by_hand: bool,
    /// The job whose success this one still has to follow.
    pub owed: Option<JobName>,
    /// Its parking is over and the run that was cut short by it goes on.
    pub resume: bool,
    /// The parking that the state keeps. It outlives the phase and goes when a run begins: a process that is killed in between
    /// must not forget that run.
    pub parking: Option<Parking>,
    /// It is in no file any more and goes when its run is over.
    pub removed: bool,
    pub last_end: Option<EndView>,
    /// Since when `settled` has been far ahead of the clock.
    doubted: Option<Timestamp>,
    /// Before this moment no more than [`CATCH_UP_MAX`] due times can have been missed.
    counted_until: Timestamp,
    /// Its place among the wakes.
    pub wake: Option<Timestamp>,
    /// Its place among the ready.
    pub turn: Option<Turn>,
}

pub(super) enum Phase {
    Idle,
    Waiting(Waiting),
    Running(Running),
    Parked(Parked),
}

pub(super) struct Waiting {
    /// Not before this moment.
    pub start_at: Timestamp,
    pub due_at: Option<Timestamp>,
    pub why: Why,
}

pub(super) struct Running {
    since: Timestamp,
    due_at: Option<Timestamp>,
    why: Why,
}

pub(super) struct Parked {
    /// `None`: until somebody changes something.
    pub until: Option<Timestamp>,
    pub reason: String,
}

/// A parking up to a moment.
#[derive(Clone)]
pub(super) struct Parking {
    pub until: Timestamp,
    /// Short enough for the state.
    pub reason: String,
}

impl Parking {
    pub fn new(until: Timestamp, reason: &str) -> Self {
        Parking { until, reason: shortened(reason, PARKED_REASON_MAX) }
    }

    /// What the process before has left. One that is over already is one still: its run has not begun.
    pub fn kept(known: &DueTimes, now: Timestamp) -> Option<Self> {
        let until = known.parked_until?.min(now.saturating_add_of(PARKED_MAX));
        Some(Parking { until, reason: known.parked_reason.clone().unwrap_or_default() })
    }

    pub fn phase(&self) -> Phase {
        Phase::Parked(Parked { until: Some(self.until), reason: self.reason.clone() })
    }
}

/// A schedule as the state keeps it.
fn text_of(schedule: Option<&Schedule>) -> String {
    schedule.map(ToString::to_string).unwrap_or_default()
}

/// Whether what is known was written under this schedule.
pub(super) fn has_schedule(known: &DueTimes, schedule: Option<&Schedule>) -> bool {
    known.schedule == text_of(schedule)
}

/// What a decision follows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The clock, or something from outside.
    Tick,
    /// The end of the job's own run: what came due meanwhile was missed.
    End,
}

impl Entry {
    /// Also whether it stands as the state knows it. A job that was parked is parked still, unless its schedule is another one.
    pub fn new(job: ScheduledJob, known: Option<&DueTimes>, now: Timestamp) -> (Self, bool) {
        let same = known.filter(|known| has_schedule(known, job.schedule.as_ref()));
        let settled = match (same, known) {
            (Some(same), _) => same.last_due.unwrap_or(now),
            // Another schedule's due times were not missed by this one; but none may come twice, not even of another.
            (None, known) => known.and_then(|known| known.last_due).map_or(now, |last_due| last_due.max(now)),
        };
        let owed = known.and_then(|known| known.owed_after.clone()).filter(|first| job.after.contains(first));
        let parking = same.and_then(|same| Parking::kept(same, now));
        let as_known = match same {
            // What was cut is written down: else it would be cut again at every start, and never end.
            Some(same) if same.parked_until != parking.as_ref().map(|parking| parking.until) => false,
            Some(same) => same.last_due.is_some() || job.schedule.is_none(),
            None => job.schedule.is_none() && known.is_none(),
        };
        let next = job.schedule.as_ref().and_then(|schedule| schedule.next_after(settled));
        let entry = Entry {
            job,
            phase: parking.as_ref().map_or(Phase::Idle, Parking::phase),
            settled,
            next,
            by_hand: false,
            owed,
            resume: false,
            parking,
            removed: false,
            last_end: None,
            doubted: None,
            counted_until: Timestamp::MIN,
            wake: None,
            turn: None,
        };
        (entry, as_known)
    }

    /// Takes what the job's file says now. Answers whether its due times begin anew.
    pub fn replace(&mut self, job: ScheduledJob, now: Timestamp) -> bool {
        let rescheduled = self.job.schedule != job.schedule;
        self.job = job;
        if rescheduled {
            let settled = self.settled.max(now);
            self.settle(settled, self.job.schedule.as_ref().and_then(|schedule| schedule.next_after(settled)));
            self.counted_until = Timestamp::MIN;
        }
        rescheduled
    }

    /// Nothing up to `until` is open any more.
    pub fn settle(&mut self, until: Timestamp, next: Option<Timestamp>) {
        (self.settled, self.next) = (until, next);
    }

    pub fn row(&self) -> DueTimes {
        let schedule = text_of(self.job.schedule.as_ref());
        let last_due = self.job.schedule.is_some().then_some(self.settled);
        let parking = self.parking.clone();
        let (parked_until, parked_reason) = parking.map(|parking| (parking.until, parking.reason)).unzip();
        DueTimes { last_due, next_due: self.next, schedule, owed_after: self.owed.clone(), parked_until, parked_reason }
    }

    /// Finds the free job its next run, if there is reason for one by now.
    pub fn decide(&mut self, occasion: Occasion, now: Timestamp, notices: &mut Vec<Notice>) {
        self.doubt(now, notices);
        if occasion == Occasion::End && self.job.catch_up == CatchUp::None {
            // They came due while the run was under way.
            self.drop_missed(now, notices);
        }
        if !matches!(self.phase, Phase::Idle) {
            return;
        }
        let due = self.next.filter(|next| *next <= now).and_then(|next| self.missed(next, occasion, now, notices));
        let why = match (&self.owed, &due) {
            _ if self.by_hand => Why::Hand,
            (Some(first), _) => Why::After(first.clone()),
            _ if self.resume => Why::Resume,
            (None, Some((_, why))) => why.clone(),
            (None, None) => return,
        };
        self.resume = false;
        self.phase = Phase::Waiting(Waiting { start_at: now, due_at: due.map(|(due_at, _)| due_at), why });
    }

    /// Which of the due times from `next` to `now` the coming run is for.
    fn missed(
        &mut self,
        next: Timestamp,
        occasion: Occasion,
        now: Timestamp,
        notices: &mut Vec<Notice>,
    ) -> Option<(Timestamp, Why)> {
        let schedule = self.job.schedule.as_ref()?;
        let latest = schedule.last_from(next, now);
        let on_time = |due: Timestamp| occasion == Occasion::Tick && now.duration_since(due) <= GRACE;
        match self.job.catch_up {
            CatchUp::None if on_time(latest) => Some((latest, Why::Schedule)),
            CatchUp::None => {
                self.drop_missed(now, notices);
                None
            }
            CatchUp::One if latest == next && on_time(latest) => Some((latest, Why::Schedule)),
            CatchUp::One => Some((latest, Why::CatchUp)),
            CatchUp::All => {
                self.cap(now, notices);
                let next = self.next?;
                Some((next, if on_time(next) { Why::Schedule } else { Why::CatchUp }))
            }
        }
    }

    fn drop_missed(&mut self, now: Timestamp, notices: &mut Vec<Notice>) {
        let Some(schedule) = &self.job.schedule else { return };
        let Some(last) = self.next.filter(|next| *next <= now).map(|next| schedule.last_from(next, now)) else { return };
        notices.push(Notice::dropped(&self.job.job, schedule.count_within(self.settled, now, CATCH_UP_MAX), last));
        let next = schedule.next_after(last);
        self.settle(last, next);
    }

    /// Of too many due times, the older are dropped. Counting costs, so it is put off while there cannot be too many: no two due
    /// times are closer than a second.
    fn cap(&mut self, now: Timestamp, notices: &mut Vec<Notice>) {
        let Some(schedule) = self.job.schedule.as_ref().filter(|_| now >= self.counted_until) else { return };
        let count = schedule.count_within(self.settled, now, CATCH_UP_MAX + 1);
        if count <= CATCH_UP_MAX {
            let room = i64::try_from(CATCH_UP_MAX - count).unwrap_or_default();
            self.counted_until = now.checked_add(SignedDuration::from_secs(room)).unwrap_or(now);
            return;
        }
        let cut = schedule.newest_within(self.settled, now, CATCH_UP_MAX);
        notices.push(Notice::capped(&self.job.job, cut));
        let next = schedule.next_after(cut);
        self.settle(cut, next);
    }

    /// A clock that was far ahead for a while has left a due time behind that would keep the job from running for as long. It is
    /// not believed, unless it is the clock of now that is wrong: that one would be set right before long.
    fn doubt(&mut self, now: Timestamp, notices: &mut Vec<Notice>) {
        let ahead = self.job.schedule.is_some() && self.settled.duration_since(now) > AHEAD_MAX;
        match self.doubted {
            _ if !ahead => self.doubted = None,
            Some(since) if now.duration_since(since) >= DOUBT => {
                notices.push(Notice::distrusted(&self.job.job, self.settled));
                let next = self.job.schedule.as_ref().and_then(|schedule| schedule.next_after(now));
                self.settle(now, next);
                self.doubted = None;
            }
            Some(since) if since <= now => {}
            _ => self.doubted = Some(now),
        }
    }

    /// Starts the run that waits.
    pub fn start(&mut self, now: Timestamp) -> Option<Start> {
        let Phase::Waiting(waiting) = &self.phase else { return None };
        let schedule = self.job.schedule.as_ref();
        // More may have come due while it waited for a place. One run makes up for all of them, where that is the rule.
        let due_at = match (self.job.catch_up, schedule) {
            (CatchUp::One, Some(schedule)) => {
                let first = waiting.due_at.filter(|due_at| *due_at > self.settled).or(self.next).filter(|first| *first <= now);
                first.map(|first| schedule.last_from(first, now)).or(waiting.due_at)
            }
            (CatchUp::All, _) => waiting.due_at.or(self.next.filter(|next| *next <= now)),
            _ => waiting.due_at,
        };
        // One of a schedule that has changed since is settled already.
        let claimed = due_at.filter(|due_at| *due_at > self.settled).zip(schedule);
        let claim = claimed.map(|(due_at, schedule)| Claim { due_at, next_due: schedule.next_after(due_at) });
        let why = if self.by_hand { Why::Hand } else { waiting.why.clone() };
        self.by_hand = false;
        self.phase = Phase::Running(Running { since: now, due_at, why: why.clone() });
        Some(Start { due: DueRun { job: self.job.job.clone(), due_at, why }, claim })
    }

    /// When the job has to be looked at again by itself.
    pub fn next_wake(&mut self, now: Timestamp) -> Option<Timestamp> {
        match &self.phase {
            Phase::Waiting(waiting) => Some(waiting.start_at),
            Phase::Running(_) => None,
            Phase::Parked(parked) => parked.until,
            // The process before has left it.
            Phase::Idle if self.owed.is_some() => Some(now),
            Phase::Idle => {
                let ahead = self.settled.duration_since(now) > AHEAD_MAX;
                let doubt = self.next.filter(|_| ahead).map(|_| self.doubted.unwrap_or(now).saturating_add_of(DOUBT));
                self.next.into_iter().chain(doubt).min()
            }
        }
    }

    pub fn view(&self, now: Timestamp) -> JobView {
        let after = self.settled.max(now);
        let mut view = JobView {
            job: self.job.job.clone(),
            schedule: self.job.schedule.as_ref().map(ToString::to_string),
            next_due: self.job.schedule.as_ref().and_then(|schedule| schedule.next_after(after)),
            running: None,
            waiting: None,
            parked: None,
            last_end: self.last_end.clone(),
        };
        match &self.phase {
            Phase::Idle => {}
            Phase::Waiting(Waiting { start_at, due_at, why }) => {
                view.waiting = Some(WaitingView { start_at: *start_at, due_at: *due_at, why: why.clone() });
            }
            Phase::Running(Running { since, due_at, why }) => {
                view.running = Some(RunningView { since: *since, due_at: *due_at, why: why.clone() });
            }
            Phase::Parked(Parked { until, reason }) => view.parked = Some(ParkedView { until: *until, reason: reason.clone() }),
        }
        view
    }
}
