//! Figures for Prometheus, counted from events.
//!
//! The only label that users' files decide about is `job`; beyond [`JOBS_MAX`] jobs the rest share one. Counters begin at zero with
//! the process, ages and marks are what the state knows.

mod exposition;
mod figures;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::clock::Clock;
use crate::event::{Event, Listener};
use crate::freshness::Watched;
use crate::ids::JobName;

use super::Throttle;
use exposition::Page;
use figures::Figures;

/// Jobs with figures of their own. Each has some thirty series.
pub const JOBS_MAX: usize = 1_000;

/// The label of the jobs beyond; no job can be called so.
const OTHERS: &str = "(others)";

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the daemon knows at the moment and no event tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    pub running: u64,
    pub queued: u64,
    /// Jobs that cannot run before a file or a secret is changed.
    pub parked: u64,
    /// The files that are in use are the newest ones; a reload that was refused makes it false.
    pub config_current: bool,
    /// The least that is free on a disk that runs write to, bytes.
    pub disk_free: Option<u64>,
    /// What the APIs grant.
    pub quotas: Vec<QuotaGauge>,
}

/// One limit of one credential at one API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaGauge {
    pub host: String,
    /// The beginning of a fingerprint.
    pub credential: String,
    /// What tells it from the others of the credential.
    pub limit: String,
    pub most: u64,
    pub left: u64,
}

/// Limits that are shown; APIs could name ever new ones.
const QUOTAS_MAX: usize = 1_000;

/// Counts what it hears of.
pub struct Metrics {
    clock: Arc<dyn Clock>,
    started_at: Timestamp,
    inner: Mutex<Inner>,
    alerts_delivered: AtomicU64,
    alerts_failed: AtomicU64,
    throttle: Option<Arc<Throttle>>,
}

#[derive(Default)]
struct Inner {
    jobs: BTreeMap<JobName, Figures>,
    /// Of all jobs beyond the first [`JOBS_MAX`], by name for their ages alone.
    others: Figures,
    other_ages: BTreeMap<JobName, Watched>,
}

impl Metrics {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let started_at = clock.now();
        let (alerts_delivered, alerts_failed) = (AtomicU64::new(0), AtomicU64::new(0));
        Metrics { clock, started_at, inner: Mutex::default(), alerts_delivered, alerts_failed, throttle: None }
    }

    /// Shows also how many log lines were left out.
    pub fn with_log(mut self, throttle: Arc<Throttle>) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// The jobs there are, at start and after each reload, with what the state knows of them. Figures of jobs that stay go on; those
    /// of jobs that are gone go too.
    pub fn set_jobs(&self, watched: Vec<Watched>) {
        let mut inner = self.inner();
        let mut before = std::mem::take(&mut inner.jobs);
        inner.other_ages.clear();
        for watched in watched {
            if inner.jobs.len() < JOBS_MAX || before.contains_key(&watched.job) {
                let mut figures = before.remove(&watched.job).unwrap_or_default();
                let job = watched.job.clone();
                figures.watch(watched);
                inner.jobs.insert(job, figures);
            } else {
                inner.other_ages.insert(watched.job.clone(), watched);
            }
        }
    }

    /// Counts an alert that a channel took, or did not take.
    pub fn count_alert(&self, delivered: bool) {
        let counter = if delivered { &self.alerts_delivered } else { &self.alerts_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All figures in Prometheus' text format 0.0.4.
    pub fn render(&self, gauges: &Gauges) -> String {
        let now = self.clock.now();
        let mut page = Page::default();
        self.add_process(&mut page, gauges);
        let inner = self.inner();
        let mut others = inner.others.clone();
        others.watch_oldest(inner.other_ages.values(), now);
        let all = inner.jobs.iter().map(|(job, figures)| (job.as_str(), figures));
        let all: Vec<(&str, &Figures)> = all.chain((!inner.other_ages.is_empty()).then_some((OTHERS, &others))).collect();
        figures::add(&mut page, &all, now);
        page.finish()
    }

    fn add_process(&self, page: &mut Page, gauges: &Gauges) {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.family("highwater_build_info", "gauge", "The version that runs.").sample(&version, 1u64);
        let started = self.started_at.as_millisecond() as f64 / 1e3;
        page.family("process_start_time_seconds", "gauge", "When the process began, as a Unix time.").sample(&[], started);
        if let Some(bytes) = resident_bytes() {
            page.family("process_resident_memory_bytes", "gauge", "Memory of the process.").sample(&[], bytes);
        }
        page.family("highwater_jobs_running", "gauge", "Runs under way.").sample(&[], gauges.running);
        page.family("highwater_jobs_queued", "gauge", "Runs that are due and wait for a place.").sample(&[], gauges.queued);
        page.family("highwater_jobs_parked", "gauge", "Jobs that cannot run before a file or a secret is changed.")
            .sample(&[], gauges.parked);
        page.family("highwater_config_current", "gauge", "1 if the project's files as they were read last are in use.")
            .sample(&[], u64::from(gauges.config_current));
        if let Some(bytes) = gauges.disk_free {
            page.family("highwater_disk_free_bytes", "gauge", "The least room on a disk that runs write to.").sample(&[], bytes);
        }
        for (name, help, of) in [
            (
                "highwater_quota_limit",
                "What a limit of an API grants in a window.",
                (|gauge| gauge.most) as fn(&QuotaGauge) -> u64,
            ),
            ("highwater_quota_left", "What is left of it.", |gauge| gauge.left),
        ] {
            if gauges.quotas.is_empty() {
                break;
            }
            let family = page.family(name, "gauge", help);
            for gauge in gauges.quotas.iter().take(QUOTAS_MAX) {
                let labels = [("host", gauge.host.as_str()), ("credential", &gauge.credential), ("limit", &gauge.limit)];
                family.sample(&labels, of(gauge));
            }
        }
        let alerts = page.family("highwater_alerts_total", "counter", "Messages to alert channels.");
        alerts.sample(&[("outcome", "delivered")], self.alerts_delivered.load(Ordering::Relaxed));
        alerts.sample(&[("outcome", "failed")], self.alerts_failed.load(Ordering::Relaxed));
        if let Some(throttle) = &self.throttle {
            let help = "Log lines that repeated themselves and were left out.";
            page.family("highwater_log_lines_left_out_total", "counter", help).sample(&[], throttle.left_out());
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Figures are added one by one: a panic in between leaves none half written.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Metrics {
    fn hear(&self, event: &Event) {
        let now = self.clock.now();
        let job = event.job();
        let mut inner = self.inner();
        let inner = &mut *inner;
        // A job whose file was removed while it runs is in neither, and nobody asks for its figures.
        if let Some(figures) = inner.jobs.get_mut(job) {
            figures.count(event, now);
        } else if let Some(watched) = inner.other_ages.get_mut(job) {
            watched.freshness.hear(event, now);
            inner.others.count(event, now);
        }
    }
}

/// Resident memory, where the system tells it as Linux does.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests;
