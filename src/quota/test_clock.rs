//! A clock that tests hold: sleeping moves it at once, or never ends.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::clock::Clock;
use crate::ids::{BatchId, RunId};

pub(crate) struct TestClock {
    start: Timestamp,
    elapsed: Mutex<Duration>,
    slept: Mutex<Vec<Duration>>,
    endless: AtomicBool,
    dice: AtomicU64,
    ids: AtomicU64,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        TestClock {
            start: "2026-01-01T00:00:00Z".parse().expect("a timestamp"),
            elapsed: Mutex::new(Duration::from_secs(10)),
            slept: Mutex::new(Vec::new()),
            endless: AtomicBool::new(false),
            dice: AtomicU64::new(0x9E37_79B9_7F4A_7C15),
            ids: AtomicU64::new(0),
        }
    }

    pub(crate) fn advance(&self, length: Duration) {
        *self.elapsed.lock().expect("a fixture") += length;
    }

    /// From now on nobody wakes up.
    pub(crate) fn hold(&self) {
        self.endless.store(true, Ordering::SeqCst);
    }

    pub(crate) fn slept(&self) -> Vec<Duration> {
        self.slept.lock().expect("a fixture").clone()
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.start + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().expect("a fixture")
    }

    async fn sleep(&self, length: Duration) {
        if self.endless.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.slept.lock().expect("a fixture").push(length);
        self.advance(length);
        tokio::task::yield_now().await;
    }

    fn fraction(&self) -> f64 {
        // A small generator with a fixed seed: every test run throws the same.
        let next = |state: u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        let state = self.dice.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).unwrap_or(0);
        (state >> 11) as f64 / (1u64 << 53) as f64
    }

    fn batch_id(&self) -> BatchId {
        BatchId(Uuid::from_u128(self.ids.fetch_add(1, Ordering::SeqCst).into()))
    }

    fn run_id(&self) -> RunId {
        RunId(Uuid::nil())
    }
}
