//! Writing one file of a folder: under a name that no reader takes, until it is whole and durable.
//!
//! object_store would do it, but keeps the open file to itself. Here bytes go to the disk as they come, so that the fsync at the end,
//! which a commit waits for, has less left to do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use super::super::errors::io_error;
use super::super::{StagedWriter, StoreError};
use super::{PART, make_folder, sync, unfinished};
use crate::error::ErrorKind;

/// Bytes that the disk is told to take at once.
const GIVEN: u64 = 1024 * 1024;

pub(super) struct StagedFile {
    path: PathBuf,
    address: String,
    is_synced: bool,
    /// Together shorter than a part, but while they are written.
    held: Vec<Bytes>,
    held_length: usize,
    /// From the first part on.
    begun: Option<Unfinished>,
    written: u64,
    closed: bool,
}

impl StagedFile {
    /// To stand at `path`, which messages call `address`. Nothing is done before there are bytes.
    pub fn new(path: PathBuf, address: String, is_synced: bool) -> Self {
        StagedFile { path, address, is_synced, held: Vec::new(), held_length: 0, begun: None, written: 0, closed: false }
    }

    fn own_error(&self, kind: ErrorKind, message: String) -> StoreError {
        StoreError { kind, verb: "stage", address: self.address.clone(), message }
    }

    /// Off the async threads, with the file and what is held, which is written before.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(Unfinished) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (begun, path, is_synced) = (self.begun.take(), self.path.clone(), self.is_synced);
        let held = std::mem::take(&mut self.held);
        self.held_length = 0;
        let working = move || {
            let mut file = match begun {
                Some(begun) => begun,
                None => Unfinished::begin(&path, is_synced)?,
            };
            file.write(&held)?;
            work(file)
        };
        match tokio::task::spawn_blocking(working).await {
            Ok(done) => done.map_err(|error| io_error("stage", self.address.clone(), &error)),
            Err(_) => Err(self.own_error(ErrorKind::Bug, "a blocking task ended early".to_owned())),
        }
    }
}

#[async_trait]
impl StagedWriter for StagedFile {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if self.closed {
            return Err(self.own_error(ErrorKind::Bug, "written to after it was finished, given up or had failed".to_owned()));
        }
        self.written += bytes.len() as u64;
        self.held_length += bytes.len();
        self.held.push(bytes);
        if self.held_length < PART {
            return Ok(());
        }
        // Of bytes that failed some may be there: whatever follows them would be a different file.
        self.closed = true;
        self.begun = Some(self.work(Ok).await?);
        self.closed = false;
        Ok(())
    }

    async fn finish(&mut self) -> Result<u64, StoreError> {
        if self.closed {
            return Err(self.own_error(ErrorKind::Bug, "finished twice, or after it had failed".to_owned()));
        }
        self.closed = true;
        let (path, written, is_synced) = (self.path.clone(), self.written, self.is_synced);
        let size = self.work(move |file| file.finish(&path, written, is_synced)).await?;
        if size != written {
            let message = format!("{written} bytes were written, but the file has `{size}`");
            return Err(self.own_error(ErrorKind::Unavailable, message));
        }
        Ok(size)
    }

    async fn abort(&mut self) {
        self.closed = true;
        self.held.clear();
        self.held_length = 0;
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
            let name = unfinished(path, number);
            match File::options().write(true).create_new(true).open(&name) {
                Ok(file) => return Ok(Unfinished { file, name: Some(name), written: 0, given: 0 }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
                    Some(folder) if is_synced => make_folder(folder)?,
                    Some(folder) => fs::create_dir_all(folder)?,
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
    fn finish(mut self, path: &Path, written: u64, is_synced: bool) -> io::Result<u64> {
        let size = self.file.metadata()?.len();
        if size != written {
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
