//! A clock that stands still until somebody waits.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use highwater::clock::Clock;
use highwater::ids::{BatchId, RunId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::dice::Dice;

/// Waiting moves it on at once; nothing else does. Ids and jitter come from its seed.
pub struct TestClock {
    inner: Mutex<Inner>,
}

struct Inner {
    now: Timestamp,
    elapsed: Duration,
    dice: Dice,
}

impl TestClock {
    pub fn new(now: &str, seed: u64) -> Self {
        let now = now.parse().expect("a test gives an RFC 3339 time");
        TestClock { inner: Mutex::new(Inner { now, elapsed: Duration::ZERO, dice: Dice::new(seed) }) }
    }

    fn id(&self) -> Uuid {
        let mut inner = self.inner.lock().unwrap();
        let millis = u64::try_from(inner.now.as_millisecond()).unwrap();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(millis << 16).to_be_bytes());
        let (high, low) = (inner.dice.next(), inner.dice.next());
        bytes[6..8].copy_from_slice(&high.to_be_bytes()[..2]);
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        // Version 7, variant 10 (RFC 9562).
        bytes[6] = bytes[6] & 0x0f | 0x70;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid::from_bytes(bytes)
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.inner.lock().unwrap().now
    }

    fn elapsed(&self) -> Duration {
        self.inner.lock().unwrap().elapsed
    }

    async fn sleep(&self, length: Duration) {
        {
            let mut inner = self.inner.lock().unwrap();
            inner.elapsed += length;
            inner.now += SignedDuration::try_from(length).unwrap();
        }
        // A loop that waits for something else must let that something run.
        tokio::task::yield_now().await;
    }

    fn fraction(&self) -> f64 {
        (self.inner.lock().unwrap().dice.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn batch_id(&self) -> BatchId {
        BatchId(self.id())
    }

    fn run_id(&self) -> RunId {
        RunId(self.id())
    }
}

/// The machine's own clock, moved ahead at will.
pub struct LiveClock {
    clock: highwater::clock::SystemClock,
    ahead: Mutex<Duration>,
    wait_max: Duration,
}

impl LiveClock {
    /// Waits are cut short, so that loops come round soon.
    pub fn new() -> Self {
        LiveClock { wait_max: Duration::from_millis(20), ..Self::patient() }
    }

    /// Waits are as long as they are said to be.
    pub fn patient() -> Self {
        let clock = highwater::clock::SystemClock::new();
        LiveClock { clock, ahead: Mutex::new(Duration::ZERO), wait_max: Duration::MAX }
    }

    pub fn jump(&self, length: Duration) {
        *self.ahead.lock().unwrap() += length;
    }

    fn ahead(&self) -> Duration {
        *self.ahead.lock().unwrap()
    }
}

#[async_trait]
impl Clock for LiveClock {
    fn now(&self) -> Timestamp {
        self.clock.now() + SignedDuration::try_from(self.ahead()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed() + self.ahead()
    }

    async fn sleep(&self, length: Duration) {
        self.clock.sleep(length.min(self.wait_max)).await;
    }

    fn fraction(&self) -> f64 {
        0.5
    }

    fn batch_id(&self) -> BatchId {
        self.clock.batch_id()
    }

    fn run_id(&self) -> RunId {
        self.clock.run_id()
    }
}
