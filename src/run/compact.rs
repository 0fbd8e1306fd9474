//! Small files of a table become larger ones, as a record of their own: between runs, under the dataset's lease, after settlement.
//!
//! It reads nothing of the source and says nothing of it: coverage, marks, what waits in the state and what the source answered stay.
//! Memory is bounded: one file is read at a time, row group after row group, and one is written.

use std::sync::Arc;

use serde::Serialize;

use crate::clock::Asked;
use crate::config::catalog::{Job, Mode, ParquetSettings, TableFormat};
use crate::error::ErrorKind;
use crate::ids::{PartitionKey, Seq};
use crate::sink::SinkError;
use crate::sink::commit::Verdict;
use crate::sink::compact::{Group, Rows, Wish, plan};
use crate::sink::current::Current;
use crate::sink::delta;
use crate::sink::encode::{EncodeSettings, Encoder, Piece};
use crate::sink::live::index_at;
use crate::sink::merge::own_columns;
use crate::sink::own::OwnColumns;
use crate::sink::record::{FileEntry, FileRole, Record, RecordKind, fingerprint, fingerprint_changes};
use crate::sink::settle::Head;
use crate::sink::stage::{Staging, entries};
use crate::state::Lease;

use super::commit::{check_counts, decide, foresee, unfinished, upkeep_record};
use super::expire::{Expired, expire};
use super::hold::while_held;
use super::stage::{encoder_memory, off_thread};
use super::{Ports, RunError, RunReport, settle};

/// Bytes that one record joins at most, unless a file may be larger: what a run that comes due may have to wait for.
const BYTES_MAX: u64 = 256 << 20;
/// Files that one record joins at most.
const FILES_MAX: usize = 1024;
/// How often in a row a rival may be first before the work is left to another time.
const RIVALS_MAX: u32 = 5;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Fewer small files than this in one place are left alone; above one.
    pub least: usize,
    /// Only files of about the same size are joined.
    pub alike: bool,
    /// Only dead letters and tombstones, which no reader of the table sees.
    pub beside_only: bool,
    /// Records that are decided at most.
    pub records_max: u32,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl Effort {
    /// All that there is to do, for who asked for it.
    pub fn all(dry_run: bool) -> Self {
        Effort { least: 2, alike: false, beside_only: false, records_max: u32::MAX, dry_run }
    }
}

/// What was done, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    pub records: u64,
    pub files_before: u64,
    pub files_after: u64,
    pub rows: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// It ended before all was done: stop was asked for, or as many records as wanted were decided.
    pub is_partial: bool,
}

/// Settles a job's dataset and joins its small files. Safe to repeat after any end; ends soon after `ports.stop` is asked for, and what
/// it had begun counts for nothing then.
///
/// # Errors
/// `Conflict` where another owner has the lease; `Config` where the table was loaded by another definition; else what store and state say.
pub async fn compact(job: &Job, ports: &Ports, effort: Effort) -> Result<Compacted, RunError> {
    let asked = Asked::now(&*ports.clock);
    let lease = ports.state.lease(&job.dataset, &ports.owner, ports.clock.now()).await?;
    let work = async {
        let (mut head, mut index) = begin(job, ports, &lease).await?;
        join(job, ports, &lease, &mut head, &mut index, effort).await
    };
    under(&lease, ports, asked, work).await
}

/// The same, after partitions that are older than what the job keeps were dropped: what is done between runs. The last is the end of
/// the log afterwards.
///
/// # Errors
/// As [`compact`].
pub async fn tend(job: &Job, ports: &Ports, effort: Option<Effort>) -> Result<(Option<Expired>, Compacted, Seq), RunError> {
    let asked = Asked::now(&*ports.clock);
    let lease = ports.state.lease(&job.dataset, &ports.owner, ports.clock.now()).await?;
    let work = async {
        let (mut head, mut index) = begin(job, ports, &lease).await?;
        let expired = expire(job, ports, &lease, &mut head, &mut index).await?;
        let compacted = match effort {
            Some(effort) => join(job, ports, &lease, &mut head, &mut index, effort).await?,
            None => Compacted::default(),
        };
        Ok((expired, compacted, head.state.seq))
    };
    under(&lease, ports, asked, work).await
}

async fn under<T>(
    lease: &Lease,
    ports: &Ports,
    asked: Asked,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    // On the heap: what a commit is made of is large.
    let worked = while_held(ports, lease, asked, Box::pin(work)).await;
    let released = ports.state.release(lease).await;
    let worked = worked?;
    released?;
    Ok(worked)
}

