//! Leases by the database's clock, and what is known of a dataset.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::errors::{fenced, state_error, value_error};
use super::{FIRST, PATIENCE, PostgresState};
use crate::error::ErrorKind;
use crate::ids::{BatchId, DatasetName};
use crate::state::values::{from_integer, from_json, to_integer, to_json, to_text};
use crate::state::{CLOSED_BATCHES_MAX, DatasetState, Lease, StateError};

/// How long a taking is tried: shorter than a lease, which runs from the first attempt that arrived.
const TAKING: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn lease(
    state: &PostgresState,
    dataset: &DatasetName,
    owner: &str,
    now: Timestamp,
) -> Result<Lease, StateError> {
    let action = format!("take the lease of {dataset}");
    let empty = DatasetState::default();
    let (coverage, pending, fingerprint) = jsons(&empty).map_err(|message| value_error(&action, message))?;
    let taking = Taking::begin(state, dataset);
    // Whoever holds it is asked for only by whether its time is over, or whether it is a taking of ours that nobody knows of.
    let taken: Option<i64> = state
        .ask_for(TAKING.min(state.lease / 2), &action, || {
            sqlx::query_scalar(
                "INSERT INTO dataset AS d (name, owner, process, token, leased_at, lease_until, epoch,
                     seq, record_hash, generation, coverage_json, pending_json, fingerprint_json)
                 VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 microsecond', 1, 0, '', 0, $7, $8, $9)
                 ON CONFLICT (name) DO UPDATE SET owner = $2, process = $3, token = $4, leased_at = $5,
                     lease_until = clock_timestamp() + $6 * interval '1 microsecond', epoch = d.epoch + 1
                 WHERE d.token IS NULL OR d.lease_until <= clock_timestamp() OR d.token = ANY($10)
                 RETURNING epoch",
            )
            .bind(dataset.as_str())
            .bind(owner)
            .bind(&state.process)
            .bind(&taking.name)
            .bind(to_text(now))
            .bind(state.lease.as_micros() as f64)
            .bind(&coverage)
            .bind(&pending)
            .bind(&fingerprint)
            .bind(&taking.ours)
            .fetch_optional(&state.pool)
        })
        .await?;
    let Some(epoch) = taken else {
        taking.forget();
        return Err(held(state, dataset, action).await);
    };
    taking.forget();
    let epoch = from_integer(epoch).map_err(|message| value_error(&action, message))?;
    Ok(Lease { dataset: dataset.clone(), owner: owner.to_owned(), epoch })
}

/// A taking under way. One that ends without an answer is remembered: should it have been performed, nobody holds what it took,
/// and the next of this process may have it.
struct Taking<'a> {
    state: &'a PostgresState,
    dataset: &'a DatasetName,
    name: String,
    /// This one and the lost ones.
    ours: Vec<String>,
    known: bool,
}

impl<'a> Taking<'a> {
    fn begin(state: &'a PostgresState, dataset: &'a DatasetName) -> Self {
        let name = state.taking();
        let mut ours = state.lost().remove(dataset).unwrap_or_default();
        ours.push(name.clone());
        Taking { state, dataset, name, ours, known: false }
    }

    fn forget(mut self) {
        self.known = true;
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if !self.known {
            self.state.lost().entry(self.dataset.clone()).or_default().append(&mut self.ours);
        }
    }
}

/// Says who holds it, as far as that can be had.
async fn held(state: &PostgresState, dataset: &DatasetName, action: String) -> StateError {
    let query = sqlx::query_as::<_, (Option<String>, Option<i64>)>(
        "SELECT owner, ceil(extract(epoch FROM lease_until - clock_timestamp()))::bigint FROM dataset WHERE name = $1",
    );
    let holder = state.ask_once(&action, query.bind(dataset.as_str()).fetch_optional(&state.pool)).await;
    let message = match holder {
        Ok(Some((Some(owner), Some(left)))) if left > 0 => {
            format!("`{owner}` works on `{dataset}`; unless it renews its lease, that ends in {left} s")
        }
        _ => format!("another run works on `{dataset}`"),
    };
    StateError { kind: ErrorKind::Conflict, action, message }
}

pub(super) async fn renew(state: &PostgresState, lease: &Lease) -> Result<(), StateError> {
    let action = format!("renew the lease of {}", lease.dataset);
    let epoch = to_integer(lease.epoch).map_err(|message| value_error(&action, message))?;
    // Once, and not for long: the caller counts how long it may still believe in its lease, and asks again.
    let renewed = sqlx::query(
        "UPDATE dataset SET lease_until = clock_timestamp() + $3 * interval '1 microsecond'
         WHERE name = $1 AND epoch = $2 AND token IS NOT NULL",
    )
    .bind(lease.dataset.as_str())
    .bind(epoch)
    .bind(state.lease.as_micros() as f64)
    .execute(&state.pool);
    match state.attempt(FIRST.min(state.lease / 6), &action, renewed).await?.rows_affected() {
        0 => Err(fenced(&action, lease.dataset.as_str())),
        _ => Ok(()),
    }
}

