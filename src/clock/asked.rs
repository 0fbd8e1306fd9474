//! The moment before something was asked for that ends by another machine's clock.

use std::time::Duration;

use super::Clock;

/// The moment before a lease was asked for: it holds from then on, or from a little later.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    elapsed: Duration,
    /// Whole seconds. A machine that was suspended has no other clock that went on.
    since_boot: Option<Duration>,
}

impl Asked {
    pub fn now(clock: &dyn Clock) -> Asked {
        Asked { elapsed: clock.elapsed(), since_boot: clock.since_boot() }
    }

    /// How long ago that was, at least; by whichever clock says more.
    pub fn age(&self, clock: &dyn Clock) -> Duration {
        let by_boot = match (self.since_boot, clock.since_boot()) {
            // Both are whole seconds, rounded up: the difference may be one too much.
            (Some(then), Some(now)) => now.saturating_sub(then + Duration::from_secs(1)),
            _ => Duration::ZERO,
        };
        clock.elapsed().saturating_sub(self.elapsed).max(by_boot)
    }
}
