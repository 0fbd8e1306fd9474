//! Who goes on: two writers in one thread, of whom one at a time begins an effect, as the dice say.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use highwater::clock::Clock;
use highwater::ids::{BatchId, RunId};
use jiff::Timestamp;

use crate::world::clock::TestClock;
use crate::world::dice::Dice;

/// Whoever waits for longer than that waits for somebody who does not go on either.
const WAITS_MAX: u64 = 5_000_000;

pub struct Turns {
    inner: Mutex<Inner>,
}

struct Inner {
    dice: Dice,
    turn: usize,
    /// Effects until the other one has its turn.
    left: u64,
    is_here: [bool; 2],
    /// Effects begun by both.
    effects: u64,
}

impl Turns {
    /// The first writer is here; the second comes later.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let left = stretch(&mut dice);
        Turns { inner: Mutex::new(Inner { dice, turn: 0, left, is_here: [true, false], effects: 0 }) }
    }

    /// Waits until so many effects have begun, or nobody is there to begin one.
    pub async fn until(&self, effects: u64) {
        let is_too_early = || {
            let inner = self.inner();
            inner.effects < effects && inner.is_here[0]
        };
        while is_too_early() {
            tokio::task::yield_now().await;
        }
        self.inner().is_here[1] = true;
    }

    pub fn leave(&self, who: usize) {
        self.inner().is_here[who] = false;
    }

    fn may_go_on(&self, who: usize) -> bool {
        let mut inner = self.inner();
        let is_alone = !inner.is_here[1 - who];
        if inner.turn != who && !is_alone {
            return false;
        }
        if inner.turn == who && inner.left == 0 && !is_alone {
            inner.turn = 1 - who;
            inner.left = stretch(&mut inner.dice);
            return false;
        }
        inner.left = inner.left.saturating_sub(1);
        inner.effects += 1;
        true
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

/// A step, some way, or all of a run.
fn stretch(dice: &mut Dice) -> u64 {
    let most = *dice.pick(&[3, 3, 30, 30, 300]);
    1 + dice.below(most)
}

/// A place at the table: waits are for one's turn.
pub struct Seat {
    turns: Arc<Turns>,
    who: usize,
    clock: TestClock,
}

impl Seat {
    pub fn new(turns: Arc<Turns>, who: usize) -> Self {
        Seat { turns, who, clock: TestClock::new("2026-03-01T00:00:00Z", 0) }
    }
}

#[async_trait]
impl Clock for Seat {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
    async fn sleep(&self, _length: Duration) {
        let mut waits = 0;
        while !self.turns.may_go_on(self.who) {
            waits += 1;
            assert!(waits < WAITS_MAX, "writer {} waits for a turn that never comes", self.who);
            tokio::task::yield_now().await;
        }
    }
    fn fraction(&self) -> f64 {
        self.clock.fraction()
    }
    fn batch_id(&self) -> BatchId {
        self.clock.batch_id()
    }
    fn run_id(&self) -> RunId {
        self.clock.run_id()
    }
}