pub(super) async fn release(state: &PostgresState, lease: &Lease) -> Result<(), StateError> {
    let action = format!("give back the lease of {}", lease.dataset);
    let epoch = to_integer(lease.epoch).map_err(|message| value_error(&action, message))?;
    let released = state.ask_for(PATIENCE.min(state.lease), &action, || {
        sqlx::query(
            "UPDATE dataset SET owner = NULL, process = NULL, token = NULL, leased_at = NULL, lease_until = NULL
             WHERE name = $1 AND epoch = $2",
        )
        .bind(lease.dataset.as_str())
        .bind(epoch)
        .execute(&state.pool)
    });
    released.await.map(drop)
}

pub(super) async fn advance(
    state: &PostgresState,
    lease: &Lease,
    known: &DatasetState,
    done: Option<BatchId>,
) -> Result<(), StateError> {
    let action = format!("advance {} to record {}", lease.dataset, known.seq);
    let bad = |message: String| value_error(&action, message);
    let (coverage, pending, fingerprint) = jsons(known).map_err(bad)?;
    let (seq, epoch) = (to_integer(known.seq).map_err(bad)?, to_integer(lease.epoch).map_err(bad)?);
    let done = done.map(|batch| batch.to_string());
    let held: i64 = state
        .ask_for(state.lease, &action, || {
            sqlx::query_scalar(
                "WITH held AS (
                     UPDATE dataset SET seq = $3, record_hash = $4, generation = $5, coverage_json = $6, pending_json = $7,
                         fingerprint_json = $8
                     WHERE name = $1 AND epoch = $2 RETURNING name),
                 done AS (
                     UPDATE batch SET status = 'done' WHERE dataset = $1 AND batch = $9 AND EXISTS (SELECT FROM held)),
                 gone AS (
                     DELETE FROM batch WHERE dataset = $1 AND batch <> $9 AND EXISTS (SELECT FROM held) AND batch IN (
                         SELECT batch FROM batch WHERE dataset = $1 AND status IN ('done', 'dropped')
                         ORDER BY seq DESC, batch DESC OFFSET $10))
                 SELECT count(*) FROM held",
            )
            .bind(lease.dataset.as_str())
            .bind(epoch)
            .bind(seq)
            .bind(&known.record_hash)
            .bind(i64::from(known.generation))
            .bind(&coverage)
            .bind(&pending)
            .bind(&fingerprint)
            .bind(&done)
            .bind(i64::from(CLOSED_BATCHES_MAX))
            .fetch_one(&state.pool)
        })
        .await?;
    if held == 0 { Err(fenced(&action, lease.dataset.as_str())) } else { Ok(()) }
}

pub(super) async fn one(state: &PostgresState, dataset: &DatasetName) -> Result<Option<DatasetState>, StateError> {
    let action = format!("read what is known of {dataset}");
    let found = state
        .ask(&action, || sqlx::query("SELECT * FROM dataset WHERE name = $1").bind(dataset.as_str()).fetch_optional(&state.pool));
    found.await?.map(|row| read(&action, &row)).transpose()
}

pub(super) async fn all(state: &PostgresState) -> Result<Vec<(DatasetName, DatasetState)>, StateError> {
    let action = "read what is known of all datasets";
    let rows = state.ask(action, || sqlx::query("SELECT * FROM dataset ORDER BY name").fetch_all(&state.pool)).await?;
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

fn read(action: &str, row: &PgRow) -> Result<DatasetState, StateError> {
    let sql = |error: sqlx::Error| state_error(action, &error);
    let bad = |message: String| value_error(action, message);
    let generation: i64 = row.try_get("generation").map_err(sql)?;
    let generation = u32::try_from(generation).map_err(|_| bad(format!("the state holds generation `{generation}`")))?;
    Ok(DatasetState {
        seq: from_integer(row.try_get("seq").map_err(sql)?).map_err(bad)?,
        record_hash: row.try_get("record_hash").map_err(sql)?,
        generation,
        coverage: from_json(row.try_get("coverage_json").map_err(sql)?).map_err(bad)?,
        pending: from_json(row.try_get("pending_json").map_err(sql)?).map_err(bad)?,
        fingerprint: from_json(row.try_get("fingerprint_json").map_err(sql)?).map_err(bad)?,
    })
}
