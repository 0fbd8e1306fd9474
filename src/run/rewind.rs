//! Reading again by hand: a record of its own takes back what counts as read, and opens a generation. The run that follows fills
//! the hole like any other.
//!
//! What a rewind comes to is computed without input and output ([`plan`]), once to be shown before it is confirmed and once under
//! the lease, so that what is decided is right even where something happened in between. Only which files are [lost] the store says.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::catalog::{Cursor, CursorType, Job, Mode, TableFormat};
use crate::cursor::CursorKey;
use crate::dataset::DatasetState;
use crate::error::ErrorKind;
use crate::ids::{PartitionKey, Seq};
use crate::schema::TableSchema;
use crate::sink::commit::Verdict;
use crate::sink::current::Current;
use crate::sink::live::{index_at, load_index};
use crate::sink::own::is_keyed;
use crate::sink::record::{Record, RecordKind, TABLE_FORMAT, fingerprint, fingerprint_changes};
use crate::sink::settle::Head;
use crate::slice::{Cover, Coverage, Covered, CursorMark, Span};
use crate::state::Lease;
use crate::store::Store;

use super::blank::blank;
use super::commit::{decide, unfinished};
use super::mark::{mark_text, marks};
use super::options::{Bound, Rewind, RewindKind};
use super::{Ports, RunError, RunReport, lost, rollback, settle};

/// How often in a row a rival may be first before the rewind steps back.
const RIVALS_MAX: u32 = 5;

/// What a rewind does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RewindPlan {
    /// What counts as read no more, whatever of it did.
    pub uncovers: Vec<Cover>,
    /// What counts as read from then on.
    pub covers: Vec<Cover>,
    /// All live files leave the table: it is loaded anew by another definition.
    pub empties: bool,
    /// Live files that leave the table for they are [lost].
    pub lost: BTreeSet<String>,
    /// What is covered afterwards.
    pub coverage: Coverage,
    /// Something of it changes what is known.
    pub changes: bool,
}

impl RewindPlan {
    /// Files leave the table that are lost. Whose rows stood in them is not known, for a merge carries those of others along: sets that
    /// the job does not have any more are read again, too, if it ever has them again.
    fn lose(&mut self, job: &Job, lost: BTreeSet<String>) {
        if !lost.is_empty() {
            let gone: Vec<Cover> = self.coverage.partitions.keys().map(|set| everything(job, &self.coverage, set)).collect();
            gone.iter().for_each(|cover| self.coverage.forget(cover));
            self.uncovers.extend(gone);
            self.changes = true;
        }
        self.lost = lost;
    }
}

/// What a rewind would do, for whoever has to confirm it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewindPreview {
    pub job: String,
    /// What was asked: `run --from 2026-01-01`.
    pub asked: String,
    /// The parameter sets that it is about; empty without `for_each`.
    pub sets: Vec<PartitionKey>,
    /// The reading that it opens; the one there is where nothing changes.
    pub generation: u32,
    /// The mark before and after it; of several sets the lowest.
    pub mark_before: Option<String>,
    pub mark_after: Option<String>,
    /// Slices that lie before the next run then.
    pub slices: u64,
    /// Those of them that are read because of the rewind.
    pub slices_again: u64,
    /// Files, rows and bytes that leave the table at once: all of it, where its definition has changed, else what is lost of them.
    pub files_removed: u64,
    pub rows_removed: u64,
    pub bytes_removed: u64,
    /// Files, rows and bytes that come back into the table.
    pub files_back: u64,
    pub rows_back: u64,
    pub bytes_back: u64,
    /// What of the job's definition has changed, a sentence each: why the table is emptied; of a rollback, why the next run is refused.
    pub definition_changes: Vec<String>,
    /// Nothing changes: what is asked for is so already.
    pub is_so: bool,
}

