//! When jobs were due and will be.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row};

use super::errors::{state_error, value_error};
use super::{Flush, SqliteState, commit};
use crate::ids::{ClaimId, JobName};
use crate::state::values::{from_text, to_text};
use crate::state::{DueTimes, StateError};

/// Rows that are written by one statement; each has seven values, and SQLite takes 32,766 at most.
const ROWS_AT_ONCE: usize = 500;

pub(super) async fn all(state: &SqliteState) -> Result<Vec<(JobName, DueTimes)>, StateError> {
    let action = "read the due times";
    let rows = sqlx::query("SELECT * FROM due ORDER BY job").fetch_all(&state.pool).await;
    rows.map_err(|error| state_error(action, &error))?.iter().map(|row| read(action, row)).collect()
}

fn read(action: &str, row: &SqliteRow) -> Result<(JobName, DueTimes), StateError> {
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

pub(super) async fn set(state: &SqliteState, rows: &[(JobName, DueTimes)]) -> Result<(), StateError> {
    let action = "note the due times";
    let mut transaction = state.begin(action, Flush::Now).await?;
    for part in rows.chunks(ROWS_AT_ONCE) {
        let mut query = QueryBuilder::new(
            "INSERT OR REPLACE INTO due (job, last_due, next_due, schedule, owed_after, parked_until, parked_reason, claim) ",
        );
        query.push_values(part, |mut row, (job, known)| {
            row.push_bind(job.as_str())
                .push_bind(known.last_due.map(to_text))
                .push_bind(known.next_due.map(to_text))
                .push_bind(&known.schedule)
                .push_bind(known.owed_after.as_ref().map(JobName::as_str))
                .push_bind(known.parked_until.map(to_text))
                .push_bind(&known.parked_reason)
                .push("NULL");
        });
        query.build().execute(&mut *transaction).await.map_err(|error| state_error(action, &error))?;
    }
    commit(action, transaction).await
}

pub(super) async fn claim(
    state: &SqliteState,
    job: &JobName,
    due_at: Timestamp,
    claim: ClaimId,
    next_due: Option<Timestamp>,
) -> Result<bool, StateError> {
    let action = format!("claim the due time {due_at} of {job}");
    let mut transaction = state.begin(&action, Flush::Now).await?;
    let done = sqlx::query(
        "UPDATE due SET last_due = ?2, claim = ?3, next_due = ?4, owed_after = NULL, parked_until = NULL, parked_reason = NULL
         WHERE job = ?1 AND (last_due IS NULL OR last_due < ?2 OR (last_due = ?2 AND claim = ?3))",
    )
    .bind(job.as_str())
    .bind(to_text(due_at))
    .bind(claim.to_string())
    .bind(next_due.map(to_text))
    .execute(&mut *transaction)
    .await
    .map_err(|error| state_error(&action, &error))?;
    commit(&action, transaction).await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn forget(state: &SqliteState, jobs: &[JobName]) -> Result<(), StateError> {
    let action = "forget due times";
    let mut transaction = state.begin(action, Flush::Now).await?;
    for job in jobs {
        sqlx::query("DELETE FROM due WHERE job = ?1")
            .bind(job.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(|error| state_error(action, &error))?;
    }
    commit(action, transaction).await
}
