//! What a Delta table must be like before rows are read for it: its log ours, its properties such that what we do holds.

use std::sync::Arc;
use std::time::Duration;

use delta_kernel::snapshot::Snapshot;

use crate::config::catalog::{Job, TableFormat};
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::sink::current::Current;
use crate::sink::record::Record;
use crate::sink::settle::Head;
use crate::sink::{SinkError, layout};
use crate::store::Store;

use super::commit::{load, paths};
use super::engine::{told, with_engine};

/// A table may forget its transactions after this time at the earliest: longer than any outage.
const TRANSACTIONS_KEPT_MIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// Compares a job's Delta table with the end of the log of records. `index` are the files that count after it, where the job looks
/// into them; `removes` is whether the run may take any out of the table.
///
/// # Errors
/// `Data` where the Delta log lost records, or knows of some that the log of records lost, or where another writer has rewritten
/// files that the job looks into; `Config` for properties under which its rows would not be safe.
pub async fn check(
    store: Arc<dyn Store>,
    job: &Job,
    head: &Head,
    index: Option<&Current>,
    removes: bool,
) -> Result<(), SinkError> {
    if job.sink.format != TableFormat::Delta {
        return Ok(());
    }
    let (table, dataset, name) = (job.table.clone(), job.dataset.clone(), job.name.clone());
    let shared = Arc::clone(&store);
    let (seq, record) = (head.state.seq, head.record.clone());
    let files: Vec<String> = index.map(|index| index.files.keys().cloned().collect()).unwrap_or_default();
    let ahead = with_engine(shared, move |engine| {
        let Some(snapshot) = load(engine, &table)? else {
            return match record.is_some_and(|record| changes_table(&record)) {
                true => Err(SinkError::data(format!(
                    "the log of the Delta table {table} is gone: restore `{table}/_delta_log` from a copy"
                ))),
                false => Ok(None),
            };
        };
        properties(&snapshot, removes)?;
        let known = snapshot
            .get_app_id_version(&dataset.to_string(), engine)
            .map_err(|error| told("the Delta table's transactions cannot be read", error))?;
        let known = known.and_then(|version| u64::try_from(version).ok()).unwrap_or(0);
        if known > seq {
            return Ok(Some(known));
        }
        if known < seq && record.is_some_and(|record| changes_table(&record)) {
            return Err(SinkError::data(format!(
                "the Delta table {table} ends at record {known} of {dataset}, the log of its records at {seq}: the table was put back to an older copy; restore `{table}/_delta_log`, or move the table and `_highwater/{dataset}` away and load it anew"
            )));
        }
        if !files.is_empty() {
            let active = paths(engine, &snapshot, &table)?;
            if let Some(lost) = files.iter().find(|path| !active.contains(*path)) {
                return Err(SinkError::data(format!(
                    "`{lost}` is not part of the Delta table {table} any more: another writer has rewritten it (OPTIMIZE, DELETE), and rows of job {name} can no longer be found in it; bring it back to an older version (RESTORE), or move the table's folder and `_highwater/{dataset}` away and load it anew"
                )));
            }
        }
        Ok(None)
    });
    let Some(known) = ahead.await? else { return Ok(()) };
    let (table, dataset) = (&job.table, &job.dataset);
    // A rival's, since the log was read: the decision tells.
    if store.size(&layout::record(dataset, known)).await?.is_some() {
        return Ok(());
    }
    Err(SinkError::data(format!(
        "the Delta table {table} has record {known} of {dataset}, the log of its records ends at {seq}: it lost its end, or the table is another one's; restore `_highwater/{dataset}` from a copy, or move the table's folder away and load it anew"
    )))
}

fn changes_table(record: &Record) -> bool {
    let mut added = record.add.iter().map(|file| &file.path);
    added.any(|path| record.is_in_delta_table(path)) || record.remove.iter().any(|path| record.is_in_delta_table(path))
}

/// Properties that other writers may have given the table, and under which we cannot keep our word.
pub(super) fn properties(snapshot: &Snapshot, removes: bool) -> Result<(), SinkError> {
    if !Guards::standing().delta_properties {
        return Ok(());
    }
    let properties = snapshot.table_properties();
    let refused = |property: &str, why: &str| {
        let message =
            format!("the Delta table has the property `{property}`: {why}; take it off with ALTER TABLE .. UNSET TBLPROPERTIES");
        Err(SinkError::new(ErrorKind::Config, message))
    };
    if properties.set_transaction_retention_duration.is_some_and(|kept| kept < TRANSACTIONS_KEPT_MIN) {
        let why = "it would forget which records it has after less than 30 days, and rows would be there twice";
        return refused("delta.setTransactionRetentionDuration", why);
    }
    if properties.enable_deletion_vectors == Some(true) {
        return refused("delta.enableDeletionVectors", "deleted rows would come back when their file is rewritten");
    }
    if removes && properties.append_only == Some(true) {
        return refused("delta.appendOnly", "files cannot be replaced");
    }
    if removes && properties.enable_change_data_feed == Some(true) {
        return refused("delta.enableChangeDataFeed", "what changes in a merge is not written for it");
    }
    Ok(())
}