/// What a rewind would do to a table of which the state knows this much. Reads the store; writes nothing.
///
/// # Errors
/// Of kind config where what is asked for makes no sense for the job, else what the store says.
pub async fn preview(
    job: &Job,
    asked: &Rewind,
    state: &DatasetState,
    store: &dyn Store,
    now: Timestamp,
) -> Result<RewindPreview, RunError> {
    if let RewindKind::Rollback(to) = asked.what {
        return preview_rollback(job, asked, to, state, store, now).await;
    }
    let mut planned = plan(job, asked, state, now)?;
    let mut leaves = Current::default();
    if planned.empties || lost::matter(job, asked) {
        leaves = load_index(store, &job.dataset, Some((state.seq, &state.record_hash))).await?;
    }
    if !planned.empties {
        planned.lose(job, lost::of_table(store, &leaves).await?);
        leaves.files.retain(|path, _| planned.lost.contains(path));
    }
    let before = crate::plan::outline(job, &state.coverage, now);
    let after = crate::plan::outline(job, &planned.coverage, now);
    let sets = affected(job, asked)?.into_iter().filter(|set| !set.is_none()).collect();
    Ok(RewindPreview {
        job: job.name.to_string(),
        asked: asked.what.to_string(),
        sets,
        generation: if planned.changes { state.generation.max(1) + 1 } else { state.generation.max(1) },
        mark_before: mark_text(job, &state.coverage),
        mark_after: mark_text(job, &planned.coverage),
        slices: after.total(),
        slices_again: after.beyond(&before),
        files_removed: if planned.empties { leaves.files.len() } else { planned.lost.len() } as u64,
        rows_removed: leaves.files.values().map(|file| file.rows).sum(),
        bytes_removed: leaves.files.values().map(|file| file.bytes).sum(),
        files_back: 0,
        rows_back: 0,
        bytes_back: 0,
        definition_changes: definition_changes(job, state),
        is_so: !planned.changes,
    })
}

async fn preview_rollback(
    job: &Job,
    asked: &Rewind,
    to: Seq,
    state: &DatasetState,
    store: &dyn Store,
    now: Timestamp,
) -> Result<RewindPreview, RunError> {
    let planned = rollback::plan(job, to, state, store).await?;
    let before = crate::plan::outline(job, &state.coverage, now);
    let after = crate::plan::outline(job, &planned.coverage, now);
    let ((files_removed, rows_removed, bytes_removed), (files_back, rows_back, bytes_back)) = (planned.leave(), planned.back());
    Ok(RewindPreview {
        job: job.name.to_string(),
        asked: asked.what.to_string(),
        sets: Vec::new(),
        generation: if planned.changes { state.generation.max(1) + 1 } else { state.generation.max(1) },
        mark_before: mark_text(job, &state.coverage),
        mark_after: mark_text(job, &planned.coverage),
        slices: after.total(),
        slices_again: after.beyond(&before),
        files_removed,
        rows_removed,
        bytes_removed,
        files_back,
        rows_back,
        bytes_back,
        definition_changes: planned.definition_changes(job),
        is_so: !planned.changes,
    })
}

/// The log of a Delta table outlives its files: what a table is made of, and what a Delta table is partitioned by, does not change
/// where it stands.
fn keeps_its_log(job: &Job, state: &DatasetState) -> Result<(), RunError> {
    let now = fingerprint(job);
    let differs = |name: &str| state.fingerprint.get(name).map_or("", String::as_str) != now.get(name).map_or("", String::as_str);
    let is_partitioned_anew = job.sink.format == TableFormat::Delta && differs("partition_by");
    if !is_partitioned_anew && !differs(TABLE_FORMAT) {
        return Ok(());
    }
    Err(refused(format!(
        "the table {} does not become another kind of table, nor a Delta table one with other partitions: load into another table (`table = \"..\"`), or move its folder and `_highwater/{}` away",
        job.table, job.dataset
    )))
}

