//! The budget of one credential at one host.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::config::catalog::Limits;
use crate::stop::Stop;

use super::told::Told;
use super::window::{Window, take_all};

/// Whoever must wait longer than this is sent away instead: a thread of work should not be held for hours.
pub const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Those that waited for the same pause start again spread over this length, not all in one instant.
const PAUSE_SPREAD: Duration = Duration::from_secs(1);

/// Told before each wait: why, and for how long.
type Waiting<'a> = &'a (dyn Fn(&str, Duration) + Sync);

/// Why no request was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("stop was asked for")]
    Stopped,
    /// An answer asked for so much patience that waiting here makes no sense.
    #[error("the source wants no request for {} s", length.as_secs())]
    Paused { length: Duration },
}

/// What one credential may ask of one host.
pub struct Budget {
    clock: Arc<dyn Clock>,
    gate: Mutex<Gate>,
    // First come, first served: whoever waits for a window keeps its turn while it waits.
    turn: tokio::sync::Mutex<()>,
}

struct Gate {
    windows: Vec<Window>,
    // Usually one; two sources that limit the same credential differently have one each. Ascending by size.
    places: Vec<(usize, Arc<Semaphore>)>,
    paused_until: Duration,
}

/// The right to have one exchange under way; dropping it gives the place back.
#[derive(Debug)]
pub struct Permit {
    _places: Vec<OwnedSemaphorePermit>,
}

impl Budget {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let gate = Gate { windows: Vec::new(), places: Vec::new(), paused_until: Duration::ZERO };
        Budget { clock, gate: Mutex::new(gate), turn: tokio::sync::Mutex::new(()) }
    }

    pub(super) fn add_limits(&self, limits: &Limits) {
        let mut gate = self.gate();
        for rate in &limits.requests {
            if !gate.windows.iter().any(|window| window.rate() == *rate) {
                gate.windows.push(Window::new(*rate, Arc::clone(&self.clock)));
            }
        }
        let Some(size) = limits.concurrency.map(|size| size.clamp(1, Semaphore::MAX_PERMITS)) else { return };
        if let Err(at) = gate.places.binary_search_by_key(&size, |(size, _)| *size) {
            gate.places.insert(at, (size, Arc::new(Semaphore::new(size))));
        }
    }

    /// Waits until one exchange may begin, and counts its first request. The request must be sent at once; the permit is held
    /// until the body is read. Safe to drop.
    pub async fn take(&self, stop: &Stop, waiting: Waiting<'_>) -> Result<Permit, Refused> {
        let places: Vec<Arc<Semaphore>> = self.gate().places.iter().map(|(_, place)| Arc::clone(place)).collect();
        let mut taken = Vec::with_capacity(places.len());
        for place in places {
            let permit = or_stop(stop, place.acquire_owned()).await?;
            // The semaphores are never closed.
            taken.push(permit.map_err(|_| Refused::Stopped)?);
        }
        self.spend(stop, waiting).await?;
        Ok(Permit { _places: taken })
    }

    /// Waits until one more request of an exchange under way may be sent, a redirect for instance, and counts it.
    pub async fn spend(&self, stop: &Stop, waiting: Waiting<'_>) -> Result<(), Refused> {
        loop {
            self.wait_for_pause(stop, waiting).await?;
            let _turn = or_stop(stop, self.turn.lock()).await?;
            // Ends: every wait is followed by a grant, unless the source asks for patience meanwhile.
            while self.pause_left().is_zero() {
                match self.grant() {
                    Ok(()) => return Ok(()),
                    Err(wait) => {
                        waiting("the request limit of the source", wait);
                        or_stop(stop, self.clock.sleep(wait)).await?;
                    }
                }
            }
        }
    }

    /// No request of this credential goes out before `length` has passed. A shorter pause never replaces a longer one.
    pub fn pause(&self, length: Duration) {
        let until = self.clock.elapsed().saturating_add(length);
        let mut gate = self.gate();
        gate.paused_until = gate.paused_until.max(until);
    }

    /// Takes in what an answer of this credential's host said of its limits.
    pub fn learn(&self, told: &Told) {
        if let Some(patience) = told.refusal.as_ref().and_then(|refusal| refusal.patience) {
            self.pause(patience);
        }
    }

    fn grant(&self) -> Result<(), Duration> {
        take_all(&self.gate().windows)
    }

    async fn wait_for_pause(&self, stop: &Stop, waiting: Waiting<'_>) -> Result<(), Refused> {
        loop {
            let left = self.pause_left();
            if left.is_zero() {
                return Ok(());
            }
            if left > PAUSE_MAX {
                return Err(Refused::Paused { length: left });
            }
            let length = left + PAUSE_SPREAD.mul_f64(self.clock.fraction());
            waiting("the source asked for patience", length);
            or_stop(stop, self.clock.sleep(length)).await?;
        }
    }

    fn pause_left(&self) -> Duration {
        self.gate().paused_until.saturating_sub(self.clock.elapsed())
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcome of `work`, unless it has to wait and stop is asked for. What can be had without waiting is had even after stop:
/// the slice under way is finished.
async fn or_stop<T>(stop: &Stop, work: impl Future<Output = T>) -> Result<T, Refused> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = stop.wait() => Err(Refused::Stopped),
    }
}
