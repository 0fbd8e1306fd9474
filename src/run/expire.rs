//! Partitions that are older than what the job keeps leave the table, as a record of their own.
//!
//! What was read of them stays covered: nothing of it is asked for again. Rows that come later than that are rows like any other, and
//! leave with the next of these records.

use serde::Serialize;

use crate::config::catalog::{Job, PartitionUnit};
use crate::error::ErrorKind;
use crate::sink::commit::Verdict;
use crate::sink::current::Current;
use crate::sink::expire::plan;
use crate::sink::live::index_at;
use crate::sink::record::{Record, RecordKind};
use crate::sink::settle::Head;
use crate::state::Lease;

use super::collect::store_now;
use super::commit::{decide, foresee, unfinished, upkeep_record};
use super::{Ports, RunError};

/// What left the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Expired {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// Drops what is old from the table that `head` is the end of; `None` where there is nothing. What cannot be decided now is so the next
/// time: a rival that was first is no reason to fail.
pub(super) async fn expire(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    head: &mut Head,
    index: &mut Option<Current>,
) -> Result<Option<Expired>, RunError> {
    let column = job.partition_by.iter().find(|column| column.unit != PartitionUnit::Value);
    let (Some(kept), Some(column)) = (job.keep.retain, column) else { return Ok(None) };
    if head.state.seq == 0 {
        return Ok(None);
    }
    let known = index_at(ports.store.as_ref(), &job.dataset, head, index).await?;
    let ours = ports.options.as_of.unwrap_or_else(|| ports.clock.now());
    let whole = ports.guards.whole_is_old;
    let Ok(cutoff) = ours.checked_sub(kept) else { return Ok(None) };
    if plan(known, column, cutoff, whole).is_empty() {
        return Ok(None);
    }
    // A clock that runs ahead would empty the table: the store's has to say the same.
    let now = store_now(job, ports.store.as_ref()).await?.min(ours);
    let Ok(cutoff) = now.checked_sub(kept) else { return Ok(None) };
    let old = plan(known, column, cutoff, whole);
    let Some(base) = upkeep_record(job, ports, head, RecordKind::Expire).filter(|_| !old.is_empty()) else { return Ok(None) };
    let gone = old.iter().fold(Expired::default(), |sum, (_, file)| Expired {
        files: sum.files + 1,
        rows: sum.rows + file.rows,
        bytes: sum.bytes + file.bytes,
    });
    let remove = old.iter().map(|(path, _)| (*path).to_owned()).collect();
    let text = format!("{} files with {} rows left the table: their partitions ended before {cutoff}", gone.files, gone.rows);
    let record = Record { remove, superseded: gone.rows, note: Some(text.clone()), ..base };
    foresee(job, ports, &record, index).await?;
    let (verdict, new_head) = decide(job, ports, lease, head, record, index).await?;
    match verdict {
        Verdict::Committed => *head = new_head,
        Verdict::Lost { .. } => {
            return Err(RunError::new(ErrorKind::Conflict, format!("another writer commits to {}", job.dataset)));
        }
        verdict => return Err(unfinished(verdict, "the end of old partitions")),
    }
    tracing::info!(job.id = %job.name, "{}: {text}", job.name);
    ports.keep_event(job, "expired", &text).await;
    Ok(Some(gone))
}
