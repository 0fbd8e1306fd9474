//! The load: lease, settle, then slice after slice until the window is covered.

use jiff::{SignedDuration, Timestamp};

use crate::config::catalog::{CursorType, Job};
use crate::dataset::DatasetState;
use crate::error::{ErrorKind, chain};
use crate::event::Event;
use crate::ids::PartitionKey;
use crate::plan;
use crate::sink::current::Current;
use crate::sink::record::fingerprint_changes;
use crate::sink::settle::Head;
use crate::slice::{Coverage, Slice};
use crate::state::{Lease, RunRow};

use super::commit::{self, Committed, StagedSlice};
use super::read::{SliceRead, read_slice};
use super::{Ports, RunError, RunReport, SliceFailure, settle};

/// How often in a row a rival may be first before the run steps back.
const READS_MAX: u32 = 5;
/// Slices that fail in a row before the run gives up on the others: the source or the store is away.
const FAILURES_MAX: usize = 3;
/// A source's clock that is further ahead than this is believed when the window's end is set.
const SKEW_MIN: SignedDuration = SignedDuration::from_secs(60);

pub(super) async fn load(job: &Job, ports: &Ports) -> Result<RunReport, RunError> {
    let started_at = ports.clock.now();
    let lease = ports.state.lease(&job.dataset, &ports.owner, started_at).await?;
    let mut report = RunReport::start(job, ports.clock.run_id());
    ports.events.tell(Event::RunStarted { job: job.name.clone(), run: report.run });
    let mut row = run_row(job, &report, started_at);
    ports.state.start_run(&row).await?;
    let outcome = read_slices(job, ports, &lease, &mut report).await;
    finish_row(&mut row, &report, outcome.as_ref().err(), ports.clock.now());
    row.requests = ports.source.requests();
    let failed = outcome.is_err() || !report.failed.is_empty();
    let mark = report.mark.as_ref().and_then(|mark| mark.parse().ok());
    ports.events.tell(Event::RunFinished { job: job.name.clone(), run: report.run, counts: report.counts, failed, mark });
    let finished = ports.state.finish_run(&row).await;
    let released = ports.state.release(&lease).await;
    outcome?;
    finished?;
    released?;
    Ok(report)
}

async fn read_slices(job: &Job, ports: &Ports, lease: &Lease, report: &mut RunReport) -> Result<(), RunError> {
    let mut index: Option<Current> = None;
    let mut head = settle::settle(job, ports, lease, &mut index, report).await?;
    check_fingerprint(job, &mut head)?;
    let mut tried: Vec<Slice> = Vec::new();
    let mut lost = 0;
    let mut failures = 0;
    let started_at = ports.clock.now();
    let mut goal = expected_now(job, &head, started_at)?;
    while let Some(slice) = plan::next(job, &head.state.coverage, &tried, goal) {
        if ports.stop.requested() {
            report.stopped = true;
            break;
        }
        ports.events.tell(Event::SliceStarted { job: job.name.clone(), slice: slice.clone() });
        tried.push(slice.clone());
        match load_slice(job, ports, lease, &mut head, &slice, &mut index, report).await {
            // What is covered has changed meanwhile, and so what there is to read: the rival may have brought this very slice.
            Ok(Loaded::RivalWasFirst) if lost < READS_MAX => {
                check_fingerprint(job, &mut head)?;
                lost += 1;
                tried.pop();
            }
            Ok(Loaded::RivalWasFirst) => {
                let reason = format!("another writer commits to {} while this one reads", job.dataset);
                ports.events.tell(Event::SliceFailed { job: job.name.clone(), slice: slice.clone(), reason: reason.clone() });
                report.failed.push(SliceFailure { slice, kind: ErrorKind::Conflict, reason });
                break;
            }
            Ok(Loaded::Read(read)) => {
                lost = 0;
                failures = 0;
                if let Some(skew) = read.skew.filter(|skew| *skew > SKEW_MIN) {
                    goal = goal.max(started_at.checked_add(skew).unwrap_or(goal));
                }
                // What lies behind a slice that was cut short lies in the source's future.
                if read.cut_short {
                    break;
                }
            }
            Err(Failure::Slice(error)) if error.kind == ErrorKind::Cancelled => {
                report.stopped = true;
                break;
            }
            Err(Failure::Slice(error)) => {
                let (kind, reason) = (error.kind, error.to_string());
                ports.events.tell(Event::SliceFailed { job: job.name.clone(), slice: slice.clone(), reason: reason.clone() });
                report.failed.push(SliceFailure { slice, kind, reason });
                // The other slices would meet the same closed door.
                failures += 1;
                if failures >= FAILURES_MAX
                    || matches!(kind, ErrorKind::Config | ErrorKind::Auth | ErrorKind::Throttled { .. } | ErrorKind::Bug)
                {
                    break;
                }
            }
            Err(Failure::Run(error)) => return Err(error),
        }
    }
    report.mark = mark_text(job, &head.state.coverage);
    Ok(())
}

fn expected_now(job: &Job, head: &Head, now: Timestamp) -> Result<Timestamp, RunError> {
    let Some(cursor) = &job.stream.cursor else { return Ok(now) };
    let covered = head.state.coverage.spans(&PartitionKey::new(""));
    plan::expected_now(cursor, job.window.settle, covered, now).map_err(|end| {
        let message = format!(
            "what is loaded of {} ends at {end}, in the future, so nothing would be read: the clock of this machine is behind, or the source's was ahead; set the clock right, or load into another table (`table = \"..\"`)",
            job.dataset
        );
        RunError::new(ErrorKind::Data, message)
    })
}

