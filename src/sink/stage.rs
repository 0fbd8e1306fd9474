//! Staging: the bytes of a batch's files onto the store, where no reader sees them, and verified there.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use parquet::file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::config::catalog::Job;
use crate::error::ErrorKind;
use crate::fault::Guards;
use crate::ids::{BatchId, DatasetName, PartitionKey, Seq};
use crate::store::{StagedWriter, Store, StoreError};

use super::encode::{Closed, Piece};
use super::record::{FileEntry, FileRole, hex};
use super::{SinkError, layout};

/// Bytes at a Parquet file's end: the metadata's length and the magic number.
const TAIL: u64 = 8;

/// Bytes that are hashed before others get their turn: a tenth of a millisecond.
const DIGESTED: usize = 128 * 1024;

/// Files that are finished at the same time.
const SIDE_BY_SIDE: usize = 8;

/// Files that wait to be finished together, at most: each may be an open one.
const WHOLE_MAX: usize = 4 * SIDE_BY_SIDE;

/// The files of one batch being staged.
pub struct Staging {
    store: Arc<dyn Store>,
    dataset: DatasetName,
    batch: BatchId,
    /// Counts all files ever staged for this batch: an encoding that was given up keeps its numbers.
    first: usize,
    guards: Guards,
    /// The store is being prepared.
    preparing: JoinSet<Result<(), StoreError>>,
    open: HashMap<usize, Box<dyn StagedWriter>>,
    /// By the files' numbers.
    digests: Digests,
    staged: Vec<StagedFile>,
}

/// A staged, verified file.
#[derive(Clone, Debug)]
pub struct StagedFile {
    pub path: String,
    /// Hex SHA-256 of all the file's bytes.
    pub sha256: String,
    pub closed: Closed,
}

impl Staging {
    /// `first` is the number of the first file: numbers of a staging that was given up are not used again.
    pub fn new(store: Arc<dyn Store>, dataset: DatasetName, batch: BatchId, first: usize, guards: Guards) -> Self {
        let (preparing, open, digests) = (JoinSet::new(), HashMap::new(), HashMap::new());
        Staging { store, dataset, batch, first, guards, preparing, open, digests, staged: Vec::new() }
    }

    /// Has the store prepared while the first rows are still encoded, with `others`, the folders that come after the files' own. To be
    /// called within a runtime, where some will be written.
    pub fn prepared_ahead(mut self, others: Vec<String>) -> Self {
        let store = Arc::clone(&self.store);
        let own = layout::batch_folder(&self.dataset, self.batch);
        self.preparing.spawn(async move {
            for folder in std::iter::once(own).chain(others) {
                store.prepare(&folder).await?;
            }
            Ok(())
        });
        self
    }

    pub async fn take(&mut self, pieces: Vec<Piece>) -> Result<(), SinkError> {
        self.take_and_drop(pieces, None::<()>).await
    }

