//! A job, as far as its due times go.

use jiff::SignedDuration;

use crate::cadence::Schedule;
use crate::config::catalog::{CatchUp, Job};
use crate::ids::JobName;

/// A job as far as its due times go.
#[derive(Clone, Debug)]
pub struct ScheduledJob {
    pub job: JobName,
    /// `None`: by hand, or after another job, only.
    pub schedule: Option<Schedule>,
    pub catch_up: CatchUp,
    /// Jobs whose success makes this one run.
    pub after: Vec<JobName>,
    /// At most this much later than due, where others that share its credential come due at the same moment.
    pub jitter: SignedDuration,
    /// Which jobs share a credential at a host: equal for those that do.
    pub shares: String,
}

impl ScheduledJob {
    pub fn of(job: &Job) -> Self {
        let host = job.source.base_url.host_str().unwrap_or_default();
        ScheduledJob {
            job: job.name.clone(),
            schedule: job.schedule.clone(),
            catch_up: job.catch_up,
            after: job.after.clone(),
            jitter: job.jitter,
            // References only: what a secret is does not show in this text.
            shares: format!("{host} {:?}", job.source.auth),
        }
    }
}
