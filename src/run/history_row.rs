//! What the history of runs says of one, at its beginning and at its end.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::config::catalog::Job;
use crate::error::chain;
use crate::ids::PartitionKey;
use crate::state::RunRow;

use super::{RunError, RunReport, SliceFailure};

pub(super) fn begin(job: &Job, report: &RunReport, started_at: Timestamp) -> RunRow {
    RunRow {
        run: report.run,
        job: job.name.clone(),
        started_at,
        finished_at: None,
        status: "running".to_owned(),
        counts: report.counts,
        requests: 0,
        bytes: 0,
        files: 0,
        commits: 0,
        error: None,
    }
}

pub(super) fn finish(row: &mut RunRow, report: &RunReport, error: Option<&RunError>, now: Timestamp) {
    let failure = error.map(|error| chain(error)).or_else(|| first_failure(report));
    row.finished_at = Some(now);
    row.status = match (&failure, report.stopped) {
        (Some(_), _) => "failed",
        (None, true) => "stopped",
        (None, false) => "done",
    }
    .to_owned();
    row.counts = report.counts;
    row.bytes = report.bytes;
    row.files = report.files;
    row.commits = report.commits;
    row.error = failure;
}

/// The first failure of several, with the set that it met.
fn first_failure(report: &RunReport) -> Option<String> {
    let SliceFailure { slice, reason, .. } = report.failed.first()?;
    let set = if slice.partition.is_none() { String::new() } else { format!("{}: ", slice.partition) };
    let sets: BTreeSet<&PartitionKey> = report.failed.iter().map(|failure| &failure.slice.partition).collect();
    let others = if sets.len() > 1 { format!(" (and {} more sets failed)", sets.len() - 1) } else { String::new() };
    Some(format!("{set}{reason}{others}"))
}
