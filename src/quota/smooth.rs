//! How fast a window may be spent: governor's token bucket, asked at a moment that is handed in.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

/// A timer wakes up this much too late at worst, where a machine is not overloaded.
const LATE: Duration = Duration::from_millis(3);

/// Spreads a window's amount over its length, less a share that may leave at once.
pub(super) struct Smooth {
    limit: u64,
    per: Duration,
    share: f64,
    least: u64,
    burst: NonZeroU32,
    moment: Moment,
    slot: Slot,
    limiter: RateLimiter<NotKeyed, Slot, Moment, NoOpMiddleware<Duration>>,
}

impl Smooth {
    /// `limit` in `per`, of which `share`, in `(0, 1]`, may leave at once.
    pub(super) fn new(limit: u64, per: Duration, share: f64) -> Self {
        Smooth::with_burst(limit, per, share, 1)
    }

    /// The same, where `least` may leave at once in any case.
    pub(super) fn with_burst(limit: u64, per: Duration, share: f64, least: u64) -> Self {
        let limit = limit.max(1);
        let interval = Duration::from_nanos((per.as_nanos() / u128::from(limit)).clamp(1, u128::from(u64::MAX)) as u64);
        // Who wakes up late must be able to make up for it, or a part of each interval is lost.
        let late = if per > LATE * 100 { least } else { (LATE.as_nanos() / interval.as_nanos().max(1)) as u64 + 2 };
        let burst = ((limit as f64 * share) as u64).max(late).clamp(1, limit).min(u64::from(u32::MAX)) as u32;
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(interval).expect("the interval is at least a nanosecond").allow_burst(burst);
        let (moment, slot) = (Moment::default(), Slot::default());
        let limiter = RateLimiter::new(quota, slot.clone(), moment.clone());
        Smooth { limit, per, share, least, burst, moment, slot, limiter }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// How long until `amount` may leave; nothing is spent. More than the burst counts as the burst.
    pub(super) fn wait(&self, now: Duration, amount: u64) -> Duration {
        let before = self.slot.get();
        let wait = self.spend(now, amount);
        self.slot.set(before);
        wait
    }

    /// Spends what [`wait`](Self::wait) found to be there.
    pub(super) fn take(&self, now: Duration, amount: u64) {
        let _: Duration = self.spend(now, amount);
    }

    fn spend(&self, now: Duration, amount: u64) -> Duration {
        self.moment.set(now);
        let amount = amount.clamp(1, u64::from(self.burst.get())) as u32;
        match self.limiter.check_n(NonZeroU32::new(amount).unwrap_or(NonZeroU32::MIN)) {
            Ok(Ok(())) => Duration::ZERO,
            // A wait of nothing would make the caller spin.
            Ok(Err(until)) => until.wait_time_from(self.moment.now()).max(Duration::from_nanos(1)),
            // Cannot be: the amount is at most the burst.
            Err(_) => self.per,
        }
    }
}

impl Clone for Smooth {
    fn clone(&self) -> Self {
        let copy = Smooth::with_burst(self.limit, self.per, self.share, self.least);
        copy.slot.set(self.slot.get());
        copy
    }
}

/// The moment of the question, as governor wants it. Steps of the wall clock grant nothing: it is the monotonic one.
#[derive(Clone, Default)]
struct Moment(Arc<AtomicU64>);

impl Moment {
    fn set(&self, now: Duration) {
        self.0.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl GovernorClock for Moment {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A bucket's state that can be put back.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Nanos>>>);

impl Slot {
    fn get(&self) -> Option<Nanos> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: Option<Nanos>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl StateStore for Slot {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, next) = decide(*state)?;
        *state = Some(next);
        Ok(answer)
    }
}
