//! Runs and events, the newest of each job.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::errors::{state_error, value_error};
use super::{PostgresState, key_of, plain};
use crate::ids::{JobName, RunId};
use crate::state::values::{from_integer, from_json, from_text, to_integer, to_json, to_text};
use crate::state::{EventRow, HISTORY_MAX, RunRow, StateError};

pub(super) async fn note_run(state: &PostgresState, action: &str, run: &RunRow) -> Result<(), StateError> {
    let bad = |message: String| value_error(action, message);
    let counts = to_json(&run.counts).map_err(bad)?;
    let integer = |value: u64| to_integer(value).map_err(bad);
    let (requests, bytes) = (integer(run.requests)?, integer(run.bytes)?);
    let (files, commits) = (integer(run.files)?, integer(run.commits)?);
    let noted = state.ask(action, || {
        sqlx::query(
            "INSERT INTO runs (run, job, process, started_at, finished_at, status, counts_json, requests, bytes, files, commits, error)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (run) DO UPDATE SET job = $2, process = $3, started_at = $4, finished_at = $5, status = $6,
                 counts_json = $7, requests = $8, bytes = $9, files = $10, commits = $11, error = $12",
        )
        .bind(run.run.to_string())
        .bind(run.job.as_str())
        .bind(&state.process)
        .bind(to_text(run.started_at))
        .bind(run.finished_at.map(to_text))
        .bind(&run.status)
        .bind(&counts)
        .bind(requests)
        .bind(bytes)
        .bind(files)
        .bind(commits)
        .bind(run.error.as_deref().map(plain))
        .execute(&state.pool)
    });
    noted.await?;
    // Without as many rows the comparison is with nothing, and nothing goes.
    let gone = state.ask(action, || {
        sqlx::query(
            "DELETE FROM runs WHERE job = $1 AND (started_at, run) < (
                 SELECT started_at, run FROM runs WHERE job = $1 ORDER BY started_at DESC, run DESC LIMIT 1 OFFSET $2)",
        )
        .bind(run.job.as_str())
        .bind(i64::from(HISTORY_MAX) - 1)
        .execute(&state.pool)
    });
    gone.await.map(drop)
}

/// A run that another process left running is over once that process holds no lease any more.
const ROWS: &str = "SELECT *, (status = 'running' AND process <> $1 AND NOT EXISTS (
         SELECT FROM dataset WHERE dataset.process = runs.process AND lease_until > clock_timestamp())) AS cut_off FROM runs";

pub(super) async fn runs(state: &PostgresState, job: Option<&JobName>, limit: u32) -> Result<Vec<RunRow>, StateError> {
    let action = "read the runs";
    let text = format!("{ROWS} WHERE $2::text IS NULL OR job = $2 ORDER BY started_at DESC, run DESC LIMIT $3");
    let rows = state.ask(action, || {
        sqlx::query(sqlx::AssertSqlSafe(text.as_str()))
            .bind(&state.process)
            .bind(job.map(JobName::as_str))
            .bind(i64::from(limit))
            .fetch_all(&state.pool)
    });
    rows.await?.iter().map(|row| read_run(action, row)).collect()
}

fn read_run(action: &str, row: &PgRow) -> Result<RunRow, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let bad = |message: String| value_error(action, message);
    let number = |column: &str| from_integer(row.try_get(column).map_err(sql)?).map_err(bad);
    let run: &str = row.try_get("run").map_err(sql)?;
    let run = Uuid::parse_str(run).map_err(|_| bad(format!("the state holds `{run}` for a run")))?;
    let finished_at: Option<&str> = row.try_get("finished_at").map_err(sql)?;
    let mut read = RunRow {
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
    };
    if row.try_get("cut_off").map_err(sql)? {
        read.status = "failed".to_owned();
        read.error = Some("the process ended before the run did".to_owned());
    }
    Ok(read)
}

pub(super) async fn note_event(
    state: &PostgresState,
    at: Timestamp,
    job: Option<&JobName>,
    kind: &str,
    text: &str,
) -> Result<(), StateError> {
    let action = "note an event";
    let (job, text) = (job.map_or("", JobName::as_str), plain(text));
    let noted = state.ask(action, || {
        sqlx::query("INSERT INTO events (at, job, kind, text, text_key) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING")
            .bind(to_text(at))
            .bind(job)
            .bind(kind)
            .bind(text.as_ref())
            .bind(key_of(&text))
            .execute(&state.pool)
    });
    noted.await?;
    let gone = state.ask(action, || {
        sqlx::query(
            "DELETE FROM events WHERE job = $1 AND at < (
                 SELECT at FROM events WHERE job = $1 ORDER BY at DESC LIMIT 1 OFFSET $2)",
        )
        .bind(job)
        .bind(i64::from(HISTORY_MAX) - 1)
        .execute(&state.pool)
    });
    gone.await.map(drop)
}

pub(super) async fn events(state: &PostgresState, job: Option<&JobName>, limit: u32) -> Result<Vec<EventRow>, StateError> {
    let action = "read the events";
    let rows = state.ask(action, || {
        sqlx::query("SELECT * FROM events WHERE $1::text IS NULL OR job = $1 ORDER BY at DESC, id DESC LIMIT $2")
            .bind(job.map(JobName::as_str))
            .bind(i64::from(limit))
            .fetch_all(&state.pool)
    });
    rows.await?.iter().map(|row| read_event(action, row)).collect()
}

fn read_event(action: &str, row: &PgRow) -> Result<EventRow, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let job: String = row.try_get("job").map_err(sql)?;
    Ok(EventRow {
        at: from_text(row.try_get("at").map_err(sql)?).map_err(|message| value_error(action, message))?,
        job: if job.is_empty() { None } else { Some(JobName::new(job)) },
        kind: row.try_get("kind").map_err(sql)?,
        text: row.try_get("text").map_err(sql)?,
    })
}

pub(super) async fn last_done(state: &PostgresState, jobs: &[JobName]) -> Result<BTreeMap<JobName, Timestamp>, StateError> {
    let action = "read when runs last ended well";
    let names: Vec<&str> = jobs.iter().map(JobName::as_str).collect();
    let found: Vec<(String, String)> = state
        .ask(action, || {
            sqlx::query_as(
                "SELECT asked.job, done.started_at FROM unnest($1::text[]) AS asked (job), LATERAL (SELECT started_at FROM runs
                 WHERE runs.job = asked.job AND status = 'done' ORDER BY started_at DESC, run DESC LIMIT 1) AS done",
            )
            .bind(&names)
            .fetch_all(&state.pool)
        })
        .await?;
    let read = |(job, done): (String, String)| Ok((JobName::new(job), from_text(&done)?));
    found.into_iter().map(read).collect::<Result<_, String>>().map_err(|message| value_error(action, message))
}
