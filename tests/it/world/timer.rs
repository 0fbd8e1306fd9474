//! A clock and a bell for tests of the scheduler: time passes, and is put back or forward, only when the test says so.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use highwater::clock::Clock;
use highwater::ids::{BatchId, RunId};
use highwater::schedule::alarm::{Alarm, AlarmError};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

#[derive(Clone, Copy)]
struct Moment {
    wall: Timestamp,
    elapsed: Duration,
}

/// Whoever sleeps wakes when enough time has passed; steps of the clock on the wall wake nobody.
pub struct Timer {
    now: watch::Sender<Moment>,
    /// Those that sleep, by when they wake: only they are woken.
    sleepers: Mutex<BTreeMap<(Duration, u64), oneshot::Sender<()>>>,
    ids: AtomicU64,
}

/// A place among the sleepers, given up by whoever does not sleep any more.
struct Bed<'a> {
    timer: &'a Timer,
    key: (Duration, u64),
}

impl Drop for Bed<'_> {
    fn drop(&mut self) {
        self.timer.sleepers.lock().unwrap().remove(&self.key);
    }
}

impl Timer {
    pub fn new(wall: Timestamp) -> Self {
        let now = watch::Sender::new(Moment { wall, elapsed: Duration::ZERO });
        Timer { now, sleepers: Mutex::default(), ids: AtomicU64::new(1) }
    }

    /// Time passes.
    pub fn pass(&self, length: Duration) {
        self.now.send_modify(|now| {
            now.elapsed += length;
            now.wall += SignedDuration::try_from(length).unwrap();
        });
        let rest = self.sleepers.lock().unwrap().split_off(&(self.elapsed() + Duration::from_nanos(1), 0));
        let awake = std::mem::replace(&mut *self.sleepers.lock().unwrap(), rest);
        for sleeper in awake.into_values() {
            sleeper.send(()).unwrap();
        }
    }

    /// The clock on the wall is put forward or back.
    pub fn step(&self, by: SignedDuration) {
        self.now.send_modify(|now| now.wall += by);
    }

    fn id(&self) -> Uuid {
        Uuid::from_u128(self.ids.fetch_add(1, Ordering::SeqCst).into())
    }

    async fn until(&self, reached: impl Fn(&Moment) -> bool) {
        // The sender lives as long as this borrow of it.
        self.now.subscribe().wait_for(reached).await.unwrap();
    }
}

#[async_trait]
impl Clock for Timer {
    fn now(&self) -> Timestamp {
        self.now.borrow().wall
    }

    fn elapsed(&self) -> Duration {
        self.now.borrow().elapsed
    }

    async fn sleep(&self, length: Duration) {
        let key = (self.elapsed() + length, self.ids.fetch_add(1, Ordering::SeqCst));
        let (sender, woken) = oneshot::channel();
        self.sleepers.lock().unwrap().insert(key, sender);
        let _bed = Bed { timer: self, key };
        woken.await.unwrap();
    }

    fn fraction(&self) -> f64 {
        0.5
    }

    fn batch_id(&self) -> BatchId {
        BatchId(self.id())
    }

    fn run_id(&self) -> RunId {
        RunId(self.id())
    }
}

/// How a bell behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ringing {
    Once,
    /// Each time twice.
    Twice,
    /// Not at all.
    Never,
    /// Once, and it cannot be taken down.
    Stuck,
}

/// The moment for which a bell was set last.
pub type Armed = Arc<Mutex<Option<Timestamp>>>;

/// In the place of tokio-cron-scheduler.
pub struct Bell {
    timer: Arc<Timer>,
    ringing: Ringing,
    armed: Armed,
    again: bool,
}

impl Bell {
    pub fn new(timer: &Arc<Timer>, ringing: Ringing) -> (Bell, Armed) {
        let armed = Armed::default();
        (Bell { timer: Arc::clone(timer), ringing, armed: Arc::clone(&armed), again: false }, armed)
    }
}

#[async_trait]
impl Alarm for Bell {
    async fn arm(&mut self, at: Timestamp, _now: Timestamp) -> Result<(), AlarmError> {
        *self.armed.lock().unwrap() = Some(at);
        Ok(())
    }

    async fn ring(&mut self) {
        if std::mem::take(&mut self.again) {
            return;
        }
        let at = *self.armed.lock().unwrap();
        match at {
            Some(at) if self.ringing != Ringing::Never => self.timer.until(|now| now.wall >= at).await,
            _ => std::future::pending().await,
        }
        *self.armed.lock().unwrap() = None;
        self.again = self.ringing == Ringing::Twice;
    }

    async fn close(&mut self) {
        if self.ringing == Ringing::Stuck {
            std::future::pending::<()>().await;
        }
    }
}
