//! A clock for what happened before.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{Clock, SystemClock};
use crate::ids::{BatchId, RunId};

/// Begins at a moment of the past and moves only where somebody waits, who does not have to: nobody waits for answers that are there.
pub struct ReplayedClock {
    began: Timestamp,
    waited: Mutex<Duration>,
    dice: SystemClock,
}

impl ReplayedClock {
    pub fn at(began: Timestamp) -> Self {
        ReplayedClock { began, waited: Mutex::default(), dice: SystemClock::new() }
    }
}

#[async_trait]
impl Clock for ReplayedClock {
    fn now(&self) -> Timestamp {
        let waited = SignedDuration::try_from(self.elapsed()).unwrap_or(SignedDuration::MAX);
        self.began.checked_add(waited).unwrap_or(Timestamp::MAX)
    }

    fn elapsed(&self) -> Duration {
        *self.waited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sleep(&self, length: Duration) {
        {
            let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
            *waited = waited.saturating_add(length);
        }
        tokio::task::yield_now().await;
    }

    fn fraction(&self) -> f64 {
        self.dice.fraction()
    }

    fn batch_id(&self) -> BatchId {
        self.dice.batch_id()
    }

    fn run_id(&self) -> RunId {
        self.dice.run_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_pass_at_once_and_move_the_time() {
        let began: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
        let clock = ReplayedClock::at(began);
        assert_eq!((clock.now(), clock.elapsed()), (began, Duration::ZERO));
        futures::executor::block_on(clock.sleep(Duration::from_secs(3600)));
        assert_eq!(clock.now().to_string(), "2026-03-01T13:00:00Z");
    }
}
