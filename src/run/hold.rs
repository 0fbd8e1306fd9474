//! A lease that ends by itself, kept alive while its run works; and the end of the run where it is not.

use std::time::Duration;

use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::state::Lease;

use super::{Ports, RunError};

/// This part of a lease is not used: clocks of two machines do not run alike, and a step that was begun has to end.
const MARGIN_PART: u32 = 6;
/// A lease is renewed this often while it holds.
const RENEWALS: u32 = 3;
/// How soon a renewal that failed is tried again, as a part of the lease.
const AGAIN_PART: u32 = 20;

/// The moment before a lease was asked for: it holds from then on, or from a little later.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    elapsed: Duration,
    /// Whole seconds. A machine that was suspended has no other clock that went on.
    since_boot: Option<Duration>,
}

impl Asked {
    pub(super) fn now(clock: &dyn Clock) -> Asked {
        Asked { elapsed: clock.elapsed(), since_boot: clock.since_boot() }
    }

    /// How long ago that was, at least; by whichever clock says more.
    fn age(&self, clock: &dyn Clock) -> Duration {
        let by_boot = match (self.since_boot, clock.since_boot()) {
            // Both are whole seconds, rounded up: the difference may be one too much.
            (Some(then), Some(now)) => now.saturating_sub(then + Duration::from_secs(1)),
            _ => Duration::ZERO,
        };
        clock.elapsed().saturating_sub(self.elapsed).max(by_boot)
    }
}

/// Does `work` for as long as the lease holds, and keeps it alive meanwhile. `asked`: the moment before it was asked for.
///
/// Before each step of the work it is seen whether the lease still holds: a process that was stopped, or a machine that slept, for
/// longer than that decides nothing any more. What it had begun is settled by whoever holds the lease next, as after a crash.
pub(super) async fn while_held<T>(
    ports: &Ports,
    lease: &Lease,
    asked: Asked,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let Some(length) = ports.state.lease_length() else { return work.await };
    let held = std::sync::Mutex::new(asked);
    let mut keeping = std::pin::pin!(keep(ports, lease, length, &held));
    let mut work = std::pin::pin!(work);
    let believed = length - length / MARGIN_PART;
    std::future::poll_fn(|context| {
        let age = held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).age(&*ports.clock);
        if age >= believed {
            return std::task::Poll::Ready(Err(lost(lease, age)));
        }
        if let std::task::Poll::Ready(error) = keeping.as_mut().poll(context) {
            return std::task::Poll::Ready(Err(error));
        }
        work.as_mut().poll(context)
    })
    .await
}

/// Renews the lease time after time; ends where somebody else has it.
async fn keep(ports: &Ports, lease: &Lease, length: Duration, held: &std::sync::Mutex<Asked>) -> RunError {
    let mut pause = length / RENEWALS;
    // Bounded by the lease: whoever polls this gives up when it is over.
    loop {
        ports.clock.sleep(pause).await;
        let asked = Asked::now(&*ports.clock);
        pause = match ports.state.renew(lease).await {
            Ok(()) => {
                *held.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = asked;
                length / RENEWALS
            }
            Err(error) if error.kind == ErrorKind::Conflict => return error.into(),
            Err(error) => {
                tracing::warn!(%error, "the lease of {} could not be renewed, it is tried again: {error}", lease.dataset);
                length / AGAIN_PART
            }
        };
    }
}

fn lost(lease: &Lease, age: Duration) -> RunError {
    let message = format!(
        "the lease of {} could not be renewed for {} s: another daemon may work on it, so this run ends",
        lease.dataset,
        age.as_secs()
    );
    RunError::new(ErrorKind::Conflict, message)
}