/// What a rewind comes to where this much is known. Pure.
///
/// # Errors
/// Of kind config where what is asked for makes no sense for the job.
pub fn plan(job: &Job, asked: &Rewind, state: &DatasetState, now: Timestamp) -> Result<RewindPlan, RunError> {
    let sets = affected(job, asked)?;
    let changes = definition_changes(job, state);
    let mut planned = match &asked.what {
        RewindKind::Full if !changes.is_empty() => {
            keeps_its_log(job, state)?;
            if let Some(set) = &asked.set {
                return Err(refused(format!(
                    "the definition of {} has changed ({}): the whole table is loaded anew, not `{set}` alone",
                    job.name,
                    changes.join("; ")
                )));
            }
            // Also of sets that are gone: their rows leave the table, so what they cover is covered no more.
            let known = state.coverage.partitions.keys().chain(&sets);
            let uncovers = known.map(|set| everything(job, &state.coverage, set)).collect();
            RewindPlan { uncovers, empties: true, ..RewindPlan::default() }
        }
        _ if !changes.is_empty() => {
            return Err(refused(format!(
                "the table {} was loaded differently: {}; `highwater run {} --full` loads it anew",
                job.table,
                changes.join("; "),
                job.name
            )));
        }
        // Every run reads all of it.
        RewindKind::Full if job.stream.window_cursor().is_none() || job.mode == Mode::Replace => RewindPlan::default(),
        RewindKind::Full => {
            let uncovers = sets.iter().map(|set| everything(job, &state.coverage, set)).collect();
            RewindPlan { uncovers, ..RewindPlan::default() }
        }
        RewindKind::Range { from, to } => range(job, &sets, &state.coverage, from.as_ref(), to.as_ref())?,
        RewindKind::Mark(bound) => set_mark(job, &sets, &state.coverage, bound, now)?,
        RewindKind::Rollback(_) => return Err(RunError::new(ErrorKind::Bug, "a rollback is planned from the log")),
    };
    planned.coverage = state.coverage.clone();
    planned.uncovers.iter().for_each(|cover| planned.coverage.forget(cover));
    planned.covers.iter().for_each(|cover| planned.coverage.add(cover));
    planned.changes = planned.coverage != state.coverage || planned.empties;
    let forgotten = |set: &PartitionKey| crate::plan::forgotten(job, set, &planned.coverage, now);
    if let (true, Some(forgotten)) = (planned.changes, sets.iter().find_map(forgotten)) {
        return Err(refused(format!(
            "the API looks back to {} (history_max), and this would be read from {} on: begin behind it, or read everything with --full",
            forgotten.horizon, forgotten.mark
        )));
    }
    if !planned.empties && sets.iter().any(|set| reads_again(&state.coverage, &planned.coverage, set)) {
        may_read_again(job)?;
    }
    Ok(planned)
}

/// Rows that are read again must be told apart from those that are there: a merge and a replacement do, an append by its key.
///
/// # Errors
/// Of kind config where they would be doubled.
pub fn may_read_again(job: &Job) -> Result<(), RunError> {
    if job.mode != Mode::Append || is_keyed(job) {
        return Ok(());
    }
    Err(refused(format!(
        "job {} appends rows that have no key, so rows that are read again would be there twice: give the stream a `primary_key`, or load into another table (`table = \"..\"`)",
        job.name
    )))
}

/// Whether something that was read is read again.
fn reads_again(before: &Coverage, after: &Coverage, set: &PartitionKey) -> bool {
    let back = match (before.cursor_mark(set), after.cursor_mark(set)) {
        (Some(before), Some(after)) => after.value < before.value || after.keys.len() < before.keys.len(),
        (Some(_), None) => true,
        (None, _) => false,
    };
    // Where another token leads to is not known.
    let back = back || before.token(set).is_some_and(|token| after.token(set) != Some(token));
    let left = |span: &Span| {
        after.spans(set).iter().fold(vec![*span], |left, known| left.iter().flat_map(|piece| piece.without(known)).collect())
    };
    back || before.spans(set).iter().any(|span| !left(span).is_empty())
}

fn definition_changes(job: &Job, state: &DatasetState) -> Vec<String> {
    match state.seq {
        // What was found empty before the first record binds nobody.
        0 => Vec::new(),
        _ => fingerprint_changes(&state.fingerprint, &fingerprint(job)),
    }
}

/// The sets that are meant.
fn affected(job: &Job, asked: &Rewind) -> Result<Vec<PartitionKey>, RunError> {
    let all: Vec<PartitionKey> = job.sets.iter().map(|set| set.partition.clone()).collect();
    let Some(wanted) = &asked.set else { return Ok(all) };
    if all.contains(wanted) && !wanted.is_none() {
        return Ok(vec![wanted.clone()]);
    }
    let known: Vec<String> = all.iter().filter(|set| !set.is_none()).take(5).map(|set| format!("`{set}`")).collect();
    let known = if known.is_empty() { "it has no `for_each`".to_owned() } else { format!("such as {}", known.join(", ")) };
    Err(refused(format!("job {} has no parameter set `{wanted}`: {known}", job.name)))
}

fn refused(message: String) -> RunError {
    RunError::new(ErrorKind::Config, message)
}

