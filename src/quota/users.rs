//! Who used how much of late.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::JobName;

const SLOT: Duration = Duration::from_secs(60);
const SLOTS: u64 = 60;

/// Requests of each job in the last hour, by the minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    by_minute: BTreeMap<u64, BTreeMap<JobName, u64>>,
}

impl Users {
    pub(super) fn note(&mut self, job: &JobName, now: Duration) {
        let minute = now.as_secs() / SLOT.as_secs();
        self.by_minute.retain(|at, _| at + SLOTS > minute);
        *self.by_minute.entry(minute).or_default().entry(job.clone()).or_default() += 1;
    }

    /// The most first.
    pub(super) fn of_the_hour(&self, now: Duration) -> Vec<(JobName, u64)> {
        let minute = now.as_secs() / SLOT.as_secs();
        let mut sums: BTreeMap<&JobName, u64> = BTreeMap::new();
        for (_, jobs) in self.by_minute.iter().filter(|(at, _)| *at + SLOTS > minute) {
            for (job, requests) in jobs {
                *sums.entry(job).or_default() += requests;
            }
        }
        let mut sums: Vec<(JobName, u64)> = sums.into_iter().map(|(job, requests)| (job.clone(), requests)).collect();
        sums.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        sums
    }
}
