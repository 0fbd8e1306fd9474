//! Writing one file of a folder: under a name that no reader takes, until it is whole and durable.
//!
//! object_store would do it, but keeps the open file to itself. Here bytes go to the disk as they come, so that the fsync at the end,
//! which a commit waits for, has less left to do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::StoreError;
use super::super::errors::io_error;
use super::super::upload::Destination;
use super::unfinished::named;
use super::{ready_folder, sync};
use crate::error::ErrorKind;

/// Bytes that the disk is told to take at once.
const GIVEN: u64 = 1024 * 1024;

pub(super) struct StagedFile {
    path: PathBuf,
    address: String,
    is_synced: bool,
    /// As many hold it as there are files being staged, and the store.
    among: Arc<()>,
    /// From the first bytes on.
    begun: Option<Unfinished>,
}

impl StagedFile {
    /// To stand at `path`, which messages call `address`. Nothing is done before there are bytes.
    pub fn new(path: PathBuf, address: String, is_synced: bool, among: Arc<()>) -> Self {
        StagedFile { path, address, is_synced, among, begun: None }
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
        Arc::strong_count(&self.among) - 1
    }

    async fn part(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        self.begun = Some(self.write(pieces, Ok).await?);
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
    file: File,
    /// `None` once it has its own name, or is gone.
    name: Option<PathBuf>,
    written: u64,
    /// Of them, bytes that the disk was told to take.
    given: u64,
}

impl Unfinished {
    /// Under the first number that is free: what a killed process left is not written into. The folder is made where there is none, or
    /// where another publication took it for empty.
    fn begin(path: &Path, is_synced: bool) -> io::Result<Self> {
        let mut number = 1;
        loop {
            let name = named(path, number);
            match File::options().write(true).create_new(true).open(&name) {
                Ok(file) => return Ok(Unfinished { file, name: Some(name), written: 0, given: 0 }),
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
            self.file.write_all(piece)?;
            self.written += piece.len() as u64;
        }
        if self.written - self.given >= GIVEN {
            give(&self.file, self.given, self.written - self.given);
            self.given = self.written;
        }
        Ok(())
    }

    /// Durable under its own name, if it has as many bytes as were written; its size either way.
    fn finish(mut self, path: &Path, is_synced: bool) -> io::Result<u64> {
        let size = self.file.metadata()?.len();
        if size != self.written {
            return Ok(size);
        }
        if is_synced {
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