/// All that a set can have been read of.
pub(super) fn everything(job: &Job, coverage: &Coverage, set: &PartitionKey) -> Cover {
    let partition = set.clone();
    let cursor_type = job.stream.window_cursor().map(|cursor| cursor.cursor_type);
    match (coverage.partitions.get(set), cursor_type) {
        (Some(Covered::Mark(mark)), _) => Cover::Mark { partition, before: None, mark: mark.clone() },
        (Some(Covered::Token(token)), _) => Cover::Token { partition, before: None, token: token.clone() },
        // Nothing is known; what is uncovered is of the cursor's own kind all the same.
        (None, Some(CursorType::Integer)) => Cover::Mark { partition, before: None, mark: CursorMark::at(0i64) },
        (None, Some(CursorType::String)) => Cover::Mark { partition, before: None, mark: CursorMark::at("") },
        (None, Some(CursorType::Token)) => Cover::Token { partition, before: None, token: String::new() },
        _ => Cover::Span { partition, from: None, to: Timestamp::MAX },
    }
}

fn ordered(job: &Job, what: &str) -> Result<Cursor, RunError> {
    match (job.stream.window_cursor(), job.mode) {
        (None, _) => Err(refused(format!("{what}: the stream {} has no cursor: every run reads all of it", job.stream.name))),
        (_, Mode::Replace) => Err(refused(format!("{what}: job {} replaces its table: every run reads all of it", job.name))),
        (Some(cursor), _) => Ok(cursor.clone()),
    }
}

fn range(
    job: &Job,
    sets: &[PartitionKey],
    coverage: &Coverage,
    from: Option<&Bound>,
    to: Option<&Bound>,
) -> Result<RewindPlan, RunError> {
    let cursor = ordered(job, "--from, --to")?;
    if cursor.cursor_type == CursorType::Token {
        let message =
            "--from, --to: a token says nothing of when; `run --full` reads all of it, `state set --mark TOKEN` goes back to one";
        return Err(refused(message.to_owned()));
    }
    if cursor.cursor_type.has_mark() {
        return marked_range(&cursor, sets, coverage, from, to);
    }
    let from = from.map(|from| instant(&cursor, from, "--from", Round::Down)).transpose()?;
    let to = to.map(|to| instant(&cursor, to, "--to", Round::Up)).transpose()?.unwrap_or(Timestamp::MAX);
    if from.is_some_and(|from| from >= to) {
        return Err(refused("the range is empty: --from lies at or behind --to".to_owned()));
    }
    let uncovers = sets.iter().map(|set| Cover::Span { partition: set.clone(), from, to }).collect();
    Ok(RewindPlan { uncovers, ..RewindPlan::default() })
}

/// What has no closed time is read from its mark on, so only its mark can go back.
fn marked_range(
    cursor: &Cursor,
    sets: &[PartitionKey],
    coverage: &Coverage,
    from: Option<&Bound>,
    to: Option<&Bound>,
) -> Result<RewindPlan, RunError> {
    if to.is_some() {
        return Err(refused("--to: such a cursor is read from a value on, so there is no end to give".to_owned()));
    }
    let value = from.map(|from| value(cursor, from, "--from")).transpose()?;
    let mut planned = RewindPlan::default();
    for set in sets {
        let Some(mark) = coverage.cursor_mark(set).filter(|mark| value.as_ref().is_none_or(|value| *value <= mark.value)) else {
            continue;
        };
        planned.uncovers.push(Cover::Mark { partition: set.clone(), before: None, mark: mark.clone() });
        planned.covers.extend(value.clone().map(|value| at_value(set, value)));
    }
    Ok(planned)
}

fn at_value(set: &PartitionKey, value: CursorKey) -> Cover {
    Cover::Mark { partition: set.clone(), before: None, mark: CursorMark::at(value) }
}

