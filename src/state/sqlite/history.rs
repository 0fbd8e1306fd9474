//! Runs and events, the newest of each job.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::errors::{state_error, value_error};
use super::{Flush, SqliteState, commit};
use crate::ids::{JobName, RunId};
use crate::state::values::{from_integer, from_json, from_text, to_integer, to_json, to_text};
use crate::state::{EventRow, HISTORY_MAX, RunRow, StateError};

pub(super) async fn note_run(state: &SqliteState, action: &str, run: &RunRow, flush: Flush) -> Result<(), StateError> {
    let bad = |message: String| value_error(action, message);
    let counts = to_json(&run.counts).map_err(bad)?;
    let [requests, bytes, files, commits] = [run.requests, run.bytes, run.files, run.commits].map(to_integer);
    let mut transaction = state.begin(action, flush).await?;
    sqlx::query(
        "INSERT OR REPLACE INTO runs (run, job, started_at, finished_at, status, counts_json, requests, bytes, files, commits, error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )
    .bind(run.run.to_string())
    .bind(run.job.as_str())
    .bind(to_text(run.started_at))
    .bind(run.finished_at.map(to_text))
    .bind(&run.status)
    .bind(counts)
    .bind(requests.map_err(bad)?)
    .bind(bytes.map_err(bad)?)
    .bind(files.map_err(bad)?)
    .bind(commits.map_err(bad)?)
    .bind(&run.error)
    .execute(&mut *transaction)
    .await
    .map_err(|error| state_error(action, &error))?;
    // Without as many rows the comparison is with nothing, and nothing goes.
    sqlx::query(
        "DELETE FROM runs WHERE job = ?1 AND (started_at, run) < (
             SELECT started_at, run FROM runs WHERE job = ?1 ORDER BY started_at DESC, run DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(run.job.as_str())
    .bind(HISTORY_MAX - 1)
    .execute(&mut *transaction)
    .await
    .map_err(|error| state_error(action, &error))?;
    commit(action, transaction).await
}

/// Runs that nobody finished, by the time the file lock is ours, ended with their process.
pub(super) async fn bury_runs(state: &SqliteState) -> Result<(), StateError> {
    let action = "note which runs were cut off";
    let mut transaction = state.begin(action, Flush::Now).await?;
    sqlx::query("UPDATE runs SET status = 'failed', error = 'the process ended before the run did' WHERE status = 'running'")
        .execute(&mut *transaction)
        .await
        .map_err(|error| state_error(action, &error))?;
    commit(action, transaction).await
}

pub(super) async fn runs(state: &SqliteState, job: Option<&JobName>, limit: u32) -> Result<Vec<RunRow>, StateError> {
    let action = "read the runs";
    let query = match job {
        Some(job) => sqlx::query("SELECT * FROM runs WHERE job = ?2 ORDER BY started_at DESC, run DESC LIMIT ?1")
            .bind(limit)
            .bind(job.as_str()),
        None => sqlx::query("SELECT * FROM runs ORDER BY started_at DESC, run DESC LIMIT ?1").bind(limit),
    };
    let rows = query.fetch_all(&state.pool).await.map_err(|error| state_error(action, &error))?;
    rows.iter().map(|row| read_run(action, row)).collect()
}

fn read_run(action: &str, row: &SqliteRow) -> Result<RunRow, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let bad = |message: String| value_error(action, message);
    let number = |column: &str| from_integer(row.try_get(column).map_err(sql)?).map_err(bad);
    let run: &str = row.try_get("run").map_err(sql)?;
    let run = Uuid::parse_str(run).map_err(|_| bad(format!("the state holds `{run}` for a run")))?;
    let finished_at: Option<&str> = row.try_get("finished_at").map_err(sql)?;
    Ok(RunRow {
        run: RunId(run),
        job: JobName::new(row.try_get::<String, _>("job").map_err(sql)?),
        started_at: from_text(row.try_get("started_at").map_err(sql)?).map_err(bad)?,
        finished_at: finished_at.map(from_text).transpose().map_err(bad)?,
        status: row.try_get("status").map_err(sql)?,
        counts: from_json(row.try_get("counts_json").map_err(sql)?).map_err(bad)?,
        requests: number("requests")?,
        bytes: number("bytes")?,
        files: number("files")?,
        commits: number("commits")?,
        error: row.try_get("error").map_err(sql)?,
    })
}

pub(super) async fn note_event(state: &SqliteState, event: EventRow) -> Result<(), StateError> {
    let action = "note an event";
    let job = event.job.as_ref().map_or("", JobName::as_str);
    let mut transaction = state.begin(action, Flush::WithTheNext).await?;
    sqlx::query("INSERT OR IGNORE INTO events (at, job, kind, text) VALUES (?1, ?2, ?3, ?4)")
        .bind(to_text(event.at))
        .bind(job)
        .bind(&event.kind)
        .bind(&event.text)
        .execute(&mut *transaction)
        .await
        .map_err(|error| state_error(action, &error))?;
    sqlx::query(
        "DELETE FROM events WHERE job = ?1 AND at < (
             SELECT at FROM events WHERE job = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(job)
    .bind(HISTORY_MAX - 1)
    .execute(&mut *transaction)
    .await
    .map_err(|error| state_error(action, &error))?;
    commit(action, transaction).await
}

pub(super) async fn events(state: &SqliteState, job: Option<&JobName>, limit: u32) -> Result<Vec<EventRow>, StateError> {
    let action = "read the events";
    let query = match job {
        Some(job) => {
            sqlx::query("SELECT * FROM events WHERE job = ?2 ORDER BY at DESC, id DESC LIMIT ?1").bind(limit).bind(job.as_str())
        }
        None => sqlx::query("SELECT * FROM events ORDER BY at DESC, id DESC LIMIT ?1").bind(limit),
    };
    let rows = query.fetch_all(&state.pool).await.map_err(|error| state_error(action, &error))?;
    rows.iter().map(|row| read_event(action, row)).collect()
}

fn read_event(action: &str, row: &SqliteRow) -> Result<EventRow, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let job: String = row.try_get("job").map_err(sql)?;
    Ok(EventRow {
        at: from_text(row.try_get("at").map_err(sql)?).map_err(|message| value_error(action, message))?,
        job: if job.is_empty() { None } else { Some(JobName::new(job)) },
        kind: row.try_get("kind").map_err(sql)?,
        text: row.try_get("text").map_err(sql)?,
    })
}

pub(super) async fn last_done(state: &SqliteState, jobs: &[JobName]) -> Result<BTreeMap<JobName, Timestamp>, StateError> {
    let action = "read when runs last ended well";
    // One statement for all: a daemon may have ten thousand jobs.
    let query = "SELECT value AS job, (SELECT started_at FROM runs WHERE job = value AND status = 'done' ORDER BY started_at DESC, run DESC LIMIT 1)
         AS done FROM json_each(?1) WHERE done IS NOT NULL";
    let names: Vec<&str> = jobs.iter().map(JobName::as_str).collect();
    let names = serde_json::to_string(&names).map_err(|error| value_error(action, error.to_string()))?;
    let found: Vec<(String, String)> =
        sqlx::query_as(query).bind(names).fetch_all(&state.pool).await.map_err(|error| state_error(action, &error))?;
    let read = |(job, done): (String, String)| Ok((JobName::new(job), from_text(&done)?));
    found.into_iter().map(read).collect::<Result<_, String>>().map_err(|message| value_error(action, message))
}
