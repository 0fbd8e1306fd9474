//! Time and chance enter here and nowhere else, so that a test can hold both.

mod asked;
mod replayed;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::ids::{BatchId, RunId};

pub use asked::Asked;
pub use replayed::ReplayedClock;

/// What the machine's clock and dice say.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Wall-clock time. May step in both directions.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment of this process; never steps back.
    fn elapsed(&self) -> Duration;
    /// Waits. Safe to drop.
    async fn sleep(&self, length: Duration);
    /// Time since the machine's boot, which no step of the wall clock moves and which a restart of the process does not end;
    /// `None` where the machine does not say.
    fn uptime(&self) -> Option<Uptime> {
        None
    }
    /// Time since the machine's boot to a whole second, rounded up, the time in which it slept included; `None` where nobody
    /// knows.
    fn since_boot(&self) -> Option<Duration> {
        None
    }
    /// A fraction in `[0, 1)`, for jitter.
    fn fraction(&self) -> f64;
    /// A new id for a unit of commit.
    fn batch_id(&self) -> BatchId;
    /// A new id for a run.
    fn run_id(&self) -> RunId;
}

/// How long a machine has been up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uptime {
    /// Which boot it was.
    pub boot: String,
    pub length: Duration,
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

    /// From Linux's `/proc`: `proc_uptime(5)`, `random(4)`.
    fn uptime(&self) -> Option<Uptime> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        Some(Uptime { boot, length: Duration::try_from_secs_f64(seconds).ok()? })
    }

    /// `sysinfo(2)` goes by `CLOCK_BOOTTIME`, and answers where `/proc` is hidden.
    fn since_boot(&self) -> Option<Duration> {
        u64::try_from(rustix::system::sysinfo().uptime).ok().map(Duration::from_secs)
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
