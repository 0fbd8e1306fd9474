//! What the parts of the daemon share.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::cli::commands::look_at_jobs;
use crate::clock::Clock;
use crate::disk;
use crate::ids::JobName;
use crate::quota::{AccountView, Budgets};
use crate::schedule::{Handle, JobView};
use crate::source::http::Tokens;
use crate::state::State;
use crate::telemetry::metrics::{Gauges, QuotaGauge};
use crate::web;

use super::files::Files;
use super::hand::Hands;
use super::protocol::{DaemonJobView, DaemonView};

pub(super) struct Service {
    pub clock: Arc<dyn Clock>,
    pub state: Arc<dyn State>,
    pub handle: Handle,
    pub files: Arc<Files>,
    pub hands: Arc<Hands>,
    pub budgets: Arc<Budgets>,
    pub tokens: Arc<Tokens>,
    pub since: Timestamp,
}

impl Service {
    /// The daemon at this moment; waits for nobody.
    pub fn view(&self) -> DaemonView {
        let view = self.handle.view();
        let reading = self.files.reading();
        let mut jobs: Vec<DaemonJobView> = view.jobs.into_iter().map(job_view).collect();
        jobs.extend(reading.parked.iter().map(|(job, reason)| broken(job, reason)));
        DaemonView {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since,
            stopping: view.stopping,
            problem: self.files.problem(),
            running: view.running,
            waiting: view.waiting,
            jobs,
            quotas: self.budgets.views(),
        }
    }

    /// Jobs that would run by themselves and are parked until somebody changes something.
    pub fn parked_without_end(&self) -> Vec<JobName> {
        let reading = self.files.reading();
        let by_itself = |name: &JobName| {
            let job = reading.catalog.jobs.get(name);
            job.is_some_and(|job| job.enabled && (job.schedule.is_some() || !job.after.is_empty()))
        };
        let parked = self.handle.view().jobs.into_iter().filter(|job| job.parked.as_ref().is_some_and(|why| why.until.is_none()));
        parked.map(|job| job.job).filter(by_itself).collect()
    }

    /// One line for whoever looks at the service.
    pub fn line(&self) -> String {
        let view = self.view();
        let parked = view.jobs.iter().filter(|job| job.parked.is_some()).count();
        let mut parts = vec![format!("{} running", view.running)];
        if view.waiting > 0 {
            parts.push(format!("{} waiting", view.waiting));
        }
        if parked > 0 {
            parts.push(format!("{parked} parked"));
        }
        let next = view.jobs.iter().filter(|job| job.parked.is_none()).filter_map(|job| Some((job.next_due?, &job.job))).min();
        if let Some((at, job)) = next {
            parts.push(format!("next {job} at {}", at.strftime("%Y-%m-%dT%H:%M:%SZ")));
        }
        if let Some(problem) = view.problem {
            parts.push(problem);
        }
        if view.stopping {
            parts.insert(0, "stopping".to_owned());
        }
        parts.join("; ").replace(['\n', '\r'], " ")
    }
}

#[async_trait]
impl web::Daemon for Service {
    fn gauges(&self) -> Gauges {
        let view = self.view();
        let reading = self.files.reading();
        let settings = &reading.catalog.settings;
        let jobs = reading.catalog.jobs.values().filter(|job| job.enabled);
        let folders: BTreeSet<_> = jobs.flat_map(|job| disk::folders(settings, job)).collect();
        Gauges {
            running: view.running as u64,
            queued: view.waiting as u64,
            parked: view.jobs.iter().filter(|job| job.parked.is_some() && job.parked_until.is_none()).count() as u64,
            config_current: view.problem.is_none(),
            quotas: view.quotas.iter().flat_map(quota_gauges).collect(),
            disk_free: folders.iter().filter_map(|folder| disk::free(folder).ok()).min(),
        }
    }

    async fn ping(&self) -> bool {
        self.handle.ping().await.is_ok()
    }

    async fn status(&self) -> Result<serde_json::Value, String> {
        let reading = self.files.reading();
        let view = Some(self.view());
        let told = look_at_jobs(&reading.catalog, &reading.parked, Some(&*self.state), view, Vec::new(), self.clock.now()).await;
        let told = told.map_err(|failure| failure.message)?;
        serde_json::to_value(told).map_err(|error| error.to_string())
    }
}

/// The figures of an account: one for each of its limits that tells what is left.
fn quota_gauges(account: &AccountView) -> Vec<QuotaGauge> {
    let gauge = |window: &crate::quota::WindowView| {
        Some(QuotaGauge {
            host: account.host.clone(),
            credential: account.credential.clone(),
            limit: window.label(),
            most: window.limit?,
            left: window.left?,
        })
    };
    account.windows.iter().filter_map(gauge).collect()
}

fn job_view(job: JobView) -> DaemonJobView {
    let (parked, parked_until) = match job.parked {
        Some(parked) => (Some(parked.reason), parked.until),
        None => (None, None),
    };
    DaemonJobView {
        job: job.job,
        next_due: job.next_due,
        running_since: job.running.map(|running| running.since),
        waiting: job.waiting.is_some(),
        parked,
        parked_until,
    }
}

/// A job whose file is broken is none for the schedule.
fn broken(job: &JobName, reason: &str) -> DaemonJobView {
    DaemonJobView {
        job: job.clone(),
        next_due: None,
        running_since: None,
        waiting: false,
        parked: Some(reason.to_owned()),
        parked_until: None,
    }
}
