//! Leases and what is known of a dataset.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::errors::{state_error, value_error};
use super::{Flush, SqliteState, batches, commit};
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::ids::{BatchId, DatasetName, Epoch};
use crate::state::values::{from_integer, from_json, to_integer, to_json, to_text};
use crate::state::{DatasetState, Lease, StateError};

pub(super) async fn lease(state: &SqliteState, dataset: &DatasetName, owner: &str, now: Timestamp) -> Result<Lease, StateError> {
    let action = format!("take the lease of {dataset}");
    let reserved = Reserved::take(state, dataset, &action)?;
    // What is done under it is noted, or told of, before it counts.
    let mut transaction = state.begin(&action, Flush::WithTheNext).await?;
    let empty = DatasetState::default();
    let (coverage, pending, fingerprint) = jsons(&empty).map_err(|message| value_error(&action, message))?;
    sqlx::query(
        "INSERT INTO dataset (name, epoch, seq, record_hash, generation, coverage_json, pending_json, fingerprint_json)
         VALUES (?1, 0, 0, '', 0, ?2, ?3, ?4) ON CONFLICT (name) DO NOTHING",
    )
    .bind(dataset.as_str())
    .bind(coverage)
    .bind(pending)
    .bind(fingerprint)
    .execute(&mut *transaction)
    .await
    .map_err(|error| state_error(&action, &error))?;
    // Whoever else stands there is dead: the file lock is ours, and the living of this process are in `live`.
    let epoch: i64 =
        sqlx::query_scalar("UPDATE dataset SET owner = ?2, leased_at = ?3, epoch = epoch + 1 WHERE name = ?1 RETURNING epoch")
            .bind(dataset.as_str())
            .bind(owner)
            .bind(to_text(now))
            .fetch_one(&mut *transaction)
            .await
            .map_err(|error| state_error(&action, &error))?;
    commit(&action, transaction).await?;
    let epoch = from_integer(epoch).map_err(|message| value_error(&action, message))?;
    reserved.keep(epoch);
    Ok(Lease { dataset: dataset.clone(), owner: owner.to_owned(), epoch })
}

/// A place among the living, given back if the lease does not come about or its taker goes away.
struct Reserved<'a> {
    state: &'a SqliteState,
    dataset: DatasetName,
    kept: bool,
}

impl<'a> Reserved<'a> {
    fn take(state: &'a SqliteState, dataset: &DatasetName, action: &str) -> Result<Self, StateError> {
        let mut live = state.live();
        if live.contains_key(dataset) && Guards::standing().lease_excludes {
            let message = format!("another run of this process works on `{dataset}`");
            return Err(StateError { kind: ErrorKind::Conflict, action: action.to_owned(), message });
        }
        live.insert(dataset.clone(), 0);
        Ok(Reserved { state, dataset: dataset.clone(), kept: false })
    }

    fn keep(mut self, epoch: Epoch) {
        self.kept = true;
        self.state.live().insert(self.dataset.clone(), epoch);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.state.live().remove(&self.dataset);
        }
    }
}

pub(super) async fn release(state: &SqliteState, lease: &Lease) -> Result<(), StateError> {
    let action = format!("give back the lease of {}", lease.dataset);
    // First, and whatever becomes of the rest: an owner that stands in the file but not here is as good as none.
    {
        let mut live = state.live();
        if live.get(&lease.dataset) == Some(&lease.epoch) {
            live.remove(&lease.dataset);
        }
    }
    let epoch = to_integer(lease.epoch).map_err(|message| value_error(&action, message))?;
    let mut transaction = state.begin(&action, Flush::WithTheNext).await?;
    sqlx::query("UPDATE dataset SET owner = NULL, leased_at = NULL WHERE name = ?1 AND epoch = ?2")
        .bind(lease.dataset.as_str())
        .bind(epoch)
        .execute(&mut *transaction)
        .await
        .map_err(|error| state_error(&action, &error))?;
    commit(&action, transaction).await
}

