//! The pages of an undecided slice, kept until its columns' types are known: in memory while they are few, then on local disk.
//!
//! Disposable: a spool that a crash leaves is of no use to anybody and is removed when the next run begins.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;

use crate::error::ErrorKind;
use crate::ids::BatchId;
use crate::page::{PagePosition, RawPage};

use super::RunError;

pub(super) struct Spool {
    folder: PathBuf,
    batch: BatchId,
    /// Bytes kept in memory before a file is begun.
    memory_max: u64,
    held: u64,
    pages: Vec<Kept>,
    file: Option<(PathBuf, File, u64)>,
}

struct Kept {
    position: PagePosition,
    status: u16,
    received_at: Timestamp,
    address: String,
    body: Body,
}

enum Body {
    Memory(Bytes),
    File { at: u64, length: usize },
}

impl Spool {
    pub(super) fn new(folder: &Path, batch: BatchId, memory_max: u64) -> Self {
        Spool { folder: folder.to_path_buf(), batch, memory_max, held: 0, pages: Vec::new(), file: None }
    }

    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    pub(super) fn keep(&mut self, page: &RawPage) -> Result<(), RunError> {
        let length = page.body.len();
        let body = match self.held + length as u64 <= self.memory_max {
            true => {
                self.held += length as u64;
                Body::Memory(page.body.clone())
            }
            false => self.write(&page.body).map_err(|error| self.failed(&error))?,
        };
        self.pages.push(Kept {
            position: page.position.clone(),
            status: page.status,
            received_at: page.received_at,
            address: page.address.clone(),
            body,
        });
        Ok(())
    }

    fn write(&mut self, bytes: &Bytes) -> std::io::Result<Body> {
        if self.file.is_none() {
            std::fs::create_dir_all(&self.folder)?;
            let path = self.folder.join(format!("{}.pages", self.batch));
            let file = File::options().create_new(true).read(true).write(true).open(&path)?;
            self.file = Some((path, file, 0));
        }
        let Some((_, file, end)) = &mut self.file else { return Err(std::io::ErrorKind::NotFound.into()) };
        let at = *end;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)?;
        *end += bytes.len() as u64;
        Ok(Body::File { at, length: bytes.len() })
    }

    /// The page kept as number `index`, without its headers, which nobody needs a second time.
    pub(super) fn page(&mut self, index: usize) -> Result<RawPage, RunError> {
        let Some(kept) = self.pages.get(index) else {
            return Err(RunError::new(ErrorKind::Bug, format!("page {index} was never spooled")));
        };
        let (position, status, received_at, address) =
            (kept.position.clone(), kept.status, kept.received_at, kept.address.clone());
        let body = match &kept.body {
            Body::Memory(bytes) => bytes.clone(),
            Body::File { at, length } => {
                let (at, length) = (*at, *length);
                self.read(at, length).map_err(|error| self.failed(&error))?
            }
        };
        Ok(RawPage { position, status, headers: http::HeaderMap::new(), body, received_at, source_now: None, address })
    }

    fn read(&mut self, at: u64, length: usize) -> std::io::Result<Bytes> {
        let Some((_, file, _)) = &mut self.file else { return Err(std::io::ErrorKind::NotFound.into()) };
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(Bytes::from(bytes))
    }

    fn failed(&self, error: &std::io::Error) -> RunError {
        let message = format!("pages cannot be kept under `{}`: {error}; make room there", self.folder.display());
        RunError::new(ErrorKind::Unavailable, message)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some((path, _, _)) = &self.file
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(path = %path.display(), %error, "a spool stays behind until the next run");
        }
    }
}

/// Removes the spools that earlier processes left. Call only by the process that owns the state.
pub fn clean(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "pages" || extension == "ops")
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "an old spool cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back_as_they_were() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::new(folder.path(), BatchId(uuid::Uuid::now_v7()), 10);
        let bodies: Vec<Bytes> =
            ["first", "second", "third, longer than memory", ""].map(|text| Bytes::from_static(text.as_bytes())).to_vec();
        for (index, body) in bodies.iter().enumerate() {
            let position = PagePosition { index: index as u64, ..PagePosition::start() };
            let page = RawPage {
                position,
                status: 200,
                headers: http::HeaderMap::new(),
                body: body.clone(),
                received_at: Timestamp::UNIX_EPOCH,
                source_now: None,
                address: String::new(),
            };
            spool.keep(&page).expect("kept");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1, "what memory does not hold is on disk");
        for index in [2, 0, 3, 1] {
            let page = spool.page(index).expect("there");
            assert_eq!((page.position.index, &page.body), (index as u64, &bodies[index]));
        }
        drop(spool);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    }
}
