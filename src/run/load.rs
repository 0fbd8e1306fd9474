//! The load: lease, settle, then slice after slice until the window is covered.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Asked;
use crate::config::catalog::{Job, Mode, TableFormat};
use crate::config::units::duration_text;
use crate::dataset::DatasetState;
use crate::error::{ErrorKind, chain};
use crate::event::{Event, Recovery};
use crate::fault::Guards;
use crate::ids::PartitionKey;
use crate::plan;
use crate::sink::current::Current;
use crate::sink::delta;
use crate::sink::layout;
use crate::sink::live::index_at;
use crate::sink::own::is_keyed;
use crate::sink::record::{RecordKind, fingerprint_changes};
use crate::sink::settle::Head;
use crate::slice::{Coverage, Reach, Slice, Span};
use crate::state::Lease;

use super::commit::{self, Committed, StagedSlice};
use super::hold::while_held;
use super::mark::{mark_text, marks};
use super::order::{More, Rest};
use super::read::{SliceRead, read_slice};
use super::{Ports, RunError, RunReport, SliceFailure, collect, control, expire, history_row, lost, rewind, settle};

/// How often in a row a rival may be first before the run steps back.
const READS_MAX: u32 = 5;
/// Slices that fail in a row before the others of their set are given up: the source or the store is away.
const FAILURES_MAX: usize = 3;
/// Sets that are given up in a row before the run leaves the others to the next one: what is closed to ten accounts after another is
/// rather the source, or the credential.
const SETS_GIVEN_UP_MAX: usize = 10;
/// A source's clock that is further ahead than this is believed when the window's end is set.
const SKEW_MIN: SignedDuration = SignedDuration::from_secs(60);

pub(super) async fn load(job: &Job, ports: &Ports) -> Result<RunReport, RunError> {
    let started_at = ports.clock.now();
    let asked = Asked::now(&*ports.clock);
    let lease = ports.state.lease(&job.dataset, &ports.owner, started_at).await?;
    let mut report = RunReport::start(job, ports.clock.run_id());
    ports.events.tell(Event::RunStarted { job: job.name.clone(), run: report.run });
    let due = is_first_of_day(job, ports, started_at).await?;
    let mut row = history_row::begin(job, &report, started_at);
    ports.state.start_run(&row).await?;
    let work = async {
        read_slices(job, ports, &lease, &mut report).await?;
        if due && !report.stopped {
            Box::pin(tidy_up(job, ports, &lease, &mut report)).await;
        }
        Ok(())
    };
    // A run's future is large, and each step down would move it by the stack.
    let outcome = while_held(ports, &lease, asked, Box::pin(work)).await;
    history_row::finish(&mut row, &report, outcome.as_ref().err(), ports.clock.now());
    row.requests = ports.source.requests();
    let failed = outcome.is_err() || !report.failed.is_empty();
    let mark = report.mark.as_ref().and_then(|mark| mark.parse().ok());
    ports.events.tell(Event::RunFinished { job: job.name.clone(), run: report.run, counts: report.counts, failed, mark });
    let changes = async {
        if row.commits > 0 {
            control::write_schema_changes(job, ports).await;
        }
    };
    let finishing = async {
        let finished = ports.state.finish_run(&row).await;
        if finished.is_ok() {
            control::write_runs(job, ports, &row).await;
        }
        finished
    };
    // Two folders, which know nothing of each other: where one cannot be written, the other is.
    let ((), finished) = tokio::join!(changes, finishing);
    let released = ports.state.release(&lease).await;
    outcome?;
    finished?;
    released?;
    Ok(report)
}

/// Once a day a job clears up behind itself.
async fn is_first_of_day(job: &Job, ports: &Ports, now: Timestamp) -> Result<bool, RunError> {
    let day = |at: Timestamp| at.to_zoned(jiff::tz::TimeZone::UTC).date();
    let before = ports.state.runs(Some(&job.name), 1).await?;
    Ok(before.first().is_some_and(|run| day(run.started_at) != day(now)))
}

/// The run is as good without it, and the next day does it again.
async fn tidy_up(job: &Job, ports: &Ports, lease: &Lease, report: &mut RunReport) {
    let mut index = None;
    let collected = match settle::settle(job, ports, lease, &mut index, report).await {
        Ok(head) => collect::sweep_up(job, ports, &head, &mut index, false).await,
        Err(error) => Err(error),
    };
    match collected {
        Ok(collected) if collected.objects() > 0 => {
            let text = format!("{} objects that nothing names were collected, {} bytes", collected.objects(), collected.bytes());
            tracing::info!(job.id = %job.name, "{}: {text}", job.name);
            ports.keep_event(job, "collected", &text).await;
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(job.id = %job.name, "{}: garbage stays where it is: {error}", job.name);
            // Nothing else of a run goes over the log.
            if error.kind == ErrorKind::Data {
                settle::note(job, ports, report, Recovery::Lost, error.message).await;
            }
        }
    }
}

