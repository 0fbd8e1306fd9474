//! What is wrong, and what whom was told of it.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::errors::{state_error, value_error};
use super::{Flush, SqliteState, commit};
use crate::ids::JobName;
use crate::state::values::{from_json, from_text, to_json, to_text};
use crate::state::{Condition, ConditionKey, StateError};

pub(super) async fn all(state: &SqliteState) -> Result<Vec<Condition>, StateError> {
    let action = "read what is wrong";
    let rows = sqlx::query("SELECT * FROM condition ORDER BY job, kind, detail")
        .fetch_all(&state.pool)
        .await
        .map_err(|error| state_error(action, &error))?;
    rows.iter().map(|row| read(action, row)).collect()
}

pub(super) async fn put(state: &SqliteState, condition: &Condition) -> Result<(), StateError> {
    let action = "note what is wrong";
    let told = to_json(&condition.told).map_err(|message| value_error(action, message))?;
    let mut transaction = state.begin(action, Flush::Now).await?;
    sqlx::query(
        "INSERT OR REPLACE INTO condition (job, kind, detail, since, reason, cleared_at, told_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(condition.key.job.as_str())
    .bind(&condition.key.kind)
    .bind(&condition.key.detail)
    .bind(to_text(condition.since))
    .bind(&condition.reason)
    .bind(condition.cleared_at.map(to_text))
    .bind(told)
    .execute(&mut *transaction)
    .await
    .map_err(|error| state_error(action, &error))?;
    commit(action, transaction).await
}

pub(super) async fn forget(state: &SqliteState, key: &ConditionKey) -> Result<(), StateError> {
    let action = "forget what was wrong";
    let mut transaction = state.begin(action, Flush::Now).await?;
    sqlx::query("DELETE FROM condition WHERE job = ?1 AND kind = ?2 AND detail = ?3")
        .bind(key.job.as_str())
        .bind(&key.kind)
        .bind(&key.detail)
        .execute(&mut *transaction)
        .await
        .map_err(|error| state_error(action, &error))?;
    commit(action, transaction).await
}

fn read(action: &str, row: &SqliteRow) -> Result<Condition, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let bad = |message: String| value_error(action, message);
    let instant = |text: &str| -> Result<Timestamp, StateError> { from_text(text).map_err(bad) };
    let cleared_at: Option<&str> = row.try_get("cleared_at").map_err(sql)?;
    Ok(Condition {
        key: ConditionKey {
            job: JobName::new(row.try_get::<String, _>("job").map_err(sql)?),
            kind: row.try_get("kind").map_err(sql)?,
            detail: row.try_get("detail").map_err(sql)?,
        },
        since: instant(row.try_get("since").map_err(sql)?)?,
        reason: row.try_get("reason").map_err(sql)?,
        cleared_at: cleared_at.map(instant).transpose()?,
        told: from_json(row.try_get("told_json").map_err(sql)?).map_err(bad)?,
    })
}
