//! One window, counted exactly.
//!
//! The server counts a request when it arrives, which is some time between its sending and its answer. So a request is counted
//! here from its sending, through its flight, until a whole window after the latest moment at which it can have arrived. Then no
//! interval of the window's length holds more than the limit, however the server cuts its windows: of the requests that arrive
//! within one such interval, all but the last to be sent are still counted when that one is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::smooth::Smooth;

/// Requests do not travel equally long; this part of the window's length, at most [`MARGIN_MAX`], is left between two windows.
const MARGIN_PART: u32 = 100;
const MARGIN_MAX: Duration = Duration::from_millis(250);
/// What leaves a window within this part of its length leaves together, at its end: a day's quota need not be kept by the second.
const GRAINS: u32 = 1024;

/// What is counted against one window.
#[derive(Clone)]
pub(super) struct Meter {
    limit: u64,
    /// What of the limit is this process's own; all of it, unless others share it.
    share: u64,
    per: Duration,
    /// What may leave at once of a window that is spent evenly.
    burst: Option<f64>,
    /// By grain, the amount that leaves the window at its end.
    leaving: BTreeMap<u64, u64>,
    /// The sum of `leaving`.
    landed: u64,
    /// Sent and not answered.
    flying: u64,
    smooth: Option<Smooth>,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Until(Duration),
    /// Only an answer to what is under way makes room.
    Flying,
    /// Others would have to leave more of the limit to us.
    Share,
}

impl Meter {
    /// `limit` in any interval of length `per`, spent evenly but for `burst` of it at once, or as it comes.
    pub(super) fn new(limit: u64, per: Duration, burst: Option<f64>) -> Self {
        let (limit, per) = (limit.max(1), per.max(Duration::from_millis(1)));
        let smooth = burst.map(|share| Smooth::new(limit, per, share));
        Meter { limit, share: limit, per, burst, leaving: BTreeMap::new(), landed: 0, flying: 0, smooth }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn per(&self) -> Duration {
        self.per
    }

    pub(super) fn share(&self) -> u64 {
        self.share
    }

    /// From now on so much of the limit is ours: nothing more is sent while more than that counts.
    pub(super) fn set_share(&mut self, share: u64) {
        if share != self.share {
            self.share = share.min(self.limit);
            self.set_pace(self.share);
        }
    }

    /// Where the window is spent evenly, it is spent as if this were its limit.
    pub(super) fn set_pace(&mut self, limit: u64) {
        if self.smooth.as_ref().is_some_and(|smooth| smooth.limit() == limit.max(1)) {
            return;
        }
        // Of a small part each request that leaves a little late would cost a part of the next one's time.
        self.smooth = self.burst.map(|part| Smooth::with_burst(limit, self.per, part, 2));
    }

    /// Whether `amount` may leave now, where only `limit - kept` is to be used. Where it is more than that in all, it may leave
    /// once nothing else counts.
    pub(super) fn room(&mut self, now: Duration, amount: u64, kept: u64) -> Result<(), Full> {
        if amount.min(self.limit) > self.share {
            return Err(Full::Share);
        }
        let kept = if self.share < self.limit { kept * self.share / self.limit } else { kept };
        let most = self.share.saturating_sub(kept).max(1);
        let amount = amount.min(most);
        let mut over = (self.used(now) + amount).saturating_sub(most);
        if over > 0 {
            for (grain, leaves) in &self.leaving {
                over = over.saturating_sub(*leaves);
                if over == 0 {
                    return Err(Full::Until(self.end_of(*grain)));
                }
            }
            return Err(Full::Flying);
        }
        match self.smooth.as_ref().map_or(Duration::ZERO, |smooth| smooth.wait(now, amount)) {
            Duration::ZERO => Ok(()),
            wait => Err(Full::Until(now + wait)),
        }
    }

    /// Counts what is sent now.
    pub(super) fn send(&mut self, now: Duration, amount: u64) {
        self.flying += amount;
        if let Some(smooth) = &self.smooth {
            smooth.take(now, amount);
        }
    }

    /// What was sent has arrived at `latest` at the latest.
    pub(super) fn land(&mut self, latest: Duration, amount: u64) {
        self.flying = self.flying.saturating_sub(amount);
        self.count(latest, amount);
    }

    /// What was to be sent was not.
    pub(super) fn cancel(&mut self, amount: u64) {
        self.flying = self.flying.saturating_sub(amount);
    }

    /// Counts an amount that arrived at a moment.
    pub(super) fn count(&mut self, arrived: Duration, amount: u64) {
        self.count_until(arrived + self.per + self.margin(), amount);
    }

    /// Counts an amount up to a moment.
    pub(super) fn count_until(&mut self, end: Duration, amount: u64) {
        let grain = (end.as_nanos() / self.grain() + 1).min(u128::from(u64::MAX)) as u64;
        let entry = self.leaving.entry(grain).or_default();
        *entry = entry.saturating_add(amount);
        self.landed = self.landed.saturating_add(amount);
    }

    /// Counts what another count of the same requests, over a shorter window or another limit, had.
    pub(super) fn take_over(&mut self, before: &Meter) {
        let longer = self.per.saturating_sub(before.per);
        for (end, amount) in before.steps(usize::MAX) {
            self.count_until(end + longer, amount);
        }
        self.flying = before.flying;
    }

    /// Takes back what was counted too much, the latest first.
    pub(super) fn refund(&mut self, mut amount: u64) {
        while let Some(mut last) = self.leaving.last_entry() {
            let taken = amount.min(*last.get());
            *last.get_mut() -= taken;
            self.landed -= taken;
            amount -= taken;
            if *last.get() == 0 {
                last.remove();
            }
            if amount == 0 {
                return;
            }
        }
    }

    /// What counts now.
    pub(super) fn used(&mut self, now: Duration) -> u64 {
        let width = self.grain();
        while let Some(first) = self.leaving.first_entry().filter(|first| u128::from(*first.key()) * width <= now.as_nanos()) {
            self.landed -= first.remove();
        }
        self.landed + self.flying
    }

    /// What counts at a moment, for whoever only looks.
    pub(super) fn used_at(&self, now: Duration) -> u64 {
        let grain = now.as_nanos() / self.grain();
        self.leaving.range((grain as u64 + 1)..).map(|(_, amount)| amount).sum::<u64>() + self.flying
    }

    /// When all that counts now has left; `None` if nothing counts.
    pub(super) fn empty_at(&self) -> Option<Duration> {
        self.leaving.keys().next_back().map(|grain| self.end_of(*grain))
    }

    /// What leaves when, in order; at most `most` steps, each of them at its latest end.
    pub(super) fn steps(&self, most: usize) -> Vec<(Duration, u64)> {
        let width = self.leaving.len().div_ceil(most.max(1)).max(1);
        let all: Vec<_> = self.leaving.iter().collect();
        let step = |part: &[(&u64, &u64)]| {
            let end = part.last().map_or(Duration::ZERO, |(grain, _)| self.end_of(**grain));
            (end, part.iter().map(|(_, amount)| **amount).sum())
        };
        all.chunks(width).map(step).collect()
    }

    pub(super) fn flying(&self) -> u64 {
        self.flying
    }

    pub(super) fn margin(&self) -> Duration {
        (self.per / MARGIN_PART).min(MARGIN_MAX)
    }

    /// Nanoseconds.
    fn grain(&self) -> u128 {
        (self.per.as_nanos() / u128::from(GRAINS)).max(1)
    }

    fn end_of(&self, grain: u64) -> Duration {
        let nanos = u128::from(grain) * self.grain();
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