/// Goes over the parameter sets; one that fails leaves its holes to the next run and does not stop the others.
async fn read_slices(job: &Job, ports: &Ports, lease: &Lease, report: &mut RunReport) -> Result<(), RunError> {
    let mut index: Option<Current> = None;
    let mut head = settle::settle(job, ports, lease, &mut index, report).await?;
    Box::pin(check_delta(job, ports, &head, &mut index)).await?;
    if let Some(asked) = &ports.options.rewind {
        rewind::rewind(job, ports, lease, asked, &mut head, &mut index, report).await?;
        if asked.what.reads_nothing() {
            rewind::conclude(job, &head, report);
            return Ok(());
        }
    }
    check_fingerprint(job, &mut head, ports.guards)?;
    report.began_with = head.state.coverage.clone();
    let mut given_up = 0;
    let order = order(job, ports);
    report.sets_left = order.len() as u64;
    for set in order {
        if ports.stop.requested() {
            report.stopped = true;
            break;
        }
        report.sets_left -= 1;
        let failed_before = report.failed.len();
        let turn = read_set(job, set, ports, lease, &mut head, &mut index, report).await?;
        match turn {
            Turn::Last => break,
            Turn::Over if report.failed.len() == failed_before => given_up = 0,
            // A set of one slice has failed as a whole, too.
            Turn::Over | Turn::GivenUp => given_up += 1,
        }
        if given_up >= SETS_GIVEN_UP_MAX {
            break;
        }
    }
    report.mark = mark_text(job, &head.state.coverage);
    report.marks = marks(job, &head.state.coverage);
    if !report.stopped {
        Box::pin(drop_old(job, ports, lease, &mut head, &mut index)).await;
    }
    Box::pin(vacuum(job, ports, &head, &mut index)).await;
    Ok(())
}

/// Partitions that are older than what the job keeps go. What was read is committed: what fails here is done at the end of the next run.
async fn drop_old(job: &Job, ports: &Ports, lease: &Lease, head: &mut Head, index: &mut Option<Current>) {
    if let Err(error) = expire::expire(job, ports, lease, head, index).await {
        tracing::warn!(job.id = %job.name, "{}: old partitions stay for now: {error}", job.name);
    }
}

/// Takes away what left a Delta table long ago. The run has done its work: what fails here is tried again at the end of the next.
async fn vacuum(job: &Job, ports: &Ports, head: &Head, index: &mut Option<Current>) {
    if job.sink.format != TableFormat::Delta || head.state.seq == 0 {
        return;
    }
    let index = index_at(ports.store.as_ref(), &job.dataset, head, index).await;
    let vacuumed = match index {
        Ok(index) => delta::vacuum(ports.store.as_ref(), &job.dataset, index, ports.clock.now(), ports.guards).await,
        Err(error) => Err(error),
    };
    match vacuumed {
        Ok(0) => {}
        Ok(files) => tracing::info!(job.id = %job.name, files, "files that left the Delta table a week ago are gone"),
        Err(error) => tracing::warn!(job.id = %job.name, error = %chain(&error), "files that left the Delta table stay for now"),
    }
}

/// A Delta table must be the one that the records tell of, before anything is read for it.
async fn check_delta(job: &Job, ports: &Ports, head: &Head, index: &mut Option<Current>) -> Result<(), RunError> {
    if job.sink.format != TableFormat::Delta {
        return Ok(());
    }
    // One set's replacement takes out the files of that set alone.
    let looks_into = job.mode == Mode::Merge || is_keyed(job) || (job.mode == Mode::Replace && job.is_for_each());
    let index = match looks_into {
        true => Some(index_at(ports.store.as_ref(), &job.dataset, head, index).await?),
        false => None,
    };
    let removes = looks_into || job.mode == Mode::Replace || ports.options.rewind.is_some();
    Ok(delta::check(Arc::clone(&ports.store), job, head, index, removes).await?)
}

/// The sets in the order in which they are read. Many of them begin at a place left to chance: else those at the end would never
/// be read where the ones before them always fail, or use up the budget.
fn order<'a>(job: &'a Job, ports: &Ports) -> Vec<&'a PartitionKey> {
    let mut sets: Vec<&PartitionKey> = job.sets.iter().map(|set| &set.partition).collect();
    if sets.len() > SETS_GIVEN_UP_MAX {
        let first = (ports.clock.fraction() * sets.len() as f64) as usize;
        let first = first.min(sets.len() - 1);
        sets.rotate_left(first);
    }
    sets
}