enum Failure {
    /// The slice is a hole that the next run fills; others go on.
    Slice(RunError),
    /// The run cannot go on.
    Run(RunError),
}

/// What became of a slice.
enum Loaded {
    /// It is committed, or there is nothing in it.
    Read(Box<SliceRead>),
    /// Another writer committed meanwhile, rows or columns that this slice did not know of: nothing of it counts.
    RivalWasFirst,
}

/// Reads a slice and commits it; `head` is the new end of the log afterwards.
async fn load_slice(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    head: &mut Head,
    slice: &Slice,
    index: &mut Option<Current>,
    report: &mut RunReport,
) -> Result<Loaded, Failure> {
    let batch = ports.clock.batch_id();
    let mut read = read_slice(job, ports, head, slice, batch, index).await.map_err(Failure::Slice)?;
    report.pages += read.pages;
    report.bytes += read.bytes;
    if read.files.is_empty() && read.replaces.paths.is_empty() {
        advance_empty(job, ports, lease, head, slice, &read).await.map_err(Failure::Run)?;
        report.counts.add(&read.counts);
        report.empty_slices += 1;
        return Ok(Loaded::Read(Box::new(read)));
    }
    let staged = StagedSlice {
        batch,
        set: slice.partition.clone(),
        cover: read.cover.clone(),
        replaces: std::mem::take(&mut read.replaces),
        files: std::mem::take(&mut read.files),
        counts: read.counts,
        read_schema: read.read_schema.clone(),
        schema: read.schema.clone(),
    };
    match commit::commit(job, ports, lease, head, &staged, index, report).await.map_err(Failure::Run)? {
        Committed::Yes(new_head) => {
            *head = *new_head;
            count_commit(job, ports, head, &staged, &read, report).await;
            Ok(Loaded::Read(Box::new(read)))
        }
        Committed::ReadAgain(new_head) => {
            *head = *new_head;
            Ok(Loaded::RivalWasFirst)
        }
    }
}

async fn count_commit(job: &Job, ports: &Ports, head: &Head, staged: &StagedSlice, read: &SliceRead, report: &mut RunReport) {
    let files = staged.files.len() as u64;
    let bytes = staged.files.iter().map(|file| file.closed.bytes).sum();
    report.counts.add(&staged.counts);
    report.files += files;
    report.bytes_written += bytes;
    report.commits += 1;
    let (job_name, seq) = (job.name.clone(), head.state.seq);
    ports.events.tell(Event::SliceCommitted { job: job_name, seq, counts: staged.counts, files, bytes });
    for change in &read.changes {
        ports.events.tell(Event::SchemaChanged { job: job.name.clone(), change: change.clone() });
        if let Err(error) = ports.state.note_event(ports.clock.now(), Some(&job.name), "schema_changed", change).await {
            // The record holds the new schema; only the history of events lacks the line.
            tracing::warn!(%error, "an event could not be kept");
        }
    }
}

/// An empty slice advances the state alone; the next record names it.
async fn advance_empty(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    head: &mut Head,
    slice: &Slice,
    read: &SliceRead,
) -> Result<(), RunError> {
    let mut state: DatasetState = head.state.clone();
    if let Some(cover) = read.cover.clone().filter(|_| ports.guards.record_coverage) {
        state.add_pending(cover);
        state.fingerprint = commit::state_fingerprint(job);
    }
    if state != head.state {
        ports.state.advance(lease, &state, None).await?;
        head.state = state;
    }
    ports.events.tell(Event::SliceEmpty { job: job.name.clone(), slice: slice.clone(), counts: read.counts });
    Ok(())
}

/// A change of what the rows mean within one table is refused before anything is read. Before the first record it costs nothing
/// to begin anew: what is covered then was found empty by the definition as it was.
fn check_fingerprint(job: &Job, head: &mut Head) -> Result<(), RunError> {
    let now = commit::state_fingerprint(job);
    let Some(record) = &head.record else {
        if head.state.fingerprint != now {
            head.state.coverage = Coverage::default();
            head.state.pending.clear();
        }
        return Ok(());
    };
    let changes = fingerprint_changes(&record.fingerprint, &now);
    if changes.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{}: the table {} was loaded differently: {}; take the change back, or load into another table (`table = \"..\"`)",
        job.file,
        job.table,
        changes.join("; ")
    );
    Err(RunError::new(ErrorKind::Config, message))
}

/// The high-water mark as a user reads it.
pub fn mark_text(job: &Job, coverage: &Coverage) -> Option<String> {
    let partition = PartitionKey::new("");
    let cursor = job.stream.cursor.as_ref()?;
    match cursor.cursor_type {
        CursorType::Integer => coverage.integer_mark(&partition).map(|mark| mark.value.to_string()),
        _ => coverage.mark(&partition, job.window.start).map(|mark| mark.to_string()),
    }
}

fn run_row(job: &Job, report: &RunReport, started_at: Timestamp) -> RunRow {
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

fn finish_row(row: &mut RunRow, report: &RunReport, error: Option<&RunError>, now: Timestamp) {
    let failure = error.map(|error| chain(error)).or_else(|| report.failed.first().map(|failure| failure.reason.clone()));
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
