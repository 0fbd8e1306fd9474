//! One window of a limit, `100/min`, as a token bucket of governor over our own clock.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::config::catalog::Rate;

/// Requests that may leave at once, as a part of the limit: `1 / BURST_PART`.
const BURST_PART: u32 = 100;
/// Requests do not travel equally long: two that leave a window apart can arrive nearer to each other. Pacing over a window
/// that is longer by `1 / PAD_PART`, at most `PAD_MAX`, keeps the limit where the server counts.
const PAD_PART: u32 = 50;
const PAD_MAX: Duration = Duration::from_secs(1);

/// The limiter of one window.
pub(super) struct Window {
    rate: Rate,
    slot: Slot,
    limiter: RateLimiter<NotKeyed, Slot, Ticker, NoOpMiddleware<Duration>>,
}

impl Window {
    pub(super) fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        let slot = Slot::default();
        let (interval, burst) = pace(rate);
        let quota = Quota::with_period(interval).expect("pace never returns an empty interval").allow_burst(burst);
        Window { rate, slot: slot.clone(), limiter: RateLimiter::new(quota, slot, Ticker(clock)) }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one request, or says how long it takes until one can be had.
    fn take(&self) -> Result<(), Duration> {
        let now = self.limiter.clock().now();
        // A wait of nothing would make the caller spin.
        self.limiter.check().map_err(|until| until.wait_time_from(now).max(Duration::from_nanos(1)))
    }
}

/// Takes one request from every window or from none; else the longest wait of those that refused. The caller keeps others out.
pub(super) fn take_all(windows: &[Window]) -> Result<(), Duration> {
    let before: Vec<Option<Nanos>> = windows.iter().map(|window| window.slot.get()).collect();
    let mut longest = Duration::ZERO;
    for window in windows {
        if let Err(wait) = window.take() {
            longest = longest.max(wait);
        }
    }
    if longest.is_zero() {
        return Ok(());
    }
    // What one window granted while another refused was not sent: it must not count, and it must not be sent later as if it
    // had been granted then.
    for (window, state) in windows.iter().zip(before) {
        window.slot.set(state);
    }
    Err(longest)
}

/// Interval between two requests and the burst for which no closed interval of the window's length holds more than its limit.
///
/// A bucket with interval `t` and burst `b` lets `n` requests pass within no less than `(n - b) * t`. With
/// `t > per / (limit - b + 1)`, `limit + 1` requests take longer than `per`.
pub(super) fn pace(rate: Rate) -> (Duration, NonZeroU32) {
    let limit = rate.requests.max(1);
    let burst = (limit / BURST_PART).max(1);
    let padded = rate.per + (rate.per / PAD_PART).min(PAD_MAX);
    let interval = padded / (limit - burst + 1) + Duration::from_nanos(1);
    (interval, NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN))
}

/// Our clock, as governor wants one. Wall-clock jumps grant nothing: only `elapsed` is asked.
struct Ticker(Arc<dyn Clock>);

impl GovernorClock for Ticker {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
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
