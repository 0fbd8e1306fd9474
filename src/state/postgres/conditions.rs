//! What is wrong, and what whom was told of it.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::errors::{state_error, value_error};
use super::{PostgresState, key_of, plain};
use crate::ids::JobName;
use crate::state::values::{from_json, from_text, to_json, to_text};
use crate::state::{Condition, ConditionKey, StateError};

pub(super) async fn all(state: &PostgresState) -> Result<Vec<Condition>, StateError> {
    let action = "read what is wrong";
    let rows =
        state.ask(action, || sqlx::query("SELECT * FROM condition ORDER BY job, kind, detail").fetch_all(&state.pool)).await?;
    rows.iter().map(|row| read(action, row)).collect()
}

pub(super) async fn put(state: &PostgresState, condition: &Condition) -> Result<(), StateError> {
    let action = "note what is wrong";
    let told = to_json(&condition.told).map_err(|message| value_error(action, message))?;
    let detail = plain(&condition.key.detail);
    let done = state.ask(action, || {
        sqlx::query(
            "INSERT INTO condition (job, kind, detail, detail_key, since, reason, cleared_at, told_json)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (job, kind, detail_key) DO UPDATE SET since = $5, reason = $6, cleared_at = $7, told_json = $8",
        )
        .bind(condition.key.job.as_str())
        .bind(&condition.key.kind)
        .bind(detail.as_ref())
        .bind(key_of(&detail))
        .bind(to_text(condition.since))
        .bind(plain(&condition.reason))
        .bind(condition.cleared_at.map(to_text))
        .bind(&told)
        .execute(&state.pool)
    });
    done.await.map(drop)
}

pub(super) async fn forget(state: &PostgresState, key: &ConditionKey) -> Result<(), StateError> {
    let done = state.ask("forget what was wrong", || {
        sqlx::query("DELETE FROM condition WHERE job = $1 AND kind = $2 AND detail_key = $3")
            .bind(key.job.as_str())
            .bind(&key.kind)
            .bind(key_of(&plain(&key.detail)))
            .execute(&state.pool)
    });
    done.await.map(drop)
}

fn read(action: &str, row: &PgRow) -> Result<Condition, StateError> {
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
