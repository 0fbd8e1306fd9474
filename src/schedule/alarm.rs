//! Who wakes the driver: tokio-cron-scheduler, one moment at a time.
//!
//! It may ring late, twice or not at all. Whoever is woken looks at the clock and decides; whoever waits looks now and then by
//! itself. So the scheduler holds one one-shot job, made anew for each moment, and its channel never fills.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use uuid::Uuid;

/// Entries of the scheduler's channels. There is one job at a time, so a few would do.
const CHANNEL: usize = 1024;

/// Rings at a moment of the wall's clock.
#[async_trait]
pub trait Alarm: Send + Sync {
    /// Rings at `at`, or soon after; in place of the moment that was set before.
    async fn arm(&mut self, at: Timestamp, now: Timestamp) -> Result<(), AlarmError>;
    /// Returns when it rings. Safe to drop: a ring that nobody heard is heard by the next.
    async fn ring(&mut self);
    /// Takes the scheduler's tasks down.
    async fn close(&mut self);
}

#[derive(Debug, Error)]
#[error("{message}")]
pub struct AlarmError {
    pub message: String,
}

impl From<JobSchedulerError> for AlarmError {
    fn from(error: JobSchedulerError) -> Self {
        AlarmError { message: error.to_string() }
    }
}

/// tokio-cron-scheduler as an alarm.
pub struct CronAlarm {
    scheduler: JobScheduler,
    armed: Option<Uuid>,
    rings: mpsc::Sender<()>,
    rung: mpsc::Receiver<()>,
}

impl CronAlarm {
    /// # Errors
    /// Where the scheduler does not start.
    pub async fn start() -> Result<Self, AlarmError> {
        let scheduler = JobScheduler::new_with_channel_size(CHANNEL).await?;
        scheduler.start().await?;
        let (rings, rung) = mpsc::channel(1);
        Ok(CronAlarm { scheduler, armed: None, rings, rung })
    }
}

#[async_trait]
impl Alarm for CronAlarm {
    async fn arm(&mut self, at: Timestamp, now: Timestamp) -> Result<(), AlarmError> {
        if let Some(before) = self.armed.take() {
            // It may have rung and be gone already.
            self.scheduler.remove(&before).await?;
        }
        // The scheduler counts whole seconds from the whole second of its own now.
        let seconds = u64::try_from(at.as_second().saturating_sub(now.as_second())).unwrap_or_default();
        let rings = self.rings.clone();
        let job = Job::new_one_shot(Duration::from_secs(seconds), move |_, _| {
            match rings.try_send(()) {
                // Full means that the driver is about to be woken anyhow; closed, that it is gone.
                Ok(()) | Err(_) => {}
            }
        })?;
        self.armed = Some(self.scheduler.add(job).await?);
        Ok(())
    }

    async fn ring(&mut self) {
        if self.rung.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    async fn close(&mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(error = %error, "the scheduler did not shut down cleanly");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    // The one test of this room that waits for the clock on the wall: what it waits for is the scheduler itself.
    #[tokio::test]
    async fn the_scheduler_rings_at_the_moment_that_was_set_last() {
        let clock = SystemClock::new();
        let mut alarm = CronAlarm::start().await.unwrap();
        for _ in 0..3 {
            let now = clock.now();
            alarm.arm(now + jiff::SignedDuration::from_hours(1), now).await.unwrap();
            let at = now + jiff::SignedDuration::from_secs(1);
            alarm.arm(at, now).await.unwrap();
            let rung = futures::future::select(alarm.ring(), clock.sleep(Duration::from_secs(30))).await;
            assert!(matches!(rung, futures::future::Either::Left(_)), "it did not ring");
            assert!(clock.now().as_second() >= at.as_second());
        }
        alarm.close().await;
    }
}
