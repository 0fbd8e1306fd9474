//! What nobody declared and no answer tells: how many requests at once, and how many a second, an API bears.
//!
//! Both are found as TCP finds its window: up by little, down by a factor. Concurrency grows by one for each round of answers and
//! falls where an answer refuses, fails or comes late. The pace has no bound until a refusal that no known limit explains; it is
//! then what came through shortly before, and is tried again upwards only after a while that grows with each failure at the same
//! height, so that a limit once found costs next to no refusals.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Requests at once where nothing is declared: at first, and at most.
const START: f64 = 8.0;
const MOST: f64 = 64.0;
const DOWN: f64 = 0.7;

/// An endpoint is late where its answers take this many times as long as they can, and this much longer at least.
const LATE_TIMES: u32 = 2;
const LATE_BY: Duration = Duration::from_millis(20);
/// From so many answers on, the quickest is about as quick as any will be.
const ANSWERS_LEAST: u32 = 8;

/// How many requests may be under way.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    size: f64,
    most: f64,
    /// What of the declared places is this process's own, where others share them.
    share: usize,
    declared: bool,
    /// One at a time until the first answer says what there is to know.
    tried: bool,
    /// Only requests that were sent after this one can lower the gate again: those before it knew nothing of the last time.
    lowered_at: u64,
    /// The newest request when somebody found no place.
    wanted_at: u64,
}

impl Gate {
    pub(super) fn new() -> Self {
        Gate { size: START, most: MOST, share: usize::MAX, declared: false, tried: false, lowered_at: 0, wanted_at: 0 }
    }

    /// `most` at once is what the definition allows, and with it where to begin. Of two, the smaller holds.
    pub(super) fn declare(&mut self, most: usize) {
        let most = (most as f64).max(1.0);
        self.most = if self.declared { self.most.min(most) } else { most };
        self.size = self.most;
        (self.declared, self.tried) = (true, true);
    }

    /// How many at once the definition allows.
    pub(super) fn declared(&self) -> Option<usize> {
        self.declared.then_some(self.most as usize)
    }

    pub(super) fn share(&self) -> usize {
        self.share
    }

    pub(super) fn set_share(&mut self, share: usize) {
        self.share = share;
    }

    /// Something is known of the API: there is no need to begin with one.
    pub(super) fn trust(&mut self) {
        self.tried = true;
    }

    /// Whether there is a place besides `flying`; `last` is the newest request.
    pub(super) fn room(&mut self, flying: usize, last: u64) -> bool {
        let room = flying < self.places();
        if !room {
            self.wanted_at = last;
        }
        room
    }

    pub(super) fn places(&self) -> usize {
        let places = if self.tried { (self.size as usize).max(1) } else { 1 };
        places.min(self.share)
    }

    /// The answer to request `number` came in good time. There are more places only where somebody has waited for one meanwhile.
    pub(super) fn raise(&mut self, number: u64) {
        self.tried = true;
        if number <= self.wanted_at {
            self.size = (self.size + 1.0 / self.size).min(self.most);
        }
    }

    /// The answer to request `number` was none, or a refusal, or late. `last` is the newest request.
    pub(super) fn lower(&mut self, number: u64, last: u64) {
        self.tried = true;
        if number > self.lowered_at {
            self.size = (self.size * DOWN).max(1.0);
            self.lowered_at = last;
        }
    }

    /// The API says how many it bears.
    pub(super) fn cap(&mut self, most: u64) {
        self.size = self.size.min(most.max(1) as f64);
    }
}

/// How long an endpoint takes to answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency {
    /// About the shortest of late; rises very slowly, so that no single late answer spoils it.
    least: Option<Duration>,
    /// What answers are late by comparison with.
    good: Duration,
    usual: Duration,
    answers: u32,
}

impl Latency {
    /// Notes an answer; whether answers have become late.
    pub(super) fn note(&mut self, took: Duration) -> bool {
        self.answers = self.answers.saturating_add(1);
        let Some(least) = self.least else {
            (self.least, self.good, self.usual) = (Some(took), took, took);
            return false;
        };
        self.least = Some(if took < least { took } else { least + (took - least).min(least) / 512 });
        self.usual = (self.usual * 7 + took) / 8;
        // Means with means: where quick and slow answers take turns, none of them is late.
        self.good = self.good.min(self.usual) + self.usual.saturating_sub(self.good) / 512;
        self.usual > self.good * LATE_TIMES && self.usual > self.good + LATE_BY
    }

