//! Recounts a table from the lake alone: the chain, every file against its record, and no file that no record names.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::config::catalog::TableFormat;
use crate::ids::DatasetName;
use crate::store::Store;

use super::delta::log_folder;
use super::history::Files;
use super::live::index_position;
use super::record::{FileEntry, FileRole, Record, RecordKind, hash, hex};
use super::stage::footer_rows;
use super::{SinkError, layout};

/// Bytes of a file that are read at once.
const CHUNK: u64 = 8 * 1024 * 1024;

/// What a publication that was cut off needs, or one that is under way.
pub(super) const UNFINISHED: &str = "a run was cut off, or is at work; the next run of the job finishes it";

/// What a recount found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub seq: u64,
    pub records: u64,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Records that were read and did not become rows: filtered, rejected, out of the window, deleted; as often as they were read.
    pub dropped: u64,
    /// A sentence each; empty if all is well.
    pub problems: Vec<String>,
}

/// Reads everything once. Memory is bounded by the number of live files.
pub async fn verify(store: &dyn Store, dataset: &DatasetName) -> Result<VerifyReport, SinkError> {
    let mut report = VerifyReport::default();
    let mut files = Files::default();
    let mut table = None;
    let mut previous = String::new();
    let mut last_removes: Vec<String> = Vec::new();
    // Of a Delta table: what left it and stays for readers of older versions, and its log.
    let mut left: BTreeSet<String> = BTreeSet::new();
    let mut log = None;
    loop {
        let seq = report.seq + 1;
        let Some(bytes) = store.get(&layout::record(dataset, seq), layout::SMALL_OBJECT_MAX).await? else { break };
        let record = match Record::from_bytes(&bytes, dataset, seq) {
            Ok(record) => record,
            Err(error) => {
                report.problems.push(error.to_string());
                return Ok(report);
            }
        };
        if record.previous != previous {
            report.problems.push(format!("record {seq} does not follow record {}: one of them was edited or replaced", seq - 1));
        }
        check_counts(&record, &mut report);
        let counts = &record.counts;
        report.dropped += counts.filtered + counts.rejected + counts.out_of_window + counts.deleted;
        previous = hash(&bytes);
        table = Some(record.table.clone());
        last_removes.clone_from(&record.remove);
        if record.table_format == TableFormat::Delta {
            left.extend(record.remove.iter().cloned());
            log = Some(format!("{}/", log_folder(&record.table)));
        }
        check_joined(&record, files.apply(&record), &mut report);
        report.seq = seq;
        report.records += 1;
    }
    later_records(store, dataset, &mut report).await?;
    check_index(store, dataset, &previous, &mut report).await?;
    let live = files.live;
    for file in live.values() {
        check_file(store, file, &mut report).await?;
    }
    // A dataset is named after its table: files may be there although the whole log is gone.
    let table = table.unwrap_or_else(|| dataset.to_string());
    let last_removes: Vec<String> = last_removes.iter().map(|path| store.address(path)).collect();
    let in_log = |path: &str| log.as_ref().is_some_and(|log| path.starts_with(log.as_str()));
    let is_named = |path: &str| live.contains_key(path) || left.contains(path) || in_log(path);
    for address in unnamed_files(store, &table, is_named).await? {
        // What was cut off between its decision and its publication is no damage.
        report.problems.push(match last_removes.contains(&address) {
            true => format!("`{address}` is still there, though record {} took it out: {UNFINISHED}", report.seq),
            false => format!("`{address}` is in the table's folder, but no record names it"),
        });
    }
    Ok(report)
}

fn check_counts(record: &Record, report: &mut VerifyReport) {
    if !record.counts_add_up() {
        report.problems.push(format!("the counts of record {} do not add up to the rows of its files", record.seq));
    }
}

/// Readers of several files at once take `current.json` for the word.
async fn check_index(store: &dyn Store, dataset: &DatasetName, last: &str, report: &mut VerifyReport) -> Result<(), SinkError> {
    if report.seq == 0 {
        return Ok(());
    }
    let (address, end) = (store.address(&layout::current(dataset)), report.seq);
    match index_position(store, dataset).await? {
        Some((seq, hash)) if seq == end && hash == last => {}
        Some((seq, _)) => report.problems.push(format!("`{address}` is of record {seq}, the log ends at {end}: {UNFINISHED}")),
        None => report.problems.push(format!("`{address}` is missing or none of ours: {UNFINISHED}")),
    }
    Ok(())
}

/// Files that were joined hold as many rows as those that they came from, of each kind.
fn check_joined(record: &Record, gone: &[FileEntry], report: &mut VerifyReport) {
    let rows = |files: &[FileEntry], role| files.iter().filter(|file| file.role == role).map(|file| file.rows).sum::<u64>();
    let roles = [FileRole::Data, FileRole::DeadLetters, FileRole::Tombstones];
    if record.kind == RecordKind::Compact && roles.iter().any(|role| rows(gone, *role) != rows(&record.add, *role)) {
        report.problems.push(format!("record {} joined files, and the rows of the new ones are not as many", record.seq));
    }
}

/// A record beyond the end of the chain means that one between was deleted.
async fn later_records(store: &dyn Store, dataset: &DatasetName, report: &mut VerifyReport) -> Result<(), SinkError> {
    let folder = layout::log_folder(dataset);
    let known = layout::record(dataset, report.seq);
    for listed in store.list(&folder).await? {
        if listed.path > known && listed.path.ends_with(".json") {
            let next = report.seq + 1;
            report.problems.push(format!("record {next} is missing, though `{}` is there", store.address(&listed.path)));
            return Ok(());
        }
    }
    Ok(())
}

async fn check_file(store: &dyn Store, file: &FileEntry, report: &mut VerifyReport) -> Result<(), SinkError> {
    let address = store.address(&file.path);
    let size = match store.size(&file.path).await? {
        Some(size) => size,
        None => {
            report.problems.push(match store.size(&file.staged).await? {
                Some(_) => format!("`{address}` is decided and not to be seen yet: {UNFINISHED}"),
                None => format!("`{address}` is missing"),
            });
            return Ok(());
        }
    };
    if size != file.bytes {
        report.problems.push(format!("`{address}` has {size} bytes, its record says {}", file.bytes));
        return Ok(());
    }
    let mut digest = Sha256::new();
    let mut at = 0;
    while at < size {
        let end = (at + CHUNK).min(size);
        digest.update(&store.get_range(&file.path, at..end).await?);
        at = end;
    }
    if hex(&digest.finalize()) != file.sha256 {
        report.problems.push(format!("`{address}` is not what was written: its SHA-256 differs"));
        return Ok(());
    }
    let rows = footer_rows(store, &file.path, size).await?;
    if rows != file.rows {
        report.problems.push(format!("`{address}` has {rows} rows, its record says {}", file.rows));
    }
    if file.role == FileRole::Data {
        report.files += 1;
        report.rows += rows;
        report.bytes += size;
    }
    Ok(())
}

/// The addresses of files that readers see although no record names them: doubled or foreign rows.
pub async fn unnamed_files(store: &dyn Store, table: &str, is_named: impl Fn(&str) -> bool) -> Result<Vec<String>, SinkError> {
    let listed = store.list(table).await?;
    Ok(listed.iter().filter(|listed| !is_named(&listed.path)).map(|listed| store.address(&listed.path)).collect())
}