/// How a set's turn ended.
enum Turn {
    /// Its slices were read, or tried.
    Over,
    /// It was left before all of its slices were tried.
    GivenUp,
    /// The run ends with it: it was stopped, or what is wrong is wrong for every set.
    Last,
}

async fn read_set(
    job: &Job,
    set: &PartitionKey,
    ports: &Ports,
    lease: &Lease,
    head: &mut Head,
    index: &mut Option<Current>,
    report: &mut RunReport,
) -> Result<Turn, RunError> {
    let mut tried: Vec<Slice> = Vec::new();
    let mut lost = 0;
    let mut failures = 0;
    let started_at = ports.options.as_of.unwrap_or_else(|| ports.clock.now());
    let mut goal = match expected_now(job, set, head, started_at) {
        Ok(goal) => goal,
        Err((_, error)) if !job.is_for_each() => return Err(error),
        Err((span, error)) => {
            let slice = Slice { partition: set.clone(), reach: Reach::Time(span) };
            fail(job, ports, slice, error, report);
            return Ok(Turn::GivenUp);
        }
    };
    let mut rest: Option<Box<Rest>> = None;
    // What is too much at once, in pieces; the first stands last. What a run before left under way at the source comes first of all.
    let mut pieces: Vec<Slice> = under_way(job, set, ports, head).await;
    loop {
        let planned = || plan::next(job, set, &head.state.coverage, &tried, goal);
        let begun = rest.as_ref().map(|rest| rest.slice.clone()).or_else(|| pieces.pop());
        let Some(slice) = begun.or_else(planned) else { break };
        if ports.stop.requested() {
            report.stopped = true;
            return Ok(Turn::Last);
        }
        ports.events.tell(Event::SliceStarted { job: job.name.clone(), slice: slice.clone() });
        tried.push(slice.clone());
        let asked = rest.as_ref().map_or_else(|| slice.clone(), |rest| rest.asked.clone());
        match load_slice(job, ports, lease, head, &slice, rest.take(), index, report).await {
            // What is covered has changed meanwhile, and so what there is to read: the rival may have brought this very slice.
            Ok(Loaded::RivalWasFirst) if lost < READS_MAX => {
                check_fingerprint(job, head, ports.guards)?;
                lost += 1;
                tried.pop();
            }
            Ok(Loaded::RivalWasFirst) => {
                let reason = format!("another writer commits to {} while this one reads", job.dataset);
                fail(job, ports, slice, RunError::new(ErrorKind::Conflict, reason), report);
                return Ok(Turn::Last);
            }
            Ok(Loaded::Read(mut read)) => {
                lost = 0;
                failures = 0;
                let more = read.more.take();
                if !matches!(more, Some(More::Rest(_))) {
                    ports.source.done(&asked).await;
                }
                if more.is_some() {
                    // What was read is covered; what is left of the slice is another one.
                    tried.pop();
                    tried.extend(read.part.take());
                }
                if let Some(skew) = read.skew.filter(|skew| *skew > SKEW_MIN) {
                    goal = goal.max(started_at.checked_add(skew).unwrap_or(goal));
                }
                // What lies behind a slice that was cut short lies in the source's future.
                match more {
                    None if read.cut_short => break,
                    None => {}
                    // A mark is gone on from where the part ends: planned anew, it would begin at the lookback again, for ever.
                    Some(More::Anew(left)) => pieces.extend(Some(left).filter(|left| matches!(left.reach, Reach::Mark(_)))),
                    Some(More::Split(reach)) => match halves(job, &slice, &reach) {
                        Ok(halves) => pieces.extend(halves),
                        Err(error) => {
                            tried.push(slice.clone());
                            fail(job, ports, slice, error, report);
                            failures += 1;
                            if failures >= FAILURES_MAX {
                                return Ok(Turn::GivenUp);
                            }
                        }
                    },
                    Some(More::Rest(behind)) => rest = Some(behind),
                    // Its place among the pages may have expired: it is tried once from where the part ends.
                    Some(More::Failed(left, error)) if error.kind == ErrorKind::Unavailable => {
                        tracing::warn!(job.id = %job.name, "{error}; what was read is committed, and reading begins again behind it");
                        pieces.extend(Some(left).filter(|left| matches!(left.reach, Reach::Mark(_))));
                    }
                    Some(More::Failed(left, error)) => {
                        let (kind, looks_back) = (error.kind, looks_back(job, head, &left));
                        tried.push(left.clone());
                        fail(job, ports, left, error, report);
                        failures += 1;
                        if let Some(turn) = turn_after(kind, failures, looks_back) {
                            return Ok(turn);
                        }
                    }
                }
            }
            Err(Failure::Slice(error)) if error.kind == ErrorKind::Cancelled => {
                report.stopped = true;
                return Ok(Turn::Last);
            }
            Err(Failure::Slice(error)) => {
                let (kind, looks_back) = (error.kind, looks_back(job, head, &slice));
                fail(job, ports, slice, error, report);
                failures += 1;
                if let Some(turn) = turn_after(kind, failures, looks_back) {
                    return Ok(turn);
                }
            }
            Err(Failure::Run(error)) => return Err(error),
        }
    }
    Ok(Turn::Over)
}

