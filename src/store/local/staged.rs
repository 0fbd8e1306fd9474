//! Writing one file of a folder: under a name that no reader takes, until it is whole and durable.
//!
//! object_store would do it, but keeps the open file to itself. Here bytes go to the disk as they come, so that the fsync at the end,
//! which a commit waits for, has less left to do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::super::StoreError;
use super::super::errors::io_error;
use super::super::upload::Destination;
use super::unfinished::named;
use super::{ready_folder, sync};
use crate::error::ErrorKind;

/// Bytes that the disk is told to take at once, and then to keep.
const GIVEN: u64 = 1024 * 1024;

/// What the files share that are being staged in a folder.
#[derive(Default)]
pub(super) struct Together {
    /// One of them is being flushed, and the disk with it.
    is_flushing: AtomicBool,
}

pub(super) struct StagedFile {
    path: PathBuf,
    address: String,
    is_synced: bool,
    /// As many hold it as there are files being staged, and the store; now and then one more, who flushes.
    together: Arc<Together>,
    /// From the first bytes on.
    begun: Option<Unfinished>,
}

impl StagedFile {
    /// To stand at `path`, which messages call `address`. Nothing is done before there are bytes.
    pub fn new(path: PathBuf, address: String, is_synced: bool, together: Arc<Together>) -> Self {
        StagedFile { path, address, is_synced, together, begun: None }
    }

    /// Off the async threads: writes, and goes on with the file.
    async fn write<T: Send + 'static>(
        &mut self,
        pieces: Vec<Bytes>,
        then: impl FnOnce(Unfinished) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (begun, path, is_synced) = (self.begun.take(), self.path.clone(), self.is_synced);
        let working = move || {
            let mut file = match begun {
                Some(begun) => begun,
                None => Unfinished::begin(&path, is_synced)?,
            };
            file.write(&pieces)?;
            then(file)
        };
        match tokio::task::spawn_blocking(working).await {
            Ok(done) => done.map_err(|error| io_error("stage", self.address.clone(), &error)),
            Err(_) => {
                let message = "a blocking task ended early".to_owned();
                Err(StoreError { kind: ErrorKind::Bug, verb: "stage", address: self.address.clone(), message })
            }
        }
    }
}

#[async_trait]
impl Destination for StagedFile {
    fn address(&self) -> &str {
        &self.address
    }

    fn open(&self) -> usize {
        Arc::strong_count(&self.together) - 1
    }

    async fn part(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        let together = Some(Arc::clone(&self.together)).filter(|_| self.is_synced);
        let then = move |mut file: Unfinished| {
            together.map_or(Ok(()), |together| file.flush_ahead(together))?;
            Ok(file)
        };
        let begun = self.write(pieces, then).await?;
        self.begun = Some(begun);
        Ok(())
    }

    async fn complete(&mut self, pieces: Vec<Bytes>) -> Result<u64, StoreError> {
        let (path, is_synced) = (self.path.clone(), self.is_synced);
        self.write(pieces, move |file| file.finish(&path, is_synced)).await
    }

    async fn abort(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        // Harmless where it fails: no reader takes the name.
        drop(tokio::task::spawn_blocking(move || begun.remove()).await);
    }
}

/// A file under a name that no reader takes. Goes where it is dropped.
struct Unfinished {
    file: Arc<File>,
    /// `None` once it has its own name, or is gone.
    name: Option<PathBuf>,
    written: u64,
    /// Of them, bytes that the disk was told to take, and those that were flushed, or are being.
    given: u64,
    flushed: u64,
    /// A flush of them, which tells of what the one at the end may not tell again (fsync(2)).
    flushing: Option<JoinHandle<io::Result<()>>>,
}

impl Unfinished {
    /// Under the first number that is free: what a killed process left is not written into. The folder is made where there is none, or
    /// where another publication took it for empty.
    fn begin(path: &Path, is_synced: bool) -> io::Result<Self> {
        let mut number = 1;
        loop {
            let name = named(path, number);
            match File::options().write(true).create_new(true).open(&name) {
                Ok(file) => {
                    let (file, name) = (Arc::new(file), Some(name));
                    return Ok(Unfinished { file, name, written: 0, given: 0, flushed: 0, flushing: None });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
                    Some(folder) => ready_folder(folder, is_synced)?,
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        for piece in pieces {
            (&*self.file).write_all(piece)?;
            self.written += piece.len() as u64;
        }
        if self.written - self.given >= GIVEN {
            give(&self.file, self.given, self.written - self.given);
            self.given = self.written;
        }
        Ok(())
    }

    /// Has the disk keep what it was told to take, while other bytes come: a disk that has taken bytes still holds them in a cache of its
    /// own, and the flush at the end would wait for all of them. One file at a time: the disk flushes what it holds of any.
    fn flush_ahead(&mut self, together: Arc<Together>) -> io::Result<()> {
        let is_at_it = self.flushing.as_ref().is_some_and(|flushing| !flushing.is_finished());
        if is_at_it || self.given == self.flushed || together.is_flushing.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let earlier = self.flush_ended();
        let file = Arc::clone(&self.file);
        self.flushed = self.given;
        self.flushing = Some(tokio::task::spawn_blocking(move || {
            let flushed = file.sync_data();
            together.is_flushing.store(false, Ordering::Relaxed);
            flushed
        }));
        earlier
    }

    /// How the last flush ended; waits for it.
    fn flush_ended(&mut self) -> io::Result<()> {
        match self.flushing.take().map(|flushing| Handle::current().block_on(flushing)) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(io::Error::other("a flush ended early")),
        }
    }

    /// Durable under its own name, if it has as many bytes as were written; its size either way.
    fn finish(mut self, path: &Path, is_synced: bool) -> io::Result<u64> {
        let size = self.file.metadata()?.len();
        if size != self.written {
            return Ok(size);
        }
        if is_synced {
            self.flush_ended()?;
            self.file.sync_all()?;
        }
        if let Some(name) = &self.name {
            fs::rename(name, path)?;
            self.name = None;
        }
        match path.parent().filter(|_| is_synced) {
            Some(folder) => sync(folder).map(|()| size),
            None => Ok(size),
        }
    }

    fn remove(mut self) -> io::Result<()> {
        self.name.take().map_or(Ok(()), fs::remove_file)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(name) = self.name.take() else { return };
        let remove = move || {
            if let Err(error) = fs::remove_file(&name) {
                tracing::debug!(path = %name.display(), %error, "an unfinished file stays behind");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Has the disk begin to take bytes of a file, without waiting for it (sync_file_range(2)). How it came out is told by fsync.
#[cfg(target_os = "linux")]
fn give(file: &File, from: u64, length: u64) {
    use std::os::fd::AsRawFd;
    let (Ok(from), Ok(length)) = (i64::try_from(from), i64::try_from(length)) else { return };
    // SAFETY: takes integers by value and touches no memory of ours; the descriptor is open as long as `file` is borrowed. A file
    // system that cannot do it says so, and fsync does it all.
    unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(target_os = "linux"))]
fn give(_file: &File, _from: u64, _length: u64) {}
