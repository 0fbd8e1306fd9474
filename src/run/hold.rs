//! A lease that ends by itself, kept alive while its run works; and the end of the run where it is not.

use std::time::Duration;

use crate::clock::{Asked, Clock};
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::state::{Lease, StateError};

use super::{Ports, RunError};

/// This part of a lease is not used: clocks of two machines do not run alike, and a step that was begun has to end.
const MARGIN_PART: u32 = 6;
/// A lease is renewed this often while it holds.
const RENEWALS: u32 = 3;
/// How soon a renewal that failed is tried again, as a part of the lease.
const AGAIN_PART: u32 = 20;

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
    match ports.state.lease_length() {
        Some(length) => hold(&*ports.clock, lease, length, asked, || ports.state.renew(lease), work).await,
        None => work.await,
    }
}

async fn hold<T, F>(
    clock: &dyn Clock,
    lease: &Lease,
    length: Duration,
    asked: Asked,
    renew: impl Fn() -> F,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError>
where
    F: Future<Output = Result<(), StateError>>,
{
    let held = std::sync::Mutex::new(asked);
    let mut keeping = std::pin::pin!(keep(clock, lease, length, renew, &held));
    let mut work = std::pin::pin!(work);
    let believed = length - length / MARGIN_PART;
    std::future::poll_fn(|context| {
        let age = held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).age(clock);
        if age >= believed && Guards::standing().lease_ends_run {
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
async fn keep<F>(
    clock: &dyn Clock,
    lease: &Lease,
    length: Duration,
    renew: impl Fn() -> F,
    held: &std::sync::Mutex<Asked>,
) -> RunError
where
    F: Future<Output = Result<(), StateError>>,
{
    let mut pause = length / RENEWALS;
    // Bounded by the lease: whoever polls this gives up when it is over.
    loop {
        clock.sleep(pause).await;
        let asked = Asked::now(clock);
        pause = match renew().await {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::SystemClock;
    use crate::ids::DatasetName;

    const LENGTH: Duration = Duration::from_millis(900);

    fn lease() -> Lease {
        Lease { dataset: DatasetName::new("orders"), owner: "me".to_owned(), epoch: 1 }
    }

    fn lost(kind: ErrorKind) -> StateError {
        StateError { kind, action: "renew".to_owned(), message: "no answer".to_owned() }
    }

    /// Works until the lease was asked for again so often.
    async fn work(renewals: &AtomicU32, least: u32) -> Result<u32, RunError> {
        let clock = SystemClock::new();
        while renewals.load(Ordering::SeqCst) < least {
            clock.sleep(Duration::from_millis(5)).await;
        }
        Ok(least)
    }

    #[tokio::test]
    async fn a_renewal_whose_answer_is_lost_is_asked_for_again_and_the_run_goes_on() {
        // D-35
        let (clock, renewals) = (SystemClock::new(), AtomicU32::new(0));
        let renew = || async {
            let before = renewals.fetch_add(1, Ordering::SeqCst);
            if before % 2 == 0 { Err(lost(ErrorKind::Unavailable)) } else { Ok(()) }
        };
        let done = hold(&clock, &lease(), LENGTH, Asked::now(&clock), renew, work(&renewals, 8)).await;
        assert_eq!(done.map_err(|error| error.to_string()), Ok(8));
    }

    #[tokio::test]
    async fn a_lease_that_is_not_renewed_ends_the_run_before_it_ends_itself() {
        // D-35, D-34
        let (clock, renewals) = (SystemClock::new(), AtomicU32::new(0));
        let asked = Asked::now(&clock);
        let renew = || async { Err(lost(ErrorKind::Unavailable)) };
        let ended = hold(&clock, &lease(), LENGTH, asked, renew, work(&renewals, 1)).await;
        assert_eq!(ended.map_err(|error| error.kind), Err(ErrorKind::Conflict));
        let taken = || async { Err(lost(ErrorKind::Conflict)) };
        let ended = hold(&clock, &lease(), LENGTH, Asked::now(&clock), taken, work(&renewals, 1)).await;
        assert_eq!(ended.map_err(|error| error.kind), Err(ErrorKind::Conflict));
    }

    /// A machine that was put to sleep: the clock of its boot went on meanwhile, that of the process did not.
    struct Slept {
        clock: SystemClock,
        asleep: AtomicU32,
    }

    #[async_trait::async_trait]
    impl Clock for Slept {
        fn now(&self) -> jiff::Timestamp {
            self.clock.now()
        }
        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
        async fn sleep(&self, _length: Duration) {
            std::future::pending().await
        }
        fn since_boot(&self) -> Option<Duration> {
            Some(Duration::from_secs(1_000 + u64::from(self.asleep.load(Ordering::SeqCst))))
        }
        fn fraction(&self) -> f64 {
            self.clock.fraction()
        }
        fn batch_id(&self) -> crate::ids::BatchId {
            self.clock.batch_id()
        }
        fn run_id(&self) -> crate::ids::RunId {
            self.clock.run_id()
        }
    }

    #[tokio::test]
    async fn a_machine_that_slept_for_longer_than_the_lease_decides_nothing_any_more() {
        // D-36
        for (asleep, decides) in [(600, false), (1, true)] {
            let clock = Slept { clock: SystemClock::new(), asleep: AtomicU32::new(0) };
            let decided = AtomicU32::new(0);
            let work = async {
                clock.asleep.store(asleep, Ordering::SeqCst);
                tokio::task::yield_now().await;
                decided.store(1, Ordering::SeqCst);
                Ok(())
            };
            let length = Duration::from_secs(30);
            let ended = hold(&clock, &lease(), length, Asked::now(&clock), || async { Ok(()) }, work).await;
            assert_eq!(ended.is_ok(), decides, "{asleep} s asleep");
            assert_eq!(decided.load(Ordering::SeqCst), u32::from(decides));
        }
    }
}