    /// The same; what is `done_with` goes while the store is waited for.
    pub async fn take_and_drop<T: Send + 'static>(&mut self, pieces: Vec<Piece>, done_with: Option<T>) -> Result<(), SinkError> {
        if pieces.is_empty() {
            return Ok(());
        }
        if let Some(Ok(prepared)) = self.preparing.join_next().await {
            prepared?;
        }
        let numbers: Vec<usize> = pieces.iter().filter(|piece| piece.closed.is_some()).map(|piece| piece.file).collect();
        let to_come = pieces.iter().map(|piece| (piece.file, piece.bytes.clone())).collect();
        let (digests, first) = (std::mem::take(&mut self.digests), self.staged.len());
        let (handed, are_handed) = oneshot::channel();
        // Where files end, the disk is given what it is to take before anything else is done.
        let handed = Some(handed).filter(|_| !numbers.is_empty());
        let meanwhile = async {
            drop(are_handed.await);
            let dropping = done_with.map(|done_with| tokio::task::spawn_blocking(move || drop(done_with)));
            let digests = digest(digests, to_come).await;
            if let Some(dropping) = dropping {
                drop(dropping.await);
            }
            digests
        };
        let (digests, written) = tokio::join!(meanwhile, self.write_all(pieces, handed));
        self.digests = digests;
        written?;
        for (file, number) in self.staged.iter_mut().skip(first).zip(numbers) {
            let digest = self.digests.remove(&number).unwrap_or_default();
            file.sha256 = hex(&digest.finalize());
        }
        Ok(())
    }

    /// Lets go of `handed` once the end of files is waited for.
    async fn write_all(&mut self, pieces: Vec<Piece>, mut handed: Option<oneshot::Sender<()>>) -> Result<(), SinkError> {
        let (mut whole, mut failed) = (Vec::new(), None);
        for piece in pieces {
            failed = self.write(piece, &mut whole).await.err();
            if failed.is_none() && whole.len() >= WHOLE_MAX {
                drop(handed.take());
                failed = self.finish_files(std::mem::take(&mut whole)).await.err();
            }
            if failed.is_some() {
                break;
            }
        }
        drop(handed);
        let finished = self.finish_files(whole).await;
        failed.map_or(finished, Err)
    }

    /// Writes a piece; a file that ends with it is `whole`.
    async fn write(&mut self, piece: Piece, whole: &mut Vec<(Box<dyn StagedWriter>, StagedFile)>) -> Result<(), SinkError> {
        let path = layout::staged(&self.dataset, self.batch, self.first + piece.file);
        let mut writer = match self.open.remove(&piece.file) {
            Some(writer) => writer,
            None => self.store.stage(&path).await?,
        };
        if !piece.bytes.is_empty()
            && let Err(error) = writer.write(piece.bytes).await
        {
            writer.abort().await;
            return Err(error.into());
        }
        match piece.closed {
            None => drop(self.open.insert(piece.file, writer)),
            Some(closed) => whole.push((writer, StagedFile { path, sha256: String::new(), closed })),
        }
        Ok(())
    }

    /// Where rows are of many partitions, so are the files: a store, or a disk, is waited for by several at the same time.
    async fn finish_files(&mut self, files: Vec<(Box<dyn StagedWriter>, StagedFile)>) -> Result<(), SinkError> {
        let finishing = files.into_iter().map(|(writer, file)| finish_file(Arc::clone(&self.store), self.guards, writer, file));
        let finished = futures::stream::iter(finishing.collect::<Vec<_>>()).buffered(SIDE_BY_SIDE).collect::<Vec<_>>().await;
        let mut failed = Ok(());
        for file in finished {
            match file {
                Ok(file) => self.staged.push(file),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed
    }

    /// All files that were closed. Call after the encoder's last pieces were taken.
    pub fn finish(self) -> Result<Vec<StagedFile>, SinkError> {
        match self.open.is_empty() {
            true => Ok(self.staged),
            false => Err(SinkError::bug("a staged file was never closed")),
        }
    }

    /// Gives all of it up; what cannot be dropped is an orphan that no record names.
    pub async fn abort(mut self) {
        // A probe that comes to its end leaves nothing behind.
        drop(self.preparing.join_next().await);
        for (_, mut writer) in self.open.drain() {
            writer.abort().await;
        }
        // One that is not there takes the folder along that was made ready for it.
        let first = layout::staged(&self.dataset, self.batch, self.first);
        let first = Some(first.as_str()).filter(|_| self.staged.is_empty());
        let staged = self.staged.iter().map(|file| file.path.as_str());
        drop_staged(self.store.as_ref(), first.into_iter().chain(staged)).await;
    }
}

type Digests = HashMap<usize, Sha256>;

/// Digests take as long as bytes take to be written, and are made meanwhile: by the thread that is at hand, a little at a time, for one
/// that is woken for it may be put behind the one that writes ([ADR 57](../../docs/adr/0057-digests-are-made-by-whoever-is-at-hand.md)).
async fn digest(mut digests: Digests, pieces: Vec<(usize, Bytes)>) -> Digests {
    for (file, bytes) in pieces {
        let digest = digests.entry(file).or_default();
        for some in bytes.chunks(DIGESTED) {
            digest.update(some);
            tokio::task::yield_now().await;
        }
    }
    digests
}

async fn finish_file(
    store: Arc<dyn Store>,
    guards: Guards,
    mut writer: Box<dyn StagedWriter>,
    file: StagedFile,
) -> Result<StagedFile, SinkError> {
    let size = writer.finish().await?;
    if guards.staged_verified {
        verify(store.as_ref(), &file.path, size, &file.closed).await?;
    }
    Ok(file)
}

/// A file must stand on the store as it was written before anything is decided about it: size, and the footer's row count.
async fn verify(store: &dyn Store, path: &str, size: u64, closed: &Closed) -> Result<(), SinkError> {
    let spoilt =
        |what: String| SinkError::new(ErrorKind::Unavailable, format!("the staged file `{}` {what}", store.address(path)));
    if size != closed.bytes {
        return Err(spoilt(format!("has {size} bytes on the store, {} were written", closed.bytes)));
    }
    let rows = footer_rows(store, path, size).await?;
    match rows == closed.rows {
        true => Ok(()),
        false => Err(spoilt(format!("has {rows} rows on the store, {} were written", closed.rows))),
    }
}

/// Drops staged files that nothing names. Failures leave orphans, which are harmless: no reader sees them.
pub async fn drop_staged<'a>(store: &dyn Store, paths: impl Iterator<Item = &'a str>) {
    for path in paths {
        if let Err(error) = store.delete(path).await {
            tracing::debug!(path, %error, "a staged file that nothing names stays behind");
        }
    }
}