fn set_mark(
    job: &Job,
    sets: &[PartitionKey],
    coverage: &Coverage,
    bound: &Bound,
    now: Timestamp,
) -> Result<RewindPlan, RunError> {
    let cursor = ordered(job, "--mark")?;
    let uncovers: Vec<Cover> = sets.iter().map(|set| everything(job, coverage, set)).collect();
    if cursor.cursor_type == CursorType::Token {
        let cover = |set: &PartitionKey| Cover::Token { partition: set.clone(), before: None, token: bound.to_string() };
        return Ok(RewindPlan { uncovers, covers: sets.iter().map(cover).collect(), ..RewindPlan::default() });
    }
    if cursor.cursor_type.has_mark() {
        let value = value(&cursor, bound, "--mark")?;
        let covers = sets.iter().map(|set| at_value(set, value.clone())).collect();
        return Ok(RewindPlan { uncovers, covers, ..RewindPlan::default() });
    }
    let mark = instant(&cursor, bound, "--mark", Round::Down)?;
    if mark > now {
        return Err(refused(format!("--mark: {mark} lies in the future: rows that come until then would never be read")));
    }
    let start = crate::plan::align_start(&cursor, job.window.start);
    // At the start and before it nothing is read yet.
    let covered = |set: &PartitionKey| Cover::Span { partition: set.clone(), from: start, to: mark };
    let covers = if start.is_some_and(|start| mark <= start) { Vec::new() } else { sets.iter().map(covered).collect() };
    Ok(RewindPlan { uncovers, covers, ..RewindPlan::default() })
}

#[derive(Clone, Copy)]
enum Round {
    Down,
    Up,
}

/// The instant that is meant. Of dates only whole days can be read; other cursors are compared in microseconds.
fn instant(cursor: &Cursor, bound: &Bound, option: &str, round: Round) -> Result<Timestamp, RunError> {
    let out_of_range = || refused(format!("{option}: {bound} lies beyond all time"));
    let at = match bound {
        Bound::Integer(_) => {
            return Err(refused(format!("{option}: the cursor `{}` is a point in time, not a number", cursor.field)));
        }
        Bound::Instant(at) => *at,
        Bound::Text(text) => text.parse().map_err(|_| {
            refused(format!(
                "{option}: `{text}` is neither an instant (2026-01-31T07:00:00Z) nor a day (2026-01-31), as the cursor `{}` is",
                cursor.field
            ))
        })?,
        Bound::Day(day) => day.to_zoned(cursor.timezone.clone()).map_err(|_| out_of_range())?.timestamp(),
    };
    let down = crate::plan::align_start(cursor, Some(at)).ok_or_else(out_of_range)?;
    match round {
        Round::Up if down < at && cursor.cursor_type == CursorType::Date => {
            let day = at.to_zoned(cursor.timezone.clone()).date().tomorrow().map_err(|_| out_of_range())?;
            Ok(day.to_zoned(cursor.timezone.clone()).map_err(|_| out_of_range())?.timestamp())
        }
        Round::Up if down < at => down.checked_add(jiff::SignedDuration::from_micros(1)).map_err(|_| out_of_range()),
        _ => Ok(down),
    }
}

fn value(cursor: &Cursor, bound: &Bound, option: &str) -> Result<CursorKey, RunError> {
    if cursor.cursor_type == CursorType::String {
        return Ok(CursorKey::Text(bound.to_string()));
    }
    match bound {
        Bound::Integer(value) => Ok(CursorKey::Number(*value)),
        Bound::Text(text) if text.parse::<i128>().is_ok() => Ok(CursorKey::Number(text.parse().unwrap_or_default())),
        other => Err(refused(format!("{option}: the cursor is a whole number, `{other}` is none"))),
    }
}

/// Decides a rewind on top of `head`, which is the new end of the log afterwards. Atomic like every record, and safe to repeat: what
/// a crash leaves of it is settled by the next run, and asking again for what is so already changes nothing.
pub(super) async fn rewind(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    asked: &Rewind,
    head: &mut Head,
    index: &mut Option<Current>,
    report: &mut RunReport,
) -> Result<(), RunError> {
    for _ in 0..RIVALS_MAX {
        let Some((record, note)) = propose(job, ports, asked, head, index).await? else {
            report.rewound = Some(format!("{}: it was so already", asked.what));
            return Ok(());
        };
        let (verdict, new_head) = decide(job, ports, lease, head, record, index).await?;
        match verdict {
            Verdict::Committed => {
                *head = new_head;
                audit(job, ports, &note).await;
                report.rewound = Some(note);
                return Ok(());
            }
            Verdict::Lost { .. } | Verdict::StagedLost => *head = settle::settle(job, ports, lease, index, report).await?,
            verdict => return Err(unfinished(verdict, "the rewind")),
        }
    }
    Err(RunError::new(ErrorKind::Conflict, format!("another writer commits to {} all the time", job.dataset)))
}

