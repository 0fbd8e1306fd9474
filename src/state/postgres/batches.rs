//! Batches between staging and the end of their publication.

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::PostgresState;
use super::errors::{fenced, state_error, value_error};
use crate::ids::{BatchId, DatasetName};
use crate::state::values::{from_integer, from_json, from_text, status_from, status_name, to_integer, to_json, to_text};
use crate::state::{BatchNote, BatchStatus, Lease, StateError};

pub(super) async fn note(state: &PostgresState, lease: &Lease, note: &BatchNote) -> Result<(), StateError> {
    let action = format!("note batch {}", note.batch);
    let bad = |message: String| value_error(&action, message);
    let (staged, covers) = (to_json(&note.staged).map_err(bad)?, to_json(&note.covers).map_err(bad)?);
    let integer = |value: u64| to_integer(value).map_err(bad);
    let (seq, epoch, rows, bytes) = (integer(note.seq)?, integer(lease.epoch)?, integer(note.rows)?, integer(note.bytes)?);
    let held: i64 = state
        .ask_for(state.lease, &action, || {
            // The lock makes whoever takes the lease over wait, or us see that it was.
            sqlx::query_scalar(
                "WITH held AS (SELECT name FROM dataset WHERE name = $2 AND epoch = $4 FOR UPDATE),
                 noted AS (
                     INSERT INTO batch (batch, dataset, seq, epoch, status, staged_json, covers_json, row_count, byte_count, noted_at)
                     SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM held
                     ON CONFLICT (batch) DO UPDATE SET dataset = $2, seq = $3, epoch = $4, status = $5, staged_json = $6,
                         covers_json = $7, row_count = $8, byte_count = $9, noted_at = $10)
                 SELECT count(*) FROM held",
            )
            .bind(note.batch.to_string())
            .bind(lease.dataset.as_str())
            .bind(seq)
            .bind(epoch)
            .bind(status_name(note.status))
            .bind(&staged)
            .bind(&covers)
            .bind(rows)
            .bind(bytes)
            .bind(to_text(note.noted_at))
            .fetch_one(&state.pool)
        })
        .await?;
    if held == 0 { Err(fenced(&action, lease.dataset.as_str())) } else { Ok(()) }
}

pub(super) async fn open(state: &PostgresState, dataset: &DatasetName) -> Result<Vec<BatchNote>, StateError> {
    let action = format!("read the open batches of {dataset}");
    let rows = state.ask(&action, || {
        sqlx::query("SELECT * FROM batch WHERE dataset = $1 AND status IN ('prepared', 'aborted') ORDER BY seq, batch")
            .bind(dataset.as_str())
            .fetch_all(&state.pool)
    });
    rows.await?.iter().map(|row| read(&action, row)).collect()
}

pub(super) async fn mark(state: &PostgresState, lease: &Lease, batch: BatchId, status: BatchStatus) -> Result<(), StateError> {
    let action = format!("mark batch {batch} as {}", status_name(status));
    let epoch = to_integer(lease.epoch).map_err(|message| value_error(&action, message))?;
    let held: i64 = state
        .ask_for(state.lease, &action, || {
            sqlx::query_scalar(
                "WITH held AS (SELECT name FROM dataset WHERE name = $1 AND epoch = $2 FOR UPDATE),
                 marked AS (UPDATE batch SET status = $4 FROM held WHERE dataset = $1 AND batch = $3)
                 SELECT count(*) FROM held",
            )
            .bind(lease.dataset.as_str())
            .bind(epoch)
            .bind(batch.to_string())
            .bind(status_name(status))
            .fetch_one(&state.pool)
        })
        .await?;
    if held == 0 { Err(fenced(&action, lease.dataset.as_str())) } else { Ok(()) }
}

fn read(action: &str, row: &PgRow) -> Result<BatchNote, StateError> {
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