async fn begin(job: &Job, ports: &Ports, lease: &Lease) -> Result<(Head, Option<Current>), RunError> {
    let mut index = None;
    let mut report = RunReport::start(job, ports.clock.run_id());
    let head = settle::settle(job, ports, lease, &mut index, &mut report).await?;
    let Some(record) = &head.record else { return Ok((head, index)) };
    let changes = fingerprint_changes(&record.fingerprint, &fingerprint(job));
    if !changes.is_empty() {
        let message =
            format!("the table {} was loaded differently: {}; a run of the job says what to do", job.table, changes.join("; "));
        return Err(RunError::new(ErrorKind::Config, message));
    }
    if job.sink.format == TableFormat::Delta {
        let known = index_at(ports.store.as_ref(), &job.dataset, &head, &mut index).await?;
        delta::check(Arc::clone(&ports.store), job, &head, Some(known), true).await?;
    }
    Ok((head, index))
}

async fn join(
    job: &Job,
    ports: &Ports,
    lease: &Lease,
    head: &mut Head,
    index: &mut Option<Current>,
    effort: Effort,
) -> Result<Compacted, RunError> {
    let mut done = Compacted::default();
    let mut rivals = 0;
    // Each record leaves fewer files behind, so there are never more records than files.
    let mut records_max = None;
    while head.state.seq > 0 {
        let known = index_at(ports.store.as_ref(), &job.dataset, head, index).await?;
        let files = known.files.len() + known.dead_letters.len() + known.tombstones.len();
        let most = *records_max.get_or_insert(u64::from(effort.records_max).min(files as u64));
        let groups = plan(known, &wish(job, effort));
        if groups.is_empty() {
            return Ok(done);
        }
        if effort.dry_run {
            // One look: what a second record would join is not known before the first.
            return Ok(outlook(job, known, effort));
        }
        done.is_partial = done.records >= most || ports.stop.requested();
        if done.is_partial {
            return Ok(done);
        }
        let Some(record) = joined(job, ports, head, &groups).await? else {
            done.is_partial = true;
            return Ok(done);
        };
        let files = (groups.iter().map(|group| group.files.len() as u64).sum::<u64>(), record.add.len() as u64);
        let bytes = (groups.iter().map(Group::bytes).sum::<u64>(), record.add.iter().map(|file| file.bytes).sum::<u64>());
        let rows: u64 = groups.iter().map(Group::rows).sum();
        foresee(job, ports, &record, index).await?;
        let (verdict, new_head) = decide(job, ports, lease, head, record, index).await?;
        match verdict {
            Verdict::Committed => {
                *head = new_head;
                rivals = 0;
                done.records += 1;
                done.files_before += files.0;
                done.files_after += files.1;
                done.bytes_before += bytes.0;
                done.bytes_after += bytes.1;
                done.rows += rows;
                note(job, ports, &format!("{} files became {}, {rows} rows in {} bytes", files.0, files.1, bytes.1)).await;
            }
            Verdict::Lost { .. } | Verdict::StagedLost if rivals < RIVALS_MAX => {
                rivals += 1;
                (*head, *index) = begin(job, ports, lease).await?;
            }
            Verdict::Lost { .. } | Verdict::StagedLost => {
                return Err(RunError::new(
                    ErrorKind::Conflict,
                    format!("another writer commits to {} all the time", job.dataset),
                ));
            }
            verdict => return Err(unfinished(verdict, "the compaction")),
        }
    }
    Ok(done)
}

fn wish(job: &Job, effort: Effort) -> Wish {
    let file_size = job.sink.parquet.file_size;
    Wish {
        file_size,
        least: effort.least.max(2),
        alike: effort.alike,
        beside_only: effort.beside_only,
        by_set: job.mode == Mode::Replace,
        bytes_max: BYTES_MAX.max(file_size),
        files_max: FILES_MAX,
    }
}

/// What all records together would do, as far as it can be told without doing it.
fn outlook(job: &Job, index: &Current, effort: Effort) -> Compacted {
    let whole = Wish { bytes_max: u64::MAX, files_max: usize::MAX, ..wish(job, effort) };
    let mut told = Compacted::default();
    for group in plan(index, &whole) {
        told.records = 1;
        told.files_before += group.files.len() as u64;
        told.files_after += group.bytes().div_ceil(whole.file_size.max(1)).max(1);
        told.rows += group.rows();
        told.bytes_before += group.bytes();
        told.bytes_after += group.bytes();
    }
    told
}

