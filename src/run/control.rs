//! After a run: what happened goes into the control tables beside the log, for who asks in SQL. A run is as good without it: what
//! cannot be written now is written after a later one, from the state and from the log.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::catalog::Job;
use crate::error::chain;
use crate::ids::Seq;
use crate::schema::TableSchema;
use crate::sink::control::{Control, ControlTable, rows_of, run_key, schema_change_rows, schema_changes, seq_key};
use crate::sink::record::Record;
use crate::sink::{SinkError, layout};
use crate::state::RunRow;

use super::{Ports, RunError};

/// Runs that change nothing wait for one that does, or for so long.
const WAIT: SignedDuration = SignedDuration::from_hours(1);
/// Runs that are looked at: what is older and was not written is in the state alone.
const RUNS_MAX: u32 = 100;
/// Records that are looked at after one run; the next one goes on.
const RECORDS_MAX: u64 = 200;

/// Writes which runs are missing in `runs`. `row` is the run that has just ended, as the state has it.
pub(super) async fn write_runs(job: &Job, ports: &Ports, row: &RunRow) {
    if let Err(error) = Box::pin(try_write_runs(job, ports, row)).await {
        tracing::warn!(job.id = %job.name, error = %chain(&error), "{}: `runs` is written later", job.name);
    }
}

/// Writes which records are missing in `schema_changes`, of a run that committed some.
pub(super) async fn write_schema_changes(job: &Job, ports: &Ports) {
    if let Err(error) = Box::pin(try_write_schema_changes(job, ports)).await {
        tracing::warn!(job.id = %job.name, error = %chain(&error), "{}: `schema_changes` is written later", job.name);
    }
}

async fn try_write_runs(job: &Job, ports: &Ports, row: &RunRow) -> Result<(), RunError> {
    let runs = ports.state.runs(Some(&job.name), RUNS_MAX).await?;
    let hour = |at: Timestamp| at.as_second().div_euclid(3_600);
    let is_first_of_hour = runs.get(1).is_some_and(|before| hour(before.started_at) != hour(row.started_at));
    let known = known(job, ports).await?;
    if known == 0 || row.commits == 0 && !(is_first_of_hour && has_record(job, ports, known).await?) {
        return Ok(());
    }
    let mut control = Control::open(&ports.store, &job.dataset, ControlTable::Runs).await?;
    let key = |run: &RunRow| run_key(run.started_at, run.run);
    let mut missing: Vec<RunRow> = runs.into_iter().filter(|run| run.status != "running" && !control.has(&key(run))).collect();
    missing.sort_by_key(key);
    let old = |run: &RunRow| ports.clock.now().duration_since(run.started_at) >= WAIT;
    if !missing.iter().any(|run| run.commits > 0) && !missing.first().is_some_and(old) {
        return Ok(());
    }
    let (Some(first), Some(last)) = (missing.first().map(key), missing.last().map(key)) else { return Ok(()) };
    control.add(&first, &last, &run_rows(job, &missing)?).await?;
    Ok(control.fold().await?)
}

fn run_rows(job: &Job, runs: &[RunRow]) -> Result<arrow::array::RecordBatch, SinkError> {
    let text =
        |value: &dyn Fn(&RunRow) -> Option<String>| -> ArrayRef { Arc::new(runs.iter().map(value).collect::<StringArray>()) };
    let number = |value: fn(&RunRow) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(runs.iter().map(|run| i64::try_from(value(run)).unwrap_or(i64::MAX))))
    };
    let time = |value: fn(&RunRow) -> Option<Timestamp>| -> ArrayRef {
        let micros = runs.iter().map(|run| value(run).map(Timestamp::as_microsecond));
        Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    rows_of(vec![
        ("run", text(&|run| Some(run.run.to_string()))),
        ("job", text(&|run| Some(run.job.to_string()))),
        ("table", text(&|_| Some(job.table.clone()))),
        ("status", text(&|run| Some(run.status.clone()))),
        ("started_at", time(|run| Some(run.started_at))),
        ("finished_at", time(|run| run.finished_at)),
        ("fetched", number(|run| run.counts.fetched)),
        ("kept", number(|run| run.counts.kept)),
        ("filtered", number(|run| run.counts.filtered)),
        ("rejected", number(|run| run.counts.rejected)),
        ("out_of_window", number(|run| run.counts.out_of_window)),
        ("duplicate", number(|run| run.counts.duplicate)),
        ("unchanged", number(|run| run.counts.unchanged)),
        ("deleted", number(|run| run.counts.deleted)),
        ("requests", number(|run| run.requests)),
        ("bytes", number(|run| run.bytes)),
        ("files", number(|run| run.files)),
        ("commits", number(|run| run.commits)),
        ("error", text(&|run| run.error.clone())),
    ])
}

/// How far the log was looked through for changes of columns.
#[derive(Default, Serialize, Deserialize)]
struct Looked {
    seq: Seq,
}

/// The last record that the state knows of; 0 before the first.
async fn known(job: &Job, ports: &Ports) -> Result<Seq, RunError> {
    Ok(ports.state.dataset(&job.dataset).await?.map_or(0, |state| state.seq))
}

/// Whether a record is there: where it is not, this is hardly the lake.
async fn has_record(job: &Job, ports: &Ports, seq: Seq) -> Result<bool, RunError> {
    let size = ports.store.size(&layout::record(&job.dataset, seq)).await.map_err(SinkError::from)?;
    Ok(size.is_some())
}

/// Goes over the records since the last time; where that is not known, over all of them, which writes nothing twice.
async fn try_write_schema_changes(job: &Job, ports: &Ports) -> Result<(), RunError> {
    let last = known(job, ports).await?;
    if last == 0 {
        return Ok(());
    }
    let store = ports.store.as_ref();
    let path = layout::looked(&job.dataset, ControlTable::SchemaChanges.name());
    let found = store.get(&path, layout::SMALL_OBJECT_MAX).await.map_err(SinkError::from)?;
    let looked: Looked = found.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    // A log that begins anew is looked through anew.
    let from = if looked.seq > last { 0 } else { looked.seq };
    let to = last.min(from + RECORDS_MAX);
    let mut before = match from {
        0 => TableSchema::default(),
        seq => read(job, ports, seq).await?.schema,
    };
    let mut control = None;
    for seq in from + 1..=to {
        let record = read(job, ports, seq).await?;
        let changes = schema_changes(&before, &record.schema);
        if !changes.is_empty() {
            let control = match &mut control {
                Some(control) => control,
                None => control.insert(Control::open(&ports.store, &job.dataset, ControlTable::SchemaChanges).await?),
            };
            let key = seq_key(seq);
            if !control.has(&key) {
                control.add(&key, &key, &schema_change_rows(&record, &changes)?).await?;
                control.fold().await?;
            }
        }
        before = record.schema;
    }
    let bytes = serde_json::to_vec(&Looked { seq: to }).map_err(|error| SinkError::bug(error.to_string()))?;
    Ok(store.put(&path, bytes.into()).await.map_err(SinkError::from)?)
}

async fn read(job: &Job, ports: &Ports, seq: Seq) -> Result<Record, RunError> {
    let bytes = ports.store.get(&layout::record(&job.dataset, seq), layout::SMALL_OBJECT_MAX).await.map_err(SinkError::from)?;
    let bytes = bytes.ok_or_else(|| SinkError::data(format!("record {seq} of the log of {} is missing", job.dataset)))?;
    Ok(Record::from_bytes(&bytes, &job.dataset, seq)?)
}
