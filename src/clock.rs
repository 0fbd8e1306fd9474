//! Time and chance enter here and nowhere else, so that a test can hold both.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::ids::{BatchId, RunId};

/// What the machine's clock and dice say.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Wall-clock time. May step in both directions.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment of this process; never steps back.
    fn elapsed(&self) -> Duration;
    /// Waits. Safe to drop.
    async fn sleep(&self, length: Duration);
    /// A fraction in `[0, 1)`, for jitter.
    fn fraction(&self) -> f64;
    /// A new id for a unit of commit.
    fn batch_id(&self) -> BatchId;
    /// A new id for a run.
    fn run_id(&self) -> RunId;
}

/// The machine's own clock and dice.
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of the monotonic clock")]
    pub fn new() -> Self {
        SystemClock { started: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of waiting")]
    async fn sleep(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of chance")]
    fn fraction(&self) -> f64 {
        rand::random::<f64>()
    }

    fn batch_id(&self) -> BatchId {
        BatchId(Uuid::now_v7())
    }

    fn run_id(&self) -> RunId {
        RunId(Uuid::now_v7())
    }
}
