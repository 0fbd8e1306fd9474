//! Jobs that share a credential and come due at the same moment start one after the other, so that they do not all knock at once.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::ids::JobName;
use crate::schedule::ScheduledJob;

/// Between two starts, where there are few of them.
const STEP_MAX: SignedDuration = SignedDuration::from_secs(1);

/// How much later each of these jobs starts, all of which have come due at this moment. The same jobs give the same delays. A job
/// is never delayed past half of the time to its next due time, or past its own jitter; the first of each credential not at all.
pub(super) fn delays<'a>(jobs: impl Iterator<Item = &'a ScheduledJob>, now: Timestamp) -> Vec<(JobName, SignedDuration)> {
    let mut sharing: BTreeMap<&str, Vec<([u8; 32], &ScheduledJob)>> = BTreeMap::new();
    for job in jobs.filter(|job| job.jitter > SignedDuration::ZERO) {
        // Not by name: whoever comes first in the alphabet would always come first at the source too.
        let place = Sha256::digest(job.job.as_str());
        sharing.entry(&job.shares).or_default().push((place.into(), job));
    }
    let mut delays = Vec::new();
    for mut jobs in sharing.into_values() {
        jobs.sort_by(|one, other| (one.0, &one.1.job).cmp(&(other.0, &other.1.job)));
        let count = i32::try_from(jobs.len()).unwrap_or(i32::MAX);
        for ((_, job), rank) in jobs.iter().zip(0..).skip(1) {
            let step = STEP_MAX.min(job.jitter / count);
            let next = job.schedule.as_ref().and_then(|schedule| schedule.next_after(now));
            let half = next.map_or(job.jitter, |next| next.duration_since(now) / 2);
            delays.push((job.job.clone(), step.saturating_mul(rank).min(half)));
        }
    }
    delays
}
