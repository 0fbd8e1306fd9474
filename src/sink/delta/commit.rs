//! One record as one commit of the Delta log. Every outcome but "committed" is looked into anew from a fresh snapshot: an error
//! says nothing of what happened, and a conflict on S3 may stand where nothing is.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::DataType as ArrowType;
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine_data::FilteredEngineData;
use delta_kernel::expressions::{ColumnName, Scalar};
use delta_kernel::schema::{DataType, StructType};
use delta_kernel::snapshot::{Snapshot, SnapshotRef};
use delta_kernel::transaction::create_table::create_table;
use delta_kernel::transaction::data_layout::DataLayout;
use delta_kernel::transaction::{BoundWriteContext, CommitResult, Transaction, UpdateTableOperation, WriteState};
use delta_kernel::{Engine, FileMeta, KernelError};
use delta_kernel_default_engine::build_add_file_metadata;
use delta_kernel_default_engine::parquet::DataFileMetadata;
use futures::{StreamExt, TryStreamExt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::error::ErrorKind;
use crate::sink::SinkError;
use crate::sink::record::{FileEntry, PartitionValues, Record, RecordKind};
use crate::sink::stage::footer;
use crate::store::Store;

use super::engine::{told, with_engine};
use super::schema::{additions, partition_type, wanted};
use super::{Exposed, Exposure, guards, log_folder, stats, upkeep};

/// How often a commit begins anew because another one was there first, or because the table was made meanwhile.
const ATTEMPTS_MAX: u32 = 6;
/// Footers that are read at the same time.
const FOOTERS_AT_ONCE: usize = 16;
/// What stands as itself in a path of the log.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'=').remove(b'/').remove(b'~');
/// Who writes, in the log's own words.
const ENGINE: &str = concat!("highwater/", env!("CARGO_PKG_VERSION"));

/// A file of the record, with what the log says of it.
struct Addition {
    /// Below the table's folder, as it stands on the store.
    path: String,
    bytes: u64,
    partition: PartitionValues,
    stats: StructArray,
}

/// What stood at the end of an attempt.
enum Attempt {
    Ended(Exposed),
    /// The log had it already: by a commit whose answer was lost, or another's.
    Known,
    Again,
}

pub(super) async fn run(store: Arc<dyn Store>, exposure: Exposure, dry: bool) -> Result<Exposed, SinkError> {
    let files = match dry {
        true => Some(Vec::new()),
        false => additions_of(store.as_ref(), &exposure).await?,
    };
    let table = exposure.record.table.clone();
    let (now, housekeeping) = (exposure.now, Arc::clone(&store));
    let shared = Arc::clone(&store);
    let (exposed, due, known) = with_engine(shared, move |engine| {
        let mut due = false;
        for _ in 0..ATTEMPTS_MAX {
            match attempt(engine, &exposure, files.as_deref(), dry, &mut due)? {
                Attempt::Ended(exposed) => return Ok((exposed, due, false)),
                Attempt::Known => return Ok((Exposed::Done, due, true)),
                Attempt::Again => {}
            }
        }
        let message = "other commits to the Delta table were first again and again".to_owned();
        Err(SinkError::new(ErrorKind::Unavailable, message))
    })
    .await?;
    if known && !dry {
        // Whoever put it there may have been told of a failure, or died, before it was durable.
        store.sync(&log_folder(&table)).await?;
    }
    if due {
        upkeep::checkpoint(housekeeping, &table, now).await;
    }
    Ok(exposed)
}

/// The record's files, which stand under their names by now. `None` where one is gone: then nothing can be added, but another writer
/// may have rewritten and deleted what the log has had long since.
async fn additions_of(store: &dyn Store, exposure: &Exposure) -> Result<Option<Vec<Addition>>, SinkError> {
    let record = &exposure.record;
    let data = record.add.iter().filter(|file| record.is_in_delta_table(&file.path));
    let data: Vec<FileEntry> = data.cloned().collect();
    for file in &data {
        if store.size(&file.path).await?.is_none() {
            return Ok(None);
        }
    }
    let below = record.table.len() + 1;
    let added = futures::stream::iter(data).map(|file| addition(store, file, below)).buffered(FOOTERS_AT_ONCE);
    added.try_collect().await.map(Some)
}

async fn addition(store: &dyn Store, file: FileEntry, below: usize) -> Result<Addition, SinkError> {
    let metadata = footer(store, &file.path, file.bytes).await?;
    let stats = stats::of_file(&metadata)?;
    Ok(Addition { path: file.path[below..].to_owned(), bytes: file.bytes, partition: file.partition, stats })
}

/// The table's address for the kernel, whose store knows it by its path alone.
pub(super) fn root(table: &str) -> Result<Url, SinkError> {
    let address = format!("lake:///{}/", utf8_percent_encode(table, PATH));
    Url::parse(&address).map_err(|error| SinkError::bug(format!("`{address}` is no address: {error}")))
}

/// The table as it is now; `None` where there is none.
pub(super) fn load(engine: &dyn Engine, table: &str) -> Result<Option<SnapshotRef>, SinkError> {
    let root = root(table)?;
    let error = match Snapshot::builder_for(root.as_str()).build(engine) {
        Ok(snapshot) => return Ok(Some(snapshot)),
        Err(error) => error,
    };
    let log = root.join("_delta_log/").map_err(|error| SinkError::bug(error.to_string()))?;
    let what = "the log of the Delta table cannot be read";
    let mut listed = engine.storage_handler().list_from(&log).map_err(|error| told(what, error))?;
    match listed.next() {
        None => Ok(None),
        Some(Err(listing)) => Err(told(what, listing)),
        Some(Ok(_)) => Err(told(what, error)),
    }
}

fn attempt(
    engine: &dyn Engine,
    exposure: &Exposure,
    files: Option<&[Addition]>,
    dry: bool,
    due: &mut bool,
) -> Result<Attempt, SinkError> {
    let record = &exposure.record;
    let gone = || Ok(Attempt::Ended(Exposed::Displaced(record.table.clone())));
    let adds = record.add.iter().any(|file| record.is_in_delta_table(&file.path));
    let schema = || wanted(&record.schema, &exposure.own, &exposure.by);
    let Some(snapshot) = load(engine, &record.table)? else {
        // Even one that takes back the first rows: who was to publish those may only be paused, and must find it.
        if files.is_none() {
            return gone();
        }
        return match adds || record.kind == RecordKind::Void {
            true => create(engine, exposure, schema()?, dry),
            false => Ok(Attempt::Ended(Exposed::Done)),
        };
    };
    guards::properties(&snapshot, !record.remove.is_empty())?;
    let app = record.dataset.to_string();
    let known = snapshot.get_app_id_version(&app, engine).map_err(|error| told("the Delta table's transactions", error))?;
    let known = known.and_then(|version| u64::try_from(version).ok()).unwrap_or(0);
    if known >= record.seq && exposure.guards.delta_once {
        return already(engine, exposure, &snapshot, known, dry);
    }
    let Some(files) = files else { return gone() };
    let operation = match record.kind {
        RecordKind::Merge => UpdateTableOperation::Merge,
        RecordKind::Compact => UpdateTableOperation::Optimize,
        RecordKind::Expire => UpdateTableOperation::Delete,
        _ => UpdateTableOperation::Write,
    };
    // Who follows the table's changes has seen rows that only move from file to file.
    let changes_data = record.kind != RecordKind::Compact;
    let mut builder = Arc::clone(&snapshot).update_table(operation, ENGINE, changes_data);
    // Without rows there may be no columns either.
    let schema = if adds { schema()? } else { StructType::try_new([]).map_err(|error| SinkError::bug(error.to_string()))? };
    for addition in additions(&snapshot.schema(), &schema)? {
        builder = match addition.parent.is_empty() {
            true => builder.add_column(addition.field),
            false => builder.add_column_at(ColumnName::new(addition.parent), addition.field),
        };
    }
    let parameters = [("seq", record.seq.to_string()), ("batch", record.batch.to_string()), ("job", record.job.clone())];
    let version = i64::try_from(record.seq).map_err(|error| SinkError::bug(error.to_string()))?;
    let mut transaction = builder
        .with_transaction_id(app, version)
        .with_operation_parameters(parameters.map(|(name, value)| (name, Some(value))))
        .build(engine, Box::new(FileSystemCommitter::new()))
        .map_err(|error| told("the Delta table does not take these rows", error))?;
    if adds {
        check_partitions(&transaction, exposure)?;
    }
    if let Some(path) = remove(engine, exposure, &snapshot, &mut transaction)? {
        return Ok(Attempt::Ended(Exposed::Displaced(path)));
    }
    if dry {
        // What cannot be said of a file must be known before the record counts.
        if !adds {
            return Ok(Attempt::Ended(Exposed::Done));
        }
        let state = transaction.write_state().map_err(not_added)?;
        let partitions = record.add.iter().filter(|file| record.is_in_delta_table(&file.path)).map(|file| &file.partition);
        for partition in partitions.collect::<BTreeSet<_>>() {
            place_of(&state, partition, &schema)?;
        }
        return Ok(Attempt::Ended(Exposed::Done));
    }
    add(exposure, files, &schema, &mut transaction)?;
    match transaction.commit(engine).map_err(|error| told("the commit to the Delta log", error))? {
        CommitResult::Committed(committed) => {
            *due = committed.post_commit_stats().commits_since_checkpoint >= upkeep::CHECKPOINT_EVERY;
            Ok(Attempt::Ended(Exposed::Done))
        }
        CommitResult::Conflicted(_) => Ok(Attempt::Again),
        CommitResult::Retryable(failed) => Err(told("the commit to the Delta log", failed.error)),
    }
}

/// A table without rows, so that its first rows come to it like all others: under a transaction of their own.
fn create(engine: &dyn Engine, exposure: &Exposure, schema: StructType, dry: bool) -> Result<Attempt, SinkError> {
    let root = root(&exposure.record.table)?;
    let keys: Vec<String> = exposure.by.iter().map(|column| column.key()).collect();
    let mut builder = create_table(root.as_str(), Arc::new(schema), ENGINE, false);
    if !keys.is_empty() {
        builder = builder.with_data_layout(DataLayout::partitioned(keys));
    }
    let built = match builder.build(engine, Box::new(FileSystemCommitter::new())) {
        Ok(built) => built,
        // Somebody made it just now, or it cannot be made: the next look tells.
        Err(error) => {
            return match load(engine, &exposure.record.table)? {
                Some(_) => Ok(Attempt::Again),
                None => Err(told("the Delta table cannot be made", error)),
            };
        }
    };
    if dry {
        return Ok(Attempt::Ended(Exposed::Done));
    }
    match built.commit(engine) {
        Ok(CommitResult::Retryable(failed)) => Err(told("the Delta table could not be made", failed.error)),
        Ok(_) => Ok(Attempt::Again),
        Err(error) => Err(told("the Delta table could not be made", error)),
    }
}

/// The log knows of this record, or of a later one. What it knows must be this record: a log of ours that lost its end would
/// otherwise give the numbers of what it lost to other rows, which no reader would see.
fn already(
    engine: &dyn Engine,
    exposure: &Exposure,
    snapshot: &SnapshotRef,
    known: u64,
    dry: bool,
) -> Result<Attempt, SinkError> {
    let record = &exposure.record;
    let foreign = || {
        SinkError::data(format!(
            "the Delta table {} has record {known} of {} already, which is not this one: the log of its records lost its end; restore `_highwater/{}` from a copy",
            record.table, record.dataset, record.dataset
        ))
    };
    // A rival was first: who decides will find its record.
    if dry {
        return Ok(Attempt::Known);
    }
    let mut own = record.add.iter().filter(|file| record.is_in_delta_table(&file.path)).peekable();
    if known == record.seq && own.peek().is_some() && exposure.guards.delta_own {
        let active = paths(engine, snapshot, &record.table)?;
        // Another writer may have rewritten all of them since: then the log has a commit with this batch.
        if !own.any(|file| active.contains(&file.path)) && !was_committed(engine, record)? {
            return Err(foreign());
        }
    }
    Ok(Attempt::Known)
}

/// Whether a commit of the log names the record's batch, as ours do; the newest are looked at first.
fn was_committed(engine: &dyn Engine, record: &Record) -> Result<bool, SinkError> {
    let what = "the log of the Delta table cannot be read";
    let storage = engine.storage_handler();
    let log = root(&record.table)?.join("_delta_log/").map_err(|error| SinkError::bug(error.to_string()))?;
    let listed = storage.list_from(&log).map_err(|error| told(what, error))?;
    let listed: Vec<FileMeta> = listed.collect::<Result<_, _>>().map_err(|error| told(what, error))?;
    let batch = record.batch.to_string();
    for commit in listed.into_iter().rev().filter(|file| file.location.path().ends_with(".json")) {
        for bytes in storage.read_files(vec![(commit.location, None)]).map_err(|error| told(what, error))? {
            let bytes = bytes.map_err(|error| told(what, error))?;
            if bytes.windows(batch.len()).any(|window| window == batch.as_bytes()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn check_partitions(transaction: &Transaction, exposure: &Exposure) -> Result<(), SinkError> {
    let keys: Vec<String> = exposure.by.iter().map(|column| column.key()).collect();
    if transaction.logical_partition_columns() == keys.as_slice() || !exposure.guards.delta_partitions {
        return Ok(());
    }
    let there = transaction.logical_partition_columns().join(", ");
    Err(SinkError::new(
        ErrorKind::Config,
        format!(
            "the Delta table {} is partitioned by `{there}`, the job by `{}`: a Delta table keeps its partitions; load into another table",
            exposure.record.table,
            keys.join(", ")
        ),
    ))
}

fn add(exposure: &Exposure, files: &[Addition], schema: &StructType, transaction: &mut Transaction) -> Result<(), SinkError> {
    let state = transaction.write_state().map_err(not_added)?;
    let root = root(&exposure.record.table)?;
    let written_at = exposure.record.created_at.as_millisecond();
    for file in files {
        let context = place_of(&state, &file.partition, schema)?;
        let address =
            root.join(&utf8_percent_encode(&file.path, PATH).to_string()).map_err(|error| SinkError::bug(error.to_string()))?;
        let metadata = DataFileMetadata::new(FileMeta::new(address, written_at, file.bytes), file.stats.clone());
        transaction.add_files(build_add_file_metadata(metadata, &context).map_err(not_added)?);
    }
    Ok(())
}

/// Where in the table the log says that a file belongs.
fn place_of(state: &Arc<WriteState>, partition: &PartitionValues, schema: &StructType) -> Result<BoundWriteContext, SinkError> {
    let mut values: HashMap<String, Scalar> = HashMap::new();
    for (key, value) in partition {
        let kind = partition_type(schema, key)
            .ok_or_else(|| SinkError::data(format!("the partition column `{key}` is of a type that makes no partitions")))?;
        let scalar = match value {
            Some(value) => kind.parse_scalar(value).map_err(not_added)?,
            None => Scalar::Null(DataType::Primitive(kind)),
        };
        values.insert(key.clone(), scalar);
    }
    let builder = state.write_context_builder();
    // A table without partitions takes not even none of them.
    let builder = if values.is_empty() { builder } else { builder.with_partition_values(values) };
    builder.build().map_err(not_added)
}

fn not_added(error: KernelError) -> SinkError {
    told("a file cannot be added to the Delta table", error)
}

/// Takes what the record removes out of the table; the path of a file that is not part of it any more.
fn remove(
    engine: &dyn Engine,
    exposure: &Exposure,
    snapshot: &SnapshotRef,
    transaction: &mut Transaction,
) -> Result<Option<String>, SinkError> {
    let record = &exposure.record;
    let mut wanted: HashSet<&str> =
        record.remove.iter().map(String::as_str).filter(|path| record.is_in_delta_table(path)).collect();
    if wanted.is_empty() && !exposure.replaces_all {
        return Ok(None);
    }
    let own: HashSet<&str> = record.add.iter().map(|file| file.path.as_str()).collect();
    for (batch, selected, paths) in scan(engine, snapshot, &record.table)? {
        let taken: Vec<bool> = selected
            .iter()
            .zip(&paths)
            .map(|(selected, path)| {
                let named = wanted.remove(path.as_str());
                *selected && (named || exposure.replaces_all && !own.contains(path.as_str()))
            })
            .collect();
        if taken.contains(&true) {
            let data = FilteredEngineData::try_new(Box::new(ArrowEngineData::new(batch)), taken)
                .map_err(|error| told("files cannot leave the Delta table", error))?;
            transaction.remove_files(data);
        }
    }
    // What was never committed, and what is emptied as a whole, need not be there.
    let must_be_there = record.kind != RecordKind::Void && !exposure.replaces_all && exposure.guards.delta_replaced;
    Ok(wanted.into_iter().next().filter(|_| must_be_there).map(str::to_owned))
}

/// The files of a snapshot in batches: the kernel's rows, which of them count, and their paths below the sink's root.
type Scanned = (RecordBatch, Vec<bool>, Vec<String>);

fn scan(engine: &dyn Engine, snapshot: &SnapshotRef, table: &str) -> Result<Vec<Scanned>, SinkError> {
    let failed = |error| told("the files of the Delta table cannot be listed", error);
    let scan = Arc::clone(snapshot).scan_builder().build().map_err(failed)?;
    let mut batches = Vec::new();
    for metadata in scan.scan_metadata(engine).map_err(failed)? {
        let (data, mut selected) = metadata.map_err(failed)?.scan_files.into_parts();
        let batch: RecordBatch = (*ArrowEngineData::try_from_engine_data(data).map_err(failed)?).into();
        // A vector that is too short selects what lies behind its end.
        selected.resize(batch.num_rows(), true);
        let column = batch.column_by_name("path").ok_or_else(|| SinkError::bug("the kernel tells no paths"))?;
        let column = cast(column, &ArrowType::Utf8).map_err(|error| SinkError::bug(error.to_string()))?;
        let text = column.as_string::<i32>();
        let path = |row: usize| {
            let path = if text.is_null(row) { "" } else { text.value(row) };
            format!("{table}/{}", percent_decode_str(path).decode_utf8_lossy())
        };
        let paths = (0..batch.num_rows()).map(path).collect();
        batches.push((batch, selected, paths));
    }
    Ok(batches)
}

pub(super) fn paths(engine: &dyn Engine, snapshot: &SnapshotRef, table: &str) -> Result<BTreeSet<String>, SinkError> {
    let mut found = BTreeSet::new();
    for (_, selected, paths) in scan(engine, snapshot, table)? {
        found.extend(paths.into_iter().zip(selected).filter_map(|(path, selected)| selected.then_some(path)));
    }
    Ok(found)
}

pub(super) async fn active_files(store: Arc<dyn Store>, table: &str) -> Result<Option<BTreeSet<String>>, SinkError> {
    let table = table.to_owned();
    with_engine(store, move |engine| match load(engine, &table)? {
        Some(snapshot) => paths(engine, &snapshot, &table).map(Some),
        None => Ok(None),
    })
    .await
}