/// What the source is writing out already, as far as it is still to be read.
async fn under_way(job: &Job, set: &PartitionKey, ports: &Ports, head: &Head) -> Vec<Slice> {
    match ports.source.under_way(set).await {
        Ok(mut slices) => {
            slices.retain(|slice| plan::is_open(job, &head.state.coverage, slice));
            slices
        }
        Err(error) => {
            // Planned anew it costs the source more, and loses nothing.
            tracing::warn!(job.id = %job.name, "what an earlier run began cannot be looked up: {error}");
            Vec::new()
        }
    }
}

/// The halves of what is more than the API gives for one query, the second one first.
fn halves(job: &Job, slice: &Slice, reach: &Reach) -> Result<[Slice; 2], RunError> {
    let cap = job.stream.paging.result_cap.unwrap_or_default();
    let cursor = job.stream.cursor.as_ref().filter(|cursor| cursor.has_upper_bound(&job.stream) && job.mode != Mode::Replace);
    let refused = |why: &str| {
        let message =
            format!("the API gives at most {cap} records for one query (result_cap), and there are as many here or more: {why}");
        RunError::new(ErrorKind::Data, message)
    };
    match (cursor, reach) {
        (Some(cursor), Reach::Time(span)) => {
            let instant = || {
                let precision = cursor.precision;
                format!(
                    "they stand within one `precision` ({precision:#}), which cannot be split, and a request asks one more on both ends; ask for less by parameters"
                )
            };
            let (first, second) = plan::halves(cursor, span).ok_or_else(|| refused(&instant()))?;
            let part = |span| Slice { partition: slice.partition.clone(), reach: Reach::Time(span) };
            Ok([part(second), part(first)])
        }
        _ => {
            Err(refused("they cannot be asked for in pieces; give the cursor an entry with `{{ to }}`, or order = \"ascending\""))
        }
    }
}

/// Whether a slice reads again what counts as read, for what may have come late. Where it fails nothing shows that this is still to be
/// done but the end of what is covered, from which the next run looks back: it must not move on.
fn looks_back(job: &Job, head: &Head, slice: &Slice) -> bool {
    let covered = head.state.coverage.spans(&slice.partition);
    let is_covered = |span: Span| covered.iter().any(|covered| covered.overlaps(&span));
    job.mode != Mode::Replace && job.window.lookback.is_some() && slice.span().is_some_and(is_covered)
}

/// Whether a set's turn ends with a failure of this kind.
fn turn_after(kind: ErrorKind, failures: usize, looks_back: bool) -> Option<Turn> {
    match kind {
        ErrorKind::Throttled { .. } | ErrorKind::Bug => Some(Turn::Last),
        // The set's other slices would meet the same closed door.
        ErrorKind::Config | ErrorKind::Auth => Some(Turn::GivenUp),
        _ if looks_back || failures >= FAILURES_MAX => Some(Turn::GivenUp),
        _ => None,
    }
}

fn fail(job: &Job, ports: &Ports, slice: Slice, error: RunError, report: &mut RunReport) {
    let (kind, reason) = (error.kind, error.to_string());
    ports.events.tell(Event::SliceFailed { job: job.name.clone(), slice: slice.clone(), reason: reason.clone() });
    report.failed.push(SliceFailure { slice, kind, reason });
}