    /// Answers are late although one request at a time is under way: it is not us, and this is how long they take now.
    pub(super) fn accept(&mut self) {
        self.good = self.usual;
    }

    /// By how much a request can have arrived later than the quickest; `None` before that is known.
    pub(super) fn excess(&self, took: Duration) -> Option<Duration> {
        self.least.filter(|_| self.answers >= ANSWERS_LEAST).map(|least| took.saturating_sub(least))
    }
}

/// A found pace is kept a little below what came through.
const BELOW: f64 = 0.95;
/// A refusal lowers the pace by no more than this at once.
const CUT_MOST: f64 = 0.7;
const PACE_LEAST: f64 = 1.0 / 60.0;
/// How long a found pace is kept before more is tried, the first time and at most.
const HOLD_FIRST: Duration = Duration::from_secs(30);
const HOLD_MOST: Duration = Duration::from_secs(600);
/// More is tried in steps of a second: small ones around what was found, large ones beyond.
const STEP: Duration = Duration::from_secs(1);
const STEP_NEAR: f64 = 1.02;
const STEP_FAR: f64 = 1.25;
/// A pace that is this far beyond what was found, and still never waited for, is none.
const FORGET: f64 = 16.0;
const NEAR: f64 = 0.15;
/// Refusals that go on while a pace is kept, and that lowering it changes nothing about, are not for its sake once there were so many
/// in a row; but they are where the share of the last requests, about so many, that was refused has grown by half and by this since.
const VAIN_MOST: u32 = 6;
const MOOD_OVER: f64 = 128.0;
const MOOD_TIMES: f64 = 1.5;
const MOOD_MORE: f64 = 0.01;
/// More refusals than this are no mood.
const MOOD_MOST: f64 = 0.2;
/// Nobody asks so often: there is no pace.
const RATE_MOST: f64 = 1e5;
/// Nobody asks for anything: longer, and it is no time in which a pace was kept.
const IDLE: Duration = Duration::from_secs(5);
/// Where no more came through before a refusal, there is nothing to reckon a pace from.
const THROUGH_LEAST: u64 = 5;
/// While a source refuses, it is tried after this, then after twice as long, and so on.
const TRY_FIRST: Duration = Duration::from_millis(100);
const TRY_MOST: Duration = Duration::from_secs(60);

/// How many requests a second leave, where a hidden limit was met.
///
/// From the first request to a refusal, and on to the first that comes through again, lies a window of whatever length: what came
/// through in it, over its length, is the pace that the source bears. Time in which nobody asked does not count.
///
/// Not every refusal is for the pace: an API in trouble refuses one request of fifty however slowly they come, and whoever took each of
/// them for a limit that was met would come to a standstill.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    found: Option<Found>,
    /// Refusals go on: how long the next try is put off after one more.
    refusing: Option<Duration>,
    /// When the present stretch began, and what has come through in it; `None` before the first request.
    since: Option<Duration>,
    through: u64,
    /// The share of the last requests that was refused.
    refused: f64,
    lowered_at: u64,
    /// When a request left last.
    sent: Option<Duration>,
    /// The next request leaves at this moment.
    next: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Found {
    /// Requests a second now.
    rate: f64,
    /// The rate at which the last refusal left it.
    height: f64,
    hold: Duration,
    /// No more is tried before this.
    until: Duration,
    /// Refusals in a row that came while no more was tried.
    vain: u32,
    /// The share of refusals up to which they are not for the pace.
    mood: f64,
}

/// What is known of refusals that are not for the pace: whoever began anew with it after each restart would lower the pace with each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Vain {
    /// Refusals in a row.
    times: u32,
    /// The share up to which they are so, and that of the last requests.
    mood: f64,
    refused: f64,
}

impl Pace {
    /// A pace that was found before, and what was known beside it.
    pub(super) fn remember(&mut self, rate: f64, vain: Option<Vain>, now: Duration) {
        let rate = rate.clamp(PACE_LEAST, RATE_MOST);
        let Vain { times, mood, refused } = vain.unwrap_or(Vain { times: 0, mood: MOOD_MOST, refused: self.refused });
        let (times, mood) = (times.min(VAIN_MOST), mood.clamp(0.0, MOOD_MOST));
        self.found = Some(Found { rate, height: rate, hold: HOLD_FIRST, until: now + HOLD_FIRST, vain: times, mood });
        self.refused = refused.clamp(0.0, 1.0);
        self.next = Some(now);
    }

