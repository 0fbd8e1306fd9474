//! Garbage: staged objects of batches that came to nothing, files that no record names, and what the history has kept for long
//! enough.
//!
//! Only under the dataset's lease and once everything is settled, so that no commit of ours is half way; a writer with a state of
//! its own is protected by age, and what it decided meanwhile by its seq. Ages are the store's, against the store's own clock: ours
//! may be wrong.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::clock::Asked;
use crate::config::catalog::{Job, TableFormat};
use crate::error::ErrorKind;
use crate::ids::Seq;
use crate::sink::SinkError;
use crate::sink::current::Current;
use crate::sink::delta;
use crate::sink::history::files_at;
use crate::sink::layout;
use crate::sink::live::index_at;
use crate::sink::record::Record;
use crate::sink::settle::Head;
use crate::state::Lease;
use crate::store::{Listed, Store};

use super::hold::while_held;
use super::{Ports, RunError, RunReport, settle};

/// Objects of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heap {
    pub objects: u64,
    pub bytes: u64,
}

impl Heap {
    fn add(&mut self, more: &Heap) {
        self.objects += more.objects;
        self.bytes += more.bytes;
    }
}

/// What was collected, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Staged for batches that came to nothing, and files whose writer was killed.
    pub staged: Heap,
    /// Where the table's files stand, written by us, and named by no record any more.
    pub orphans: Heap,
    /// Kept for `history`, which is over.
    pub history: Heap,
}

impl Collected {
    pub fn objects(&self) -> u64 {
        self.staged.objects + self.orphans.objects + self.history.objects
    }

    pub fn bytes(&self) -> u64 {
        self.staged.bytes + self.orphans.bytes + self.history.bytes
    }
}

/// Settles a job's dataset and collects its garbage; with `dry_run` it only says what there is. Safe to repeat after any end.
///
/// # Errors
/// `Conflict` where another owner has the lease; else what store and state say.
pub async fn collect(job: &Job, ports: &Ports, dry_run: bool) -> Result<Collected, RunError> {
    let asked = Asked::now(&*ports.clock);
    let lease = ports.state.lease(&job.dataset, &ports.owner, ports.clock.now()).await?;
    let collected = while_held(ports, &lease, asked, settle_and_sweep(job, ports, &lease, dry_run)).await;
    let released = ports.state.release(&lease).await;
    let collected = collected?;
    released?;
    Ok(collected)
}

async fn settle_and_sweep(job: &Job, ports: &Ports, lease: &Lease, dry_run: bool) -> Result<Collected, RunError> {
    let mut index = None;
    let mut report = RunReport::start(job, ports.clock.run_id());
    let head = settle::settle(job, ports, lease, &mut index, &mut report).await?;
    sweep_up(job, ports, &head, &mut index, dry_run).await
}

/// The same for who has the lease and has settled.
pub(super) async fn sweep_up(
    job: &Job,
    ports: &Ports,
    head: &Head,
    index: &mut Option<Current>,
    dry_run: bool,
) -> Result<Collected, RunError> {
    let mut collected = Collected::default();
    let store = ports.store.as_ref();
    let mut unfinished = Vec::new();
    for folder in [layout::own_folder(&job.dataset), delta::log_folder(&job.table)] {
        unfinished.extend(store.unfinished(&folder).await.map_err(SinkError::from)?);
    }
    if head.state.seq == 0 && unfinished.is_empty() {
        return Ok(collected);
    }
    let now = store_now(job, store).await?;
    let min_age = if ports.guards.young_is_live { job.keep.gc_min_age } else { SignedDuration::ZERO };
    let is_old = |listed: &Listed| age(now, listed.modified) >= min_age;
    collected.staged = take(store, unfinished.into_iter().filter(is_old), dry_run).await?;
    if head.state.seq == 0 {
        // Nothing was ever decided: what else is in the folders is not known to be ours.
        return Ok(collected);
    }

    let holes = holes(&list(store, &layout::log_folder(&job.dataset)).await?, job, head.state.seq);
    if let Some(holes) = holes {
        return Err(RunError::new(ErrorKind::Data, holes));
    }

    let mut named: BTreeSet<String> =
        ports.state.open_batches(&job.dataset).await?.iter().map(|note| note.batch.to_string()).collect();
    named.extend(head.record.as_ref().map(|record| record.batch.to_string()));
    if !ports.guards.named_is_live {
        named.clear();
    }
    let staged = list(store, &layout::staging_folder(&job.dataset)).await?;
    let staged = staged.into_iter().filter(|listed| {
        is_old(listed) && layout::batch_of_staged(&job.dataset, &listed.path).is_some_and(|batch| !named.contains(batch))
    });
    collected.staged.add(&take(store, staged, dry_run).await?);

    let live = index_at(store, &job.dataset, head, index).await?;
    let is_live = |path: &str| ports.guards.named_is_live && live.names(path);
    // A later seq is of a rival that was faster than this: its record is not known here.
    let is_past = |path: &str| layout::seq_of_file(path).is_some_and(|seq| seq <= head.state.seq || !ports.guards.rivals_file);
    let mut orphans = Vec::new();
    for folder in layout::folders_of_files(&job.table, &job.dataset) {
        let is_delta = head.record.as_ref().is_some_and(|record| record.table_format == TableFormat::Delta);
        if (is_delta || job.sink.format == TableFormat::Delta) && folder == job.table {
            // Its log, and files that older versions are read by: the vacuum takes those away.
            continue;
        }
        let found = list(store, &folder).await?.into_iter();
        orphans.extend(found.filter(|listed| is_old(listed) && is_past(&listed.path) && !is_live(&listed.path)));
    }
    if !orphans.is_empty() && ports.guards.named_is_live {
        // There are seldom any. The index is only an index, and somebody may have edited it: before a file goes, the log is asked.
        let named = files_at(store, &job.dataset, (head.state.seq, &head.state.record_hash)).await?;
        orphans.retain(|listed| !named.contains_key(&listed.path));
        // A rival that went back over files of parents has given them their old seqs.
        if store.size(&layout::record(&job.dataset, head.state.seq + 1)).await.map_err(SinkError::from)?.is_some() {
            orphans.clear();
        }
    }
    collected.orphans = take(store, orphans.into_iter(), dry_run).await?;

    collected.history = end_history(job, store, now, dry_run).await?;
    Ok(collected)
}

