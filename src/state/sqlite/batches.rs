//! Batches between staging and the end of their publication.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};
use uuid::Uuid;

use super::datasets::check_epoch;
use super::errors::{state_error, value_error};
use super::{Flush, SqliteState, commit};
use crate::ids::{BatchId, DatasetName};
use crate::state::values::{from_integer, from_json, from_text, status_from, status_name, to_integer, to_json, to_text};
use crate::state::{BatchNote, BatchStatus, CLOSED_BATCHES_MAX, Lease, StateError};

pub(super) async fn note(state: &SqliteState, lease: &Lease, note: &BatchNote) -> Result<(), StateError> {
    let action = format!("note batch {}", note.batch);
    let bad = |message: String| value_error(&action, message);
    let staged = to_json(&note.staged).map_err(bad)?;
    let covers = to_json(&note.covers).map_err(bad)?;
    let numbers = [note.seq, lease.epoch, note.rows, note.bytes];
    let [seq, epoch, rows, bytes] = numbers.map(to_integer);
    let mut transaction = state.begin(&action, Flush::Now).await?;
    check_epoch(&action, &mut transaction, lease).await?;
    sqlx::query(
        "INSERT INTO batch (batch, dataset, seq, epoch, status, staged_json, covers_json, row_count, byte_count, noted_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (batch) DO UPDATE SET dataset = ?2, seq = ?3, epoch = ?4, status = ?5, staged_json = ?6, covers_json = ?7,
             row_count = ?8, byte_count = ?9, noted_at = ?10",
    )
    .bind(note.batch.to_string())
    .bind(lease.dataset.as_str())
    .bind(seq.map_err(bad)?)
    .bind(epoch.map_err(bad)?)
    .bind(status_name(note.status))
    .bind(staged)
    .bind(covers)
    .bind(rows.map_err(bad)?)
    .bind(bytes.map_err(bad)?)
    .bind(to_text(note.noted_at))
    .execute(&mut *transaction)
    .await
    .map_err(|error| state_error(&action, &error))?;
    commit(&action, transaction).await
}

pub(super) async fn open(state: &SqliteState, dataset: &DatasetName) -> Result<Vec<BatchNote>, StateError> {
    let action = format!("read the open batches of {dataset}");
    let rows = sqlx::query("SELECT * FROM batch WHERE dataset = ?1 AND status IN ('prepared', 'aborted') ORDER BY seq, batch")
        .bind(dataset.as_str())
        .fetch_all(&state.pool)
        .await
        .map_err(|error| state_error(&action, &error))?;
    rows.iter().map(|row| read(&action, row)).collect()
}

pub(super) async fn mark(state: &SqliteState, lease: &Lease, batch: BatchId, status: BatchStatus) -> Result<(), StateError> {
    let action = format!("mark batch {batch} as {}", status_name(status));
    let mut transaction = state.begin(&action, Flush::Now).await?;
    check_epoch(&action, &mut transaction, lease).await?;
    set_status(&action, &mut transaction, &lease.dataset, batch, status).await?;
    commit(&action, transaction).await
}

/// Marks a batch as done and forgets the oldest of those that are over.
pub(super) async fn close(
    action: &str,
    transaction: &mut Transaction<'static, Sqlite>,
    dataset: &DatasetName,
    batch: BatchId,
) -> Result<(), StateError> {
    set_status(action, transaction, dataset, batch, BatchStatus::Done).await?;
    sqlx::query(
        "DELETE FROM batch WHERE dataset = ?1 AND status IN ('done', 'dropped') AND batch NOT IN (
             SELECT batch FROM batch WHERE dataset = ?1 AND status IN ('done', 'dropped') ORDER BY seq DESC, batch DESC LIMIT ?2)",
    )
    .bind(dataset.as_str())
    .bind(CLOSED_BATCHES_MAX)
    .execute(&mut **transaction)
    .await
    .map_err(|error| state_error(action, &error))?;
    Ok(())
}

async fn set_status(
    action: &str,
    transaction: &mut Transaction<'static, Sqlite>,
    dataset: &DatasetName,
    batch: BatchId,
    status: BatchStatus,
) -> Result<(), StateError> {
    sqlx::query("UPDATE batch SET status = ?3 WHERE dataset = ?1 AND batch = ?2")
        .bind(dataset.as_str())
        .bind(batch.to_string())
        .bind(status_name(status))
        .execute(&mut **transaction)
        .await
        .map_err(|error| state_error(action, &error))?;
    Ok(())
}

fn read(action: &str, row: &SqliteRow) -> Result<BatchNote, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let bad = |message: String| value_error(action, message);
    let batch: &str = row.try_get("batch").map_err(sql)?;
    let batch = Uuid::parse_str(batch).map_err(|_| bad(format!("the state holds `{batch}` for a batch")))?;
    Ok(BatchNote {
        batch: BatchId(batch),
        seq: from_integer(row.try_get("seq").map_err(sql)?).map_err(bad)?,
        status: status_from(row.try_get("status").map_err(sql)?).map_err(bad)?,
        staged: from_json(row.try_get("staged_json").map_err(sql)?).map_err(bad)?,
        covers: from_json(row.try_get("covers_json").map_err(sql)?).map_err(bad)?,
        rows: from_integer(row.try_get("row_count").map_err(sql)?).map_err(bad)?,
        bytes: from_integer(row.try_get("byte_count").map_err(sql)?).map_err(bad)?,
        noted_at: from_text(row.try_get("noted_at").map_err(sql)?).map_err(bad)?,
    })
}