/// The record that does what was asked, and the audit line; `None` where it is so already.
async fn propose(
    job: &Job,
    ports: &Ports,
    asked: &Rewind,
    head: &Head,
    index: &mut Option<Current>,
) -> Result<Option<(Record, String)>, RunError> {
    if let RewindKind::Rollback(to) = asked.what {
        let planned = rollback::plan(job, to, &head.state, ports.store.as_ref()).await?;
        if !planned.changes {
            return Ok(None);
        }
        let ((files, rows, _), (files_back, rows_back, _)) = (planned.leave(), planned.back());
        let did = format!(", of files {files} left with {rows} rows, and {files_back} came back with {rows_back}");
        let note = note(job, asked, head, &planned.coverage, &did);
        return Ok(Some((rollback::record(job, ports, &head.state, planned, note.clone()), note)));
    }
    let mut planned = plan(job, asked, &head.state, ports.clock.now())?;
    if !planned.empties && lost::matter(job, asked) {
        let store = ports.store.as_ref();
        planned.lose(job, lost::of_table(store, index_at(store, &job.dataset, head, index).await?).await?);
    }
    if !planned.changes {
        return Ok(None);
    }
    if planned.empties && !asked.may_empty {
        let message = format!(
            "the table {} would be emptied, which was not so when this was confirmed: look again and confirm it",
            job.table
        );
        return Err(RunError::new(ErrorKind::Conflict, message));
    }
    if planned.lost.len() as u64 > asked.may_lose {
        let message = format!(
            "{} files of the table {} are not in the lake any more, or of another size, such as `{}`, and not as many were so when this was confirmed: look again and confirm it",
            planned.lost.len(),
            job.table,
            planned.lost.first().map(String::as_str).unwrap_or_default()
        );
        return Err(RunError::new(ErrorKind::Conflict, message));
    }
    let did = match planned.lost.len() {
        _ if planned.empties => ", the table was emptied".to_owned(),
        0 => String::new(),
        1 => ", a file that was lost left the table".to_owned(),
        lost => format!(", {lost} files that were lost left the table"),
    };
    let note = note(job, asked, head, &planned.coverage, &did);
    Ok(Some((record(job, ports, head, planned, note.clone(), index).await?, note)))
}

async fn record(
    job: &Job,
    ports: &Ports,
    head: &Head,
    planned: RewindPlan,
    note: String,
    index: &mut Option<Current>,
) -> Result<Record, RunError> {
    let last = head.record.as_ref().filter(|_| !planned.empties);
    let remove = match planned.empties {
        true => {
            let index = index_at(ports.store.as_ref(), &job.dataset, head, index).await?;
            index.files.keys().chain(index.tombstones.keys()).chain(index.parents.keys()).cloned().collect()
        }
        false => planned.lost.into_iter().collect(),
    };
    let blank = blank(job, ports, &head.state, RecordKind::Rewind, ports.clock.batch_id());
    Ok(Record {
        generation: blank.generation + 1,
        covers: planned.covers,
        uncovers: planned.uncovers,
        read_schema: last.map_or_else(TableSchema::default, |record| record.read_schema.clone()),
        schema: last.map_or_else(TableSchema::default, |record| record.schema.clone()),
        remove,
        note: Some(note),
        ..blank
    })
}

/// The audit line.
fn note(job: &Job, asked: &Rewind, head: &Head, after: &Coverage, did: &str) -> String {
    let set = asked.set.as_ref().map(|set| format!(" --set {set}")).unwrap_or_default();
    let why = asked.why.as_ref().map(|why| format!(", because: {why}")).unwrap_or_default();
    let (before, after) = (mark_text(job, &head.state.coverage), mark_text(job, after));
    let text = |mark: Option<String>| mark.unwrap_or_else(|| "none".to_owned());
    format!(
        "{}{set}, asked for by {}{why}: generation {}, mark {} before and {} after{did}",
        asked.what,
        asked.asked_by,
        head.state.generation.max(1) + 1,
        text(before),
        text(after)
    )
}

async fn audit(job: &Job, ports: &Ports, note: &str) {
    tracing::info!(job.id = %job.name, "{}: {note}", job.name);
    ports.keep_event(job, "audit", note).await;
}

/// What a rewind alone leaves to tell.
pub(super) fn conclude(job: &Job, head: &Head, report: &mut RunReport) {
    report.mark = mark_text(job, &head.state.coverage);
    report.marks = marks(job, &head.state.coverage);
}

#[cfg(test)]
mod tests;