    /// What to remember beside the rate.
    pub(super) fn vain(&self) -> Option<Vain> {
        let found = self.found.as_ref().filter(|found| found.vain > 0)?;
        Some(Vain { times: found.vain, mood: found.mood, refused: self.refused })
    }

    /// Requests a second, where a limit was found.
    pub(super) fn rate(&self) -> Option<f64> {
        self.found.as_ref().map(|found| found.rate)
    }

    /// When the next request may leave.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    pub(super) fn send(&mut self, now: Duration) {
        let since = self.since.get_or_insert(now);
        let idle = now.saturating_sub(self.sent.unwrap_or(now).max(self.next.unwrap_or_default()));
        if idle > IDLE && self.refusing.is_none() {
            *since += idle;
        }
        self.sent = Some(now);
        if let Some(gap) = self.refusing {
            self.next = Some(now + gap);
        } else if let Some(found) = &self.found {
            self.next = Some(self.next.unwrap_or(now).max(now) + Duration::from_secs_f64(1.0 / found.rate));
        }
    }

    /// The answer to request `number` was no refusal. Whether a pace was found.
    pub(super) fn came_through(&mut self, number: u64, now: Duration) -> bool {
        self.through += 1;
        self.refused -= self.refused / MOOD_OVER;
        // What was sent before the refusal says nothing of what comes after it.
        if self.refusing.is_some() && number > self.lowered_at {
            self.find(now);
            return true;
        }
        let Some(found) = &mut self.found else { return false };
        if now < found.until || self.refusing.is_some() {
            return false;
        }
        if found.vain < VAIN_MOST {
            found.vain = 0;
        }
        let factor = if found.rate > found.height * (1.0 + NEAR) { STEP_FAR } else { STEP_NEAR };
        found.rate *= factor;
        found.until = now + STEP;
        if found.rate > (found.height * FORGET).min(RATE_MOST) {
            (self.found, self.next) = (None, None);
        }
        false
    }

    /// Refusals are over: what came through since the stretch began is the pace.
    fn find(&mut self, now: Duration) {
        self.refusing = None;
        // Refused from the start: that was a door that was shut, not a limit that was reached.
        if self.found.is_none() && self.through <= THROUGH_LEAST {
            (self.since, self.through, self.next) = (Some(now), 1, None);
            return;
        }
        let stretch = now.saturating_sub(self.since.unwrap_or(now)).as_secs_f64().max(0.001);
        let reached = std::mem::take(&mut self.through) as f64 / stretch;
        self.since = Some(now);
        let few = self.found.as_ref().is_some_and(|found| self.refused <= found.mood);
        let found = match &self.found {
            Some(found) if few && found.vain >= VAIN_MOST => {
                Found { height: found.rate, hold: HOLD_FIRST, until: now + STEP, ..*found }
            }
            Some(found) => {
                let rate = (reached * BELOW).clamp(found.rate * CUT_MOST, found.rate * BELOW).max(PACE_LEAST);
                // The same height again: it is a limit, not a mood.
                let is_same = (rate / found.height - 1.0).abs() < NEAR;
                let hold = if is_same { (found.hold * 2).min(HOLD_MOST) } else { HOLD_FIRST };
                let is_vain = few && found.rate <= found.height;
                let vain = if is_vain { found.vain + 1 } else { 0 };
                let mood = if vain < VAIN_MOST { MOOD_MOST } else { (self.refused * MOOD_TIMES + MOOD_MORE).min(MOOD_MOST) };
                Found { rate, height: rate, hold, until: now + hold, vain, mood }
            }
            None => {
                let rate = (reached * BELOW).max(PACE_LEAST);
                Found { rate, height: rate, hold: HOLD_FIRST, until: now + HOLD_FIRST, vain: 0, mood: MOOD_MOST }
            }
        };
        self.next = Some(now + Duration::from_secs_f64(1.0 / found.rate));
        self.found = Some(found);
    }

    /// Request `number` was refused for a reason that no known limit explains, with `patience` asked for. `last` is the newest.
    pub(super) fn refused(&mut self, number: u64, last: u64, now: Duration, patience: Duration) {
        self.refused += (1.0 - self.refused) / MOOD_OVER;
        if number <= self.lowered_at {
            return;
        }
        self.lowered_at = last;
        let first = self.found.as_ref().map_or(TRY_FIRST, |found| Duration::from_secs_f64((1.0 / found.rate).min(1.0)));
        let gap = self.refusing.map_or(first, |gap| (gap * 2).min(TRY_MOST));
        self.refusing = Some(gap);
        self.next = Some(now + gap.max(patience));
    }
}