/// Fails if the lease was taken over: whoever holds it must not write any more.
pub(super) async fn check_epoch(
    action: &str,
    transaction: &mut Transaction<'static, Sqlite>,
    lease: &Lease,
) -> Result<(), StateError> {
    let epoch: Option<i64> = sqlx::query_scalar("SELECT epoch FROM dataset WHERE name = ?1")
        .bind(lease.dataset.as_str())
        .fetch_optional(&mut **transaction)
        .await
        .map_err(|error| state_error(action, &error))?;
    let held = epoch.and_then(|epoch| u64::try_from(epoch).ok());
    if held == Some(lease.epoch) || !Guards::standing().epoch_fences {
        return Ok(());
    }
    let message = format!("the lease of `{}` was taken over by another run", lease.dataset);
    Err(StateError { kind: ErrorKind::Conflict, action: action.to_owned(), message })
}

pub(super) async fn advance(
    state: &SqliteState,
    lease: &Lease,
    known: &DatasetState,
    done: Option<BatchId>,
) -> Result<(), StateError> {
    let action = format!("advance {} to record {}", lease.dataset, known.seq);
    let bad = |message: String| value_error(&action, message);
    let (coverage, pending, fingerprint) = jsons(known).map_err(bad)?;
    let seq = to_integer(known.seq).map_err(bad)?;
    let mut transaction = state.begin(&action, Flush::Now).await?;
    check_epoch(&action, &mut transaction, lease).await?;
    sqlx::query(
        "UPDATE dataset SET seq = ?2, record_hash = ?3, generation = ?4, coverage_json = ?5, pending_json = ?6, fingerprint_json = ?7
         WHERE name = ?1",
    )
    .bind(lease.dataset.as_str())
    .bind(seq)
    .bind(&known.record_hash)
    .bind(i64::from(known.generation))
    .bind(coverage)
    .bind(pending)
    .bind(fingerprint)
    .execute(&mut *transaction)
    .await
    .map_err(|error| state_error(&action, &error))?;
    if let Some(batch) = done {
        batches::close(&action, &mut transaction, &lease.dataset, batch).await?;
    }
    commit(&action, transaction).await
}

pub(super) async fn one(state: &SqliteState, dataset: &DatasetName) -> Result<Option<DatasetState>, StateError> {
    let action = format!("read what is known of {dataset}");
    let row = sqlx::query("SELECT * FROM dataset WHERE name = ?1")
        .bind(dataset.as_str())
        .fetch_optional(&state.pool)
        .await
        .map_err(|error| state_error(&action, &error))?;
    row.map(|row| read(&action, &row)).transpose()
}

pub(super) async fn all(state: &SqliteState) -> Result<Vec<(DatasetName, DatasetState)>, StateError> {
    let action = "read what is known of all datasets";
    let rows = sqlx::query("SELECT * FROM dataset ORDER BY name")
        .fetch_all(&state.pool)
        .await
        .map_err(|error| state_error(action, &error))?;
    let mut all = Vec::new();
    for row in &rows {
        let name: String = row.try_get("name").map_err(|error| state_error(action, &error))?;
        all.push((DatasetName::new(name), read(action, row)?));
    }
    Ok(all)
}

fn jsons(known: &DatasetState) -> Result<(String, String, String), String> {
    Ok((to_json(&known.coverage)?, to_json(&known.pending)?, to_json(&known.fingerprint)?))
}

fn read(action: &str, row: &SqliteRow) -> Result<DatasetState, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let bad = |message: String| value_error(action, message);
    let generation: u32 = row.try_get("generation").map_err(sql)?;
    Ok(DatasetState {
        seq: from_integer(row.try_get("seq").map_err(sql)?).map_err(bad)?,
        record_hash: row.try_get("record_hash").map_err(sql)?,
        generation,
        coverage: from_json(row.try_get("coverage_json").map_err(sql)?).map_err(bad)?,
        pending: from_json(row.try_get("pending_json").map_err(sql)?).map_err(bad)?,
        fingerprint: from_json(row.try_get("fingerprint_json").map_err(sql)?).map_err(bad)?,
    })
}
