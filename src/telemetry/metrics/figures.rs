//! The figures of one job: how events change them, and under which names they are shown.

use std::time::Duration;

use jiff::Timestamp;

use crate::batch::Counts;
use crate::event::{Event, RunEnd};
use crate::freshness::Watched;

use super::exposition::Page;

#[derive(Clone, Default)]
pub(super) struct Figures {
    rows: Counts,
    requests: u64,
    pages: u64,
    bytes_received: u64,
    bytes_written: u64,
    files: u64,
    commits: u64,
    waits: u64,
    waited: Duration,
    retries: u64,
    slices_failed: u64,
    schema_changes: u64,
    recoveries: u64,
    losses: u64,
    done: u64,
    failed: u64,
    parked: u64,
    stopped: u64,
    took: Duration,
    watched: Option<Watched>,
}

/// One figure: its name, how it is counted, what it means, where it stands.
type Counter = (&'static str, &'static str, fn(&Figures) -> u64);

const COUNTERS: [Counter; 11] = [
    ("highwater_requests_total", "Requests sent, retries and redirects among them.", |of| of.requests),
    ("highwater_pages_total", "Pages received and read.", |of| of.pages),
    ("highwater_received_bytes_total", "Bytes of pages, decompressed.", |of| of.bytes_received),
    ("highwater_written_bytes_total", "Bytes of files committed.", |of| of.bytes_written),
    ("highwater_files_total", "Files committed.", |of| of.files),
    ("highwater_commits_total", "Commits to the table.", |of| of.commits),
    ("highwater_retries_total", "Attempts that failed and were made again.", |of| of.retries),
    ("highwater_slices_failed_total", "Slices given up, to be read by a later run.", |of| of.slices_failed),
    ("highwater_schema_changes_total", "Changes of the table's columns.", |of| of.schema_changes),
    ("highwater_recoveries_total", "Things that a crash left and a later run settled.", |of| of.recoveries),
    ("highwater_losses_total", "Times that what had been committed was gone from the lake; it is read again.", |of| of.losses),
];

type Fate = (&'static str, fn(&Counts) -> u64);

/// What becomes of a record; together they are what was fetched.
const FATES: [Fate; 7] = [
    ("kept", |rows| rows.kept),
    ("filtered", |rows| rows.filtered),
    ("rejected", |rows| rows.rejected),
    ("out_of_window", |rows| rows.out_of_window),
    ("duplicate", |rows| rows.duplicate),
    ("unchanged", |rows| rows.unchanged),
    ("deleted", |rows| rows.deleted),
];

impl Figures {
    pub fn watch(&mut self, mut watched: Watched) {
        if let Some(before) = &self.watched {
            watched.go_on(before);
        }
        self.watched = Some(watched);
    }

    /// Shows the age of the oldest of several tables.
    pub fn watch_oldest<'a>(&mut self, all: impl Iterator<Item = &'a Watched>, now: Timestamp) {
        self.watched = all.max_by_key(|watched| watched.freshness.age(now)).cloned();
        if let Some(watched) = &mut self.watched {
            // The limits of several jobs are no limit of them together.
            watched.limit = None;
        }
    }

    pub fn count(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::RequestSent { .. } => self.requests += 1,
            Event::PageFetched { bytes, .. } => {
                self.pages += 1;
                self.bytes_received += bytes;
            }
            Event::Waiting { length, .. } => {
                self.waits += 1;
                self.waited = self.waited.saturating_add(*length);
            }
            Event::Retrying { .. } => self.retries += 1,
            Event::SliceCommitted { counts, files, bytes, .. } => {
                self.rows.add(counts);
                self.commits += 1;
                self.files += files;
                self.bytes_written += bytes;
            }
            Event::SliceEmpty { counts, .. } => self.rows.add(counts),
            Event::SliceFailed { .. } => self.slices_failed += 1,
            Event::SchemaChanged { .. } => self.schema_changes += 1,
            Event::Recovered { recovery, .. } => {
                self.recoveries += 1;
                self.losses += u64::from(recovery.is_loss());
            }
            Event::JobEnded { took, end, .. } => {
                self.took = self.took.saturating_add(*took);
                match end {
                    RunEnd::Done => self.done += 1,
                    RunEnd::Failed { .. } => self.failed += 1,
                    RunEnd::Parked { .. } => self.parked += 1,
                    RunEnd::Stopped => self.stopped += 1,
                }
            }
            Event::RunStarted { .. } | Event::SliceStarted { .. } | Event::RunFinished { .. } => {}
        }
        if let Some(watched) = &mut self.watched {
            watched.freshness.hear(event, now);
        }
    }

    fn runs(&self) -> [(&'static str, u64); 4] {
        [("done", self.done), ("failed", self.failed), ("parked", self.parked), ("stopped", self.stopped)]
    }
}

