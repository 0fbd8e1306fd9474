//! Runs and slices as log lines.

use crate::event::{Event, Listener, RunEnd};

/// Logs what happens in runs: INFO what a run did, WARN what it got over, ERROR what somebody must act on. Pages and requests are
/// figures, not lines.
pub struct RunLog;

impl Listener for RunLog {
    fn hear(&self, event: &Event) {
        match event {
            Event::RunStarted { job, run } => tracing::info!(job.id = %job, run.id = %run, "{job}: run began"),
            Event::SliceCommitted { job, seq, counts, files, bytes } => tracing::info!(
                job.id = %job, seq, rows.kept = counts.kept, rows.rejected = counts.rejected, files, bytes,
                "{job}: commit {seq} with {} rows", counts.kept
            ),
            Event::SchemaChanged { job, change } => tracing::warn!(job.id = %job, change, "{job}: columns changed: {change}"),
            Event::SliceFailed { job, reason, .. } => tracing::warn!(job.id = %job, reason, "{job}: slice failed: {reason}"),
            Event::Recovered { job, recovery, what } if recovery.is_loss() => {
                tracing::error!(job.id = %job, "{job}: {}: {what}", recovery.name());
            }
            Event::Recovered { job, what, .. } => tracing::warn!(job.id = %job, "{job}: recovered: {what}"),
            Event::RunFinished { job, run, counts, .. } => tracing::info!(
                job.id = %job, run.id = %run, records.fetched = counts.fetched, rows.kept = counts.kept,
                "{job}: run read {} records", counts.fetched
            ),
            Event::JobEnded { job, took, end } => log_end(job.as_str(), took.as_secs_f64(), end),
            Event::SliceStarted { .. }
            | Event::SliceEmpty { .. }
            | Event::RequestSent { .. }
            | Event::PageFetched { .. }
            | Event::Waiting { .. }
            | Event::Retrying { .. } => {}
        }
    }
}

fn log_end(job: &str, seconds: f64, end: &RunEnd) {
    match end {
        RunEnd::Done => tracing::info!(job.id = job, seconds, "{job}: done"),
        RunEnd::Stopped => tracing::info!(job.id = job, seconds, "{job}: stopped, the rest is left to the next run"),
        RunEnd::Failed { kind, reason } => {
            tracing::error!(job.id = job, seconds, error.kind = kind.name(), reason, "{job}: failed: {reason}");
        }
        RunEnd::Parked { until: Some(until), reason } => {
            tracing::warn!(job.id = job, seconds, %until, reason, "{job}: parked until {until}: {reason}");
        }
        RunEnd::Parked { until: None, reason } => {
            tracing::error!(job.id = job, seconds, reason, "{job}: parked: {reason}");
        }
    }
}