/// The record, its files staged; `None` where stop was asked for meanwhile.
async fn joined(job: &Job, ports: &Ports, head: &Head, groups: &[Group]) -> Result<Option<Record>, RunError> {
    let Some(base) = upkeep_record(job, ports, head, RecordKind::Compact) else { return Ok(None) };
    let Some(add) = stage_all(job, ports, &base, groups).await? else { return Ok(None) };
    let remove = groups.iter().flat_map(|group| group.files.iter().map(|(path, _)| path.clone()));
    let remove = if ports.guards.joined_leave { remove.collect() } else { Vec::new() };
    let carried = groups.iter().filter(|group| group.role == FileRole::Data).map(Group::rows).sum();
    let record = Record { add, remove, carried, ..base };
    check_counts(&record, ports.guards)?;
    Ok(Some(record))
}

async fn stage_all(job: &Job, ports: &Ports, base: &Record, groups: &[Group]) -> Result<Option<Vec<FileEntry>>, RunError> {
    let mut desk = Desk::open(job, ports, base, groups).await?;
    let mut sets = Vec::new();
    for group in groups {
        let whole = desk.join(ports, group, job.sink.parquet.file_size).await;
        if !matches!(whole, Ok(true)) {
            desk.staging.abort().await;
            return whole.map(|_| None);
        }
        sets.resize(desk.files, group.set.clone());
    }
    let staged = desk.staging.finish()?;
    let mut add = entries(job, &PartitionKey::default(), base.seq, base.batch, &staged);
    add.iter_mut().zip(sets).for_each(|(file, set)| file.set = set);
    Ok(Some(add))
}

/// Where rows become files again.
struct Desk {
    /// Off the async threads while it works.
    encoder: Option<Encoder>,
    staging: Staging,
    /// Written so far.
    files: usize,
}

impl Desk {
    async fn open(job: &Job, ports: &Ports, base: &Record, groups: &[Group]) -> Result<Self, RunError> {
        let of_rows = groups.iter().filter(|group| group.role == FileRole::Data).flat_map(|group| &group.files);
        let of_rows = of_rows.map(|(path, file)| (path.as_str(), file));
        let settings = EncodeSettings {
            // Where a file ends is said by the files that go into it: what they take is known, what rows will take is not.
            parquet: ParquetSettings { file_size: u64::MAX, ..job.sink.parquet },
            partition_by: job.partition_by.clone(),
            schema: base.schema.clone(),
            own: own_columns(&ports.store, OwnColumns::of(job), of_rows).await?,
            batch: base.batch,
            set: PartitionKey::default(),
            memory: encoder_memory(ports.memory),
            part: ports.store.part(),
            held: usize::MAX,
            ended: usize::MAX,
            // Files are finished partition by partition.
            parked: usize::MAX,
            scratch: None,
            resting: 0,
            keys_max: groups.iter().map(Group::rows).max(),
        };
        let staging = Staging::new(Arc::clone(&ports.store), job.dataset.clone(), base.batch, 0, ports.guards);
        Ok(Desk { encoder: Some(Encoder::new(settings)), staging, files: 0 })
    }

    /// Writes a group's rows anew; false where stop was asked for.
    async fn join(&mut self, ports: &Ports, group: &Group, file_size: u64) -> Result<bool, RunError> {
        let mut rows = Rows::of(&ports.store, group);
        let (share, mut taken) = (group.share(file_size), 0);
        while let Some((batch, bytes)) = rows.next().await? {
            if ports.stop.requested() {
                return Ok(false);
            }
            if taken >= share {
                taken = 0;
                self.work(Encoder::finish).await?;
            }
            taken += bytes;
            let (role, partition) = (group.role, group.partition.clone());
            self.work(move |encoder| match role {
                FileRole::Data => {
                    let foreign = batch.schema().fields().iter().find(|field| !encoder.has_column(field.name())).cloned();
                    match foreign {
                        None => encoder.add_carried(&partition, &batch),
                        Some(field) => Err(SinkError::data(format!(
                            "files of the table have a column `{}` that its last record does not name, so they are not joined",
                            field.name()
                        ))),
                    }
                }
                role => encoder.add_joined(role, &batch),
            })
            .await?;
        }
        self.work(Encoder::finish).await?;
        Ok(true)
    }

    async fn work(
        &mut self,
        work: impl FnOnce(&mut Encoder) -> Result<Vec<Piece>, SinkError> + Send + 'static,
    ) -> Result<(), RunError> {
        let lost = || RunError::new(ErrorKind::Bug, "the encoder is lost");
        let mut encoder = self.encoder.take().ok_or_else(lost)?;
        let work = move || {
            let pieces = work(&mut encoder);
            (encoder, pieces)
        };
        let (encoder, pieces) = off_thread(work).await?;
        self.files = encoder.files();
        self.encoder = Some(encoder);
        Ok(self.staging.take(pieces?).await?)
    }
}

async fn note(job: &Job, ports: &Ports, text: &str) {
    tracing::info!(job.id = %job.name, "{}: {text}", job.name);
    ports.keep_event(job, "compacted", text).await;
}