/// Adds the figures of all jobs, family by family.
pub(super) fn add(page: &mut Page, all: &[(&str, &Figures)], now: Timestamp) {
    for (name, help, read) in COUNTERS {
        let family = page.family(name, "counter", help);
        for (job, figures) in all {
            family.sample(&[("job", job)], read(figures));
        }
    }
    let rows = page.family("highwater_rows_total", "counter", "Records committed, by what became of them.");
    for (job, figures) in all {
        for (fate, read) in FATES {
            rows.sample(&[("job", job), ("fate", fate)], read(&figures.rows));
        }
    }
    let runs = page.family("highwater_runs_total", "counter", "Runs, by how they ended.");
    for (job, figures) in all {
        for (outcome, count) in figures.runs() {
            runs.sample(&[("job", job), ("outcome", outcome)], count);
        }
    }
    add_lengths(page, all);
    add_ages(page, all, now);
}

fn add_lengths(page: &mut Page, all: &[(&str, &Figures)]) {
    let took = page.family("highwater_run_duration_seconds", "summary", "How long runs took.");
    for (job, figures) in all {
        let labels = [("job", *job)];
        took.sample_of("_sum", &labels, figures.took.as_secs_f64());
        took.sample_of("_count", &labels, figures.runs().iter().map(|(_, count)| count).sum::<u64>());
    }
    let help = "How long requests waited for the quota or for the source's patience.";
    let waited = page.family("highwater_wait_seconds", "summary", help);
    for (job, figures) in all {
        let labels = [("job", *job)];
        waited.sample_of("_sum", &labels, figures.waited.as_secs_f64());
        waited.sample_of("_count", &labels, figures.waits);
    }
}

type Age = (&'static str, &'static str, fn(&Watched, Timestamp) -> Option<f64>);

const AGES: [Age; 4] = [
    ("highwater_freshness_seconds", "Age of the table: since its mark, or since its last good run began.", |of, now| {
        Some(of.freshness.age(now).as_secs_f64())
    }),
    ("highwater_freshness_limit_seconds", "The job's `freshness`: the age that its table should never have.", |of, _| {
        of.limit.map(|limit| limit.as_secs_f64())
    }),
    ("highwater_mark_lag_seconds", "How far the high-water mark is behind, where it is a time.", |of, now| {
        of.freshness.lag(now).map(|lag| lag.as_secs_f64())
    }),
    ("highwater_last_success_timestamp_seconds", "When the last run that ended well began, as a Unix time.", |of, _| {
        of.freshness.done_at.map(|at| at.as_millisecond() as f64 / 1e3)
    }),
];

fn add_ages(page: &mut Page, all: &[(&str, &Figures)], now: Timestamp) {
    for (name, help, read) in AGES {
        let family = page.family(name, "gauge", help);
        for (job, figures) in all {
            if let Some(value) = figures.watched.as_ref().and_then(|watched| read(watched, now)) {
                family.sample(&[("job", job)], value);
            }
        }
    }
}
