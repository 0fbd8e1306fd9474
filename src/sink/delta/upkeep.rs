//! Checkpoints, so that readers need not read the whole log; old parts of the log, and files that left the table, go after a time.
//!
//! Nothing here is needed for a commit to count: what fails is tried again after one of the next commits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::chain;
use crate::fault::Guards;
use crate::ids::{DatasetName, Seq};
use crate::sink::current::Current;
use crate::sink::record::Record;
use crate::sink::{SinkError, layout};
use crate::store::{Listed, Store};

use super::commit::load;
use super::engine::{told, with_engine};
use super::log_folder;

/// Commits from one checkpoint to the next.
pub(super) const CHECKPOINT_EVERY: u64 = 10;
/// How long the log keeps what older versions of the table are read by, unless the table says otherwise.
const LOG_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a file stays after it left the table, for those who still read an older version of it.
const FILES_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Records that one vacuum goes over, so that a run has an end.
const RECORDS_MAX: u64 = 1_000;
/// After so many records how far it came is written down even where nothing was deleted: fewer are looked at again by the next run.
const RECORDS_AGAIN: u64 = 32;

/// Writes a checkpoint and drops parts of the log that are older than it and than the table's retention. At best: see above.
pub(super) async fn checkpoint(store: Arc<dyn Store>, table: &str, now: Timestamp) {
    if let Err(error) = try_checkpoint(store, table, now).await {
        tracing::warn!(table, error = %chain(&error), "a checkpoint of a Delta table was not finished; readers read more of its log until the next one");
    }
}

async fn try_checkpoint(store: Arc<dyn Store>, table: &str, now: Timestamp) -> Result<(), SinkError> {
    let name = table.to_owned();
    let kept = with_engine(Arc::clone(&store), move |engine| {
        let Some(snapshot) = load(engine, &name)? else { return Ok(None) };
        snapshot.checkpoint(engine, None).map_err(|error| told("a checkpoint cannot be written", error))?;
        let properties = snapshot.table_properties();
        let cleans = properties.enable_expired_log_cleanup.unwrap_or(true);
        Ok(cleans.then_some(properties.log_retention_duration.unwrap_or(LOG_KEPT)))
    });
    let Some(kept) = kept.await? else { return Ok(()) };
    let cutoff = earlier(now, kept);
    for path in expired(&store.list(&log_folder(table)).await?, cutoff) {
        store.delete(&path).await?;
    }
    Ok(())
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| now.checked_sub(by).ok()).unwrap_or(Timestamp::MIN)
}

/// Parts of the log before the newest checkpoint that is itself past the time: every version since then can still be read.
fn expired(log: &[Listed], cutoff: Timestamp) -> Vec<String> {
    let old = || log.iter().filter(|listed| listed.modified < cutoff);
    let is_checkpoint = |listed: &&Listed| listed.path.contains(".checkpoint") && listed.path.ends_with(".parquet");
    let Some(base) = old().filter(is_checkpoint).filter_map(|listed| version(&listed.path)).max() else { return Vec::new() };
    old().filter(|listed| version(&listed.path).is_some_and(|at| at < base)).map(|listed| listed.path.clone()).collect()
}

/// The version that a part of the log is of: its name begins with twenty digits.
fn version(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?;
    let digits = name.get(..20)?;
    (name[20..].starts_with('.') && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// How far files that left the table were taken away.
#[derive(Default, Serialize, Deserialize)]
struct Vacuumed {
    /// Of all records up to this one.
    seq: Seq,
}

fn vacuumed_path(dataset: &DatasetName) -> String {
    format!("_highwater/{dataset}/vacuumed.json")
}

/// Deletes files that left the table more than a week ago, by the records that removed them; says how many.
///
/// Which files those are is read from the log, never from a listing, and none that counts is among them: a file that a later record
/// gave back is left alone.
pub async fn vacuum(
    store: &dyn Store,
    dataset: &DatasetName,
    index: &Current,
    now: Timestamp,
    guards: Guards,
) -> Result<u64, SinkError> {
    let path = vacuumed_path(dataset);
    let found = store.get(&path, layout::SMALL_OBJECT_MAX).await?;
    let mut done: Vacuumed = found.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let (first, cutoff) = (done.seq, earlier(now, FILES_KEPT));
    let mut deleted = 0;
    // The last record may yet be voided, which gives back what it removed.
    let end = if guards.vacuum_last { index.seq } else { index.seq + 1 };
    let stays = |path: &str| guards.vacuum_live && index.files.contains_key(path);
    while done.seq + 1 < end && done.seq - first < RECORDS_MAX {
        let seq = done.seq + 1;
        let Some(bytes) = store.get(&layout::record(dataset, seq), layout::SMALL_OBJECT_MAX).await? else { break };
        let record = Record::from_bytes(&bytes, dataset, seq)?;
        if record.created_at >= cutoff && guards.vacuum_week {
            break;
        }
        for path in record.remove.iter().filter(|path| record.is_in_delta_table(path) && !stays(path)) {
            store.delete(path).await?;
            deleted += 1;
        }
        done.seq = seq;
    }
    if deleted > 0 || done.seq - first >= RECORDS_AGAIN {
        let bytes = serde_json::to_vec(&done).map_err(|error| SinkError::bug(error.to_string()))?;
        store.put(&path, bytes.into()).await?;
    }
    Ok(deleted)
}

/// Every data file that a record of the log ever named.
pub async fn named_files(store: &dyn Store, dataset: &DatasetName, last: Seq) -> Result<BTreeSet<String>, SinkError> {
    let mut named = BTreeSet::new();
    for seq in 1..=last {
        let Some(bytes) = store.get(&layout::record(dataset, seq), layout::SMALL_OBJECT_MAX).await? else { break };
        named.extend(Record::from_bytes(&bytes, dataset, seq)?.add.into_iter().map(|file| file.path));
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, day: i8) -> Listed {
        let modified = jiff::civil::date(2026, 1, day).at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        Listed { path: format!("t/_delta_log/{name}"), size: 1, modified }
    }

    #[test]
    fn the_log_keeps_a_checkpoint_and_all_that_follows_it() {
        // D-46
        let log = [
            listed("00000000000000000000.json", 1),
            listed("00000000000000000010.checkpoint.parquet", 2),
            listed("00000000000000000010.json", 2),
            listed("00000000000000000020.checkpoint.parquet", 3),
            listed("00000000000000000020.json", 3),
            listed("00000000000000000021.json", 4),
            listed("00000000000000000030.checkpoint.parquet", 9),
            listed("_last_checkpoint", 1),
        ];
        let cutoff = listed("", 5).modified;
        let gone = expired(&log, cutoff);
        assert_eq!(gone.len(), 3, "{gone:?}");
        assert!(gone.iter().all(|path| version(path).is_some_and(|at| at < 20)), "{gone:?}");
        assert!(expired(&log, listed("", 1).modified).is_empty());
    }
}