/// Which records of a log are missing before its end, and what to do: what they told of the table's files is lost with them.
pub(super) fn holes(log: &[Listed], job: &Job, last: Seq) -> Option<String> {
    let found: BTreeSet<&str> = log.iter().map(|listed| listed.path.as_str()).collect();
    let mut missing = (1..=last).filter(|seq| !found.contains(layout::record(&job.dataset, *seq).as_str()));
    let first = missing.next()?;
    let others = match missing.count() {
        0 => "is".to_owned(),
        count => format!("and {count} more up to {last} are"),
    };
    Some(format!(
        "record {first} {others} missing from the log of {dataset}, and rows may be with what they told of: `highwater verify {name}` says of \
         which files, `highwater run {name} --full` reads everything again",
        dataset = job.dataset,
        name = job.name,
    ))
}

/// What left the table longer ago than `history`. A file's own age says nothing of when it left, where leaving is a rename: its
/// record does.
async fn end_history(job: &Job, store: &dyn Store, now: Timestamp, dry_run: bool) -> Result<Heap, RunError> {
    let mut by_seq: Vec<(Seq, Vec<Listed>)> = Vec::new();
    for listed in list(store, &layout::history_folder(&job.dataset)).await? {
        let Some((seq, _)) = layout::before_history(&job.dataset, &listed.path) else { continue };
        match by_seq.last_mut() {
            Some((last, files)) if *last == seq => files.push(listed),
            _ => by_seq.push((seq, vec![listed])),
        }
    }
    let mut over = Heap::default();
    // In the order of the log: what left after the first that is still to be kept is to be kept, too.
    for (seq, files) in by_seq {
        let path = layout::record(&job.dataset, seq);
        let Some(bytes) = store.get(&path, layout::SMALL_OBJECT_MAX).await.map_err(SinkError::from)? else { continue };
        let record = Record::from_bytes(&bytes, &job.dataset, seq)?;
        if age(now, record.created_at) < job.keep.history {
            break;
        }
        let old = files.into_iter().filter(|listed| age(now, listed.modified) >= job.keep.history);
        let taken = take(store, old, dry_run).await?;
        over.add(&taken);
    }
    Ok(over)
}

fn age(now: Timestamp, then: Timestamp) -> SignedDuration {
    now.duration_since(then)
}

async fn list(store: &dyn Store, folder: &str) -> Result<Vec<Listed>, RunError> {
    Ok(store.list(folder).await.map_err(SinkError::from)?)
}

async fn take(store: &dyn Store, garbage: impl Iterator<Item = Listed>, dry_run: bool) -> Result<Heap, RunError> {
    let mut heap = Heap::default();
    for listed in garbage {
        if !dry_run {
            store.delete(&listed.path).await.map_err(SinkError::from)?;
        }
        heap.objects += 1;
        heap.bytes += listed.size;
    }
    Ok(heap)
}

/// What the store takes for now, told by an object that it just took.
pub(super) async fn store_now(job: &Job, store: &dyn Store) -> Result<Timestamp, RunError> {
    let path = layout::clock(&job.dataset);
    store.put(&path, Bytes::from_static(b"now\n")).await.map_err(SinkError::from)?;
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let found = list(store, folder).await?.into_iter().find(|listed| listed.path == path);
    store.delete(&path).await.map_err(SinkError::from)?;
    match found {
        Some(listed) => Ok(listed.modified),
        None => {
            Err(RunError::new(ErrorKind::Unavailable, "the store does not list what was just written: its time is not known"))
        }
    }
}
