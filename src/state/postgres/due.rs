//! When jobs were due and will be.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{QueryBuilder, Row};

use super::errors::{state_error, value_error};
use super::{PostgresState, plain};
use crate::ids::{ClaimId, JobName};
use crate::state::values::{from_text, to_text};
use crate::state::{DueTimes, StateError};

/// Claims that are remembered of each job.
const CLAIMS_MAX: i64 = 100;
/// Rows that are written by one statement; each has seven values, and Postgres takes 65,535 at most.
const ROWS_AT_ONCE: usize = 500;

pub(super) async fn all(state: &PostgresState) -> Result<Vec<(JobName, DueTimes)>, StateError> {
    let action = "read the due times";
    let rows = state.ask(action, || sqlx::query("SELECT * FROM due ORDER BY job").fetch_all(&state.pool)).await?;
    rows.iter().map(|row| read(action, row)).collect()
}

fn read(action: &str, row: &PgRow) -> Result<(JobName, DueTimes), StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let instant = |column: &str| {
        let text: Option<&str> = row.try_get(column).map_err(sql)?;
        text.map(from_text).transpose().map_err(|message| value_error(action, message))
    };
    let owed_after: Option<String> = row.try_get("owed_after").map_err(sql)?;
    let known = DueTimes {
        last_due: instant("last_due")?,
        next_due: instant("next_due")?,
        schedule: row.try_get("schedule").map_err(sql)?,
        owed_after: owed_after.map(JobName::new),
        parked_until: instant("parked_until")?,
        parked_reason: row.try_get("parked_reason").map_err(sql)?,
    };
    Ok((JobName::new(row.try_get::<String, _>("job").map_err(sql)?), known))
}

pub(super) async fn set(state: &PostgresState, rows: &[(JobName, DueTimes)]) -> Result<(), StateError> {
    // In one order, or two daemons that write the same jobs would wait for each other.
    let mut sorted: Vec<&(JobName, DueTimes)> = rows.iter().collect();
    sorted.sort_by(|one, other| one.0.cmp(&other.0));
    state.ask("note the due times", || set_all(state, &sorted)).await
}

async fn set_all(state: &PostgresState, rows: &[&(JobName, DueTimes)]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut transaction = state.pool.begin().await?;
    for part in rows.chunks(ROWS_AT_ONCE) {
        let mut query = QueryBuilder::new(
            "INSERT INTO due (job, last_due, next_due, schedule, owed_after, parked_until, parked_reason, claim) ",
        );
        query.push_values(part, |mut row, (job, known)| {
            row.push_bind(job.as_str())
                .push_bind(known.last_due.map(to_text))
                .push_bind(known.next_due.map(to_text))
                .push_bind(&known.schedule)
                .push_bind(known.owed_after.as_ref().map(JobName::as_str))
                .push_bind(known.parked_until.map(to_text))
                .push_bind(known.parked_reason.as_deref().map(plain))
                .push("NULL");
        });
        query.push(
            " ON CONFLICT (job) DO UPDATE SET last_due = excluded.last_due, next_due = excluded.next_due, \
             schedule = excluded.schedule, owed_after = excluded.owed_after, parked_until = excluded.parked_until, \
             parked_reason = excluded.parked_reason, claim = NULL",
        );
        query.build().execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

pub(super) async fn claim(
    state: &PostgresState,
    job: &JobName,
    due_at: Timestamp,
    claim: ClaimId,
    next_due: Option<Timestamp>,
) -> Result<bool, StateError> {
    let action = format!("claim the due time {due_at} of {job}");
    // `taken` sees what was claimed before it began to wait for a row; the index of `claimed` sees all, so what stands there counts.
    let taken: i64 = state
        .ask(&action, || {
            sqlx::query_scalar(
                "WITH taken AS (
                     UPDATE due SET last_due = $2, claim = $3, next_due = $4, owed_after = NULL, parked_until = NULL,
                         parked_reason = NULL
                     WHERE job = $1 AND (last_due IS NULL OR last_due < $2 OR (last_due = $2 AND claim = $3))
                         AND NOT EXISTS (SELECT FROM claimed WHERE job = $1 AND due_at = $2 AND claim <> $3)
                     RETURNING job),
                 noted AS (
                     INSERT INTO claimed AS c (job, due_at, claim) SELECT job, $2, $3 FROM taken
                     ON CONFLICT (job, due_at) DO UPDATE SET claim = $3 WHERE c.claim = $3
                     RETURNING job),
                 gone AS (
                     DELETE FROM claimed WHERE job = $1 AND due_at < (
                         SELECT due_at FROM claimed WHERE job = $1 ORDER BY due_at DESC LIMIT 1 OFFSET $5))
                 SELECT count(*) FROM noted",
            )
            .bind(job.as_str())
            .bind(to_text(due_at))
            .bind(claim.to_string())
            .bind(next_due.map(to_text))
            .bind(CLAIMS_MAX)
            .fetch_one(&state.pool)
        })
        .await?;
    Ok(taken == 1)
}

pub(super) async fn forget(state: &PostgresState, jobs: &[JobName]) -> Result<(), StateError> {
    let jobs: Vec<&str> = jobs.iter().map(JobName::as_str).collect();
    let done = state.ask("forget due times", || {
        sqlx::query("WITH claims AS (DELETE FROM claimed WHERE job = ANY($1)) DELETE FROM due WHERE job = ANY($1)")
            .bind(&jobs)
            .execute(&state.pool)
    });
    done.await.map(drop)
}
