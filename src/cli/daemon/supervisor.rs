//! What systemd is told (sd_notify(3)), and what it is told only while it is true. Without systemd nothing is said to nobody.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::Clock;
use crate::stop::Stop;

use super::service::Service;
use super::within;

/// How often the status line is looked at; it is sent when it changed.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// A drain asks for this much more time, and asks again in half of it.
const DRAIN_STEP: Duration = Duration::from_secs(60);
/// Steps of a drain; after these systemd's own limit holds.
const DRAIN_STEPS: u32 = 30;
/// Messages that wait to be heard; beyond these the newest are left out.
const MESSAGES: usize = 64;

pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

pub(super) fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// The files are being read anew; [`ready`] ends it. `systemctl reload` of a `notify-reload` unit waits for both, and for the time.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the monotonic clock does not tell the time"),
    }
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the daemon lives, as often as systemd wants to hear it, but only if the loop of the schedule and the state both answer.
/// If they do not, nothing is said, and systemd starts the daemon anew.
pub(super) async fn watch(service: Arc<Service>, stop: Stop) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let half = limit / 2;
    while !stop.requested() {
        let begun = service.clock.elapsed();
        let alive = within(&*service.clock, half, async {
            // The driver that is gone after a request to stop drains; the rest still has to answer.
            let _gone = service.handle.ping().await;
            service.state.ping().await
        });
        match alive.await {
            Some(Ok(())) => tell(&[NotifyState::Watchdog]),
            Some(Err(error)) => tracing::error!(%error, "the state does not answer: the watchdog is not told that all is well"),
            None => tracing::error!("the schedule or the state hangs: the watchdog is not told that all is well"),
        }
        // Half of the interval from one sign of life to the next, whatever the proof took.
        let left = half.saturating_sub(service.clock.elapsed().saturating_sub(begun));
        tokio::select! {
            () = service.clock.sleep(left.max(Duration::from_millis(10))) => {}
            () = stop.wait() => {}
        }
    }
}

/// Keeps the status line up to date.
pub(super) async fn keep_status(service: Arc<Service>, stop: Stop) {
    let mut last = String::new();
    while !stop.requested() {
        let line = service.line();
        if line != last {
            status(&line);
            last = line;
        }
        tokio::select! {
            () = service.clock.sleep(STATUS_EVERY) => {}
            () = stop.wait() => {}
        }
    }
}

/// Asks for more time while a drain goes on: a commit that is under way is worth waiting for. Never returns; dropped with the end.
pub(super) async fn extend(clock: &dyn Clock) {
    let micros = u32::try_from(DRAIN_STEP.as_micros()).unwrap_or(u32::MAX);
    for _ in 0..DRAIN_STEPS {
        tell(&[NotifyState::ExtendTimeoutUsec(micros)]);
        clock.sleep(DRAIN_STEP / 2).await;
    }
    std::future::pending::<()>().await;
}

fn tell(states: &[NotifyState<'_>]) {
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    static TELLER: OnceLock<Option<SyncSender<String>>> = OnceLock::new();
    let Some(teller) = TELLER.get_or_init(teller) else { return };
    if teller.try_send(lines.join("\n")).is_err() {
        tracing::debug!("the service manager does not listen");
    }
}

/// A thread of its own: whoever supervises us without listening leaves a socket that is full, and would hold up whoever speaks to it.
fn teller() -> Option<SyncSender<String>> {
    let (sender, messages) = sync_channel::<String>(MESSAGES);
    let work = move || {
        for message in messages {
            if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&message)]) {
                // It learns from the exit code.
                tracing::debug!(%error, "the service manager could not be told");
            }
        }
    };
    let spawned = std::thread::Builder::new().name("supervisor".to_owned()).spawn(work);
    spawned.inspect_err(|error| tracing::warn!(%error, "the service manager cannot be told anything")).ok().map(|_| sender)
}