/// The error names the last stretch that is covered.
fn expected_now(job: &Job, set: &PartitionKey, head: &Head, now: Timestamp) -> Result<Timestamp, (Span, RunError)> {
    let Some(cursor) = job.stream.window_cursor() else { return Ok(now) };
    let covered = head.state.coverage.spans(set);
    if let Some(forgotten) = plan::forgotten(job, set, &head.state.coverage, now) {
        let error = RunError::new(ErrorKind::Data, forgotten_text(job, &forgotten));
        return Err((Span { from: Some(forgotten.mark), to: forgotten.horizon }, error));
    }
    plan::expected_now(cursor, job.window.settle, covered, now).map_err(|end| {
        let message = format!(
            "what is loaded of {} ends at {end}, in the future, so nothing would be read: the clock of this machine is behind, or the source's was ahead; set the clock right, or load into another table (`table = \"..\"`)",
            job.dataset
        );
        (covered.last().copied().unwrap_or(Span { from: None, to: end }), RunError::new(ErrorKind::Data, message))
    })
}

/// What is missing, and both ways out.
fn forgotten_text(job: &Job, forgotten: &plan::Forgotten) -> String {
    let history = job.stream.window_cursor().and_then(|cursor| cursor.history_max).unwrap_or_default();
    let plan::Forgotten { mark, horizon } = forgotten;
    // An hour for whoever types it.
    let from = Timestamp::from_second(horizon.as_second() + 3600).unwrap_or(*horizon);
    format!(
        "what is loaded of {} ends at {mark}, and the API looks back {} (history_max): what changed in between is not given any more. Read everything again with `highwater run {} --full`, or go on without it with `highwater state set {} --mark {from}`",
        job.dataset,
        duration_text(history),
        job.name,
        job.name
    )
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

/// Reads a slice, or as much of it as is committed at once, and commits it; `head` is the new end of the log afterwards.
#[expect(clippy::too_many_arguments, reason = "what a run has in hand, each of another kind")]
async fn load_slice(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    head: &mut Head,
    slice: &Slice,
    rest: Option<Box<Rest>>,
    index: &mut Option<Current>,
    report: &mut RunReport,
) -> Result<Loaded, Failure> {
    let batch = ports.clock.batch_id();
    let mut read = match read_slice(job, ports, head, slice, rest, batch, index).await {
        Ok(read) => read,
        // What it looked into for its keys has left the table with a rival's record: the same as losing to it at the decision.
        Err(error) if error.kind == ErrorKind::Data && was_overtaken(job, ports, head).await => {
            *head = settle::settle(job, ports, lease, index, report).await.map_err(Failure::Run)?;
            return Ok(Loaded::RivalWasFirst);
        }
        Err(error) => {
            let explained = lost::explained(error, job, ports.store.as_ref(), index.as_ref());
            return Err(Failure::Slice(Box::pin(explained).await));
        }
    };
    report.pages += read.pages;
    report.bytes += read.bytes;
    report.misfit = report.misfit.take().or(read.misfit.take());
    if matches!(read.more, Some(More::Split(_))) {
        return Ok(Loaded::Read(Box::new(read)));
    }
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
        answered: read.answered.take(),
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

/// Whether another writer decided meanwhile what comes after all that is known here.
async fn was_overtaken(job: &Job, ports: &Ports, head: &Head) -> bool {
    let next = layout::record(&job.dataset, head.state.seq + 1);
    matches!(ports.store.size(&next).await, Ok(Some(_)))
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
        ports.keep_event(job, "schema_changed", change).await;
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
    let is_set_by_hand = head.record.as_ref().is_some_and(|record| record.kind == RecordKind::Rewind);
    if let (Reach::Mark(Some(mark)), 0, true) = (&slice.reach, read.counts.fetched, is_set_by_hand) {
        let (job, mark) = (&job.name, &mark.value);
        tracing::warn!(job.id = %job, "the source has nothing at or behind the mark `{mark}`, which was set by hand; if it stands too far ahead, set another one: `highwater state set {job} --mark VALUE`");
    }
    ports.events.tell(Event::SliceEmpty { job: job.name.clone(), slice: slice.clone(), counts: read.counts });
    Ok(())
}

/// A change of what the rows mean within one table is refused before anything is read. Before the first record it costs nothing
/// to begin anew: what is covered then was found empty by the definition as it was.
fn check_fingerprint(job: &Job, head: &mut Head, guards: Guards) -> Result<(), RunError> {
    let now = commit::state_fingerprint(job);
    let Some(record) = &head.record else {
        if head.state.fingerprint != now {
            head.state.coverage = Coverage::default();
            head.state.pending.clear();
        }
        return Ok(());
    };
    let changes = fingerprint_changes(&record.fingerprint, &now);
    if changes.is_empty() || !guards.same_definition {
        return Ok(());
    }
    let message = format!(
        "{}: the table {} was loaded differently: {}; take the change back, load it anew with `highwater run {} --full`, or load into another table (`table = \"..\"`)",
        job.file,
        job.table,
        changes.join("; "),
        job.name
    );
    Err(RunError::new(ErrorKind::Config, message))
}