/// The entries of a record at `seq` for staged files.
pub fn entries(job: &Job, set: &PartitionKey, seq: Seq, batch: BatchId, staged: &[StagedFile]) -> Vec<FileEntry> {
    let (dataset, table) = (&job.dataset, &job.table);
    let entry = |(number, file): (usize, &StagedFile)| {
        let Closed { role, directory, partition, rows, bytes, ranges } = file.closed.clone();
        let path = match role {
            FileRole::Data => layout::data_file(table, &directory, seq, number, batch),
            FileRole::DeadLetters => layout::dead_letters_file(dataset, seq, number, batch),
            FileRole::Tombstones => layout::tombstones_file(dataset, seq, number, batch),
            FileRole::Parents => layout::parents_file(dataset, seq, number, batch),
        };
        FileEntry {
            role,
            path,
            staged: file.path.clone(),
            bytes,
            rows,
            sha256: file.sha256.clone(),
            partition,
            ranges,
            set: set.clone(),
        }
    };
    staged.iter().enumerate().map(entry).collect()
}

/// The number of rows that a Parquet file's footer tells.
pub async fn footer_rows(store: &dyn Store, path: &str, size: u64) -> Result<u64, SinkError> {
    let metadata = footer(store, path, size).await?;
    u64::try_from(metadata.file_metadata().num_rows()).map_err(|_| {
        SinkError::data(format!(
            "the file `{}` is no whole Parquet file: it tells a negative number of rows",
            store.address(path)
        ))
    })
}

/// What a Parquet file's footer tells.
pub async fn footer(store: &dyn Store, path: &str, size: u64) -> Result<ParquetMetaData, SinkError> {
    let unreadable =
        |what: String| SinkError::data(format!("the file `{}` is no whole Parquet file: {what}", store.address(path)));
    if size < TAIL + 4 {
        return Err(unreadable(format!("it has {size} bytes")));
    }
    let tail = store.get_range(path, size - TAIL..size).await?;
    let tail: [u8; 8] = tail.as_ref().try_into().map_err(|_| unreadable("its end is cut off".to_owned()))?;
    let length = FooterTail::try_new(&tail).map_err(|error| unreadable(error.to_string()))?.metadata_length() as u64;
    if length + TAIL > size {
        return Err(unreadable("its footer is longer than the file".to_owned()));
    }
    let footer = store.get_range(path, size - TAIL - length..size - TAIL).await?;
    ParquetMetaDataReader::decode_metadata(&footer).map_err(|error| unreadable(error.to_string()))
}
