//! The pages of an undecided slice, kept until its columns' types are known: in memory while they are few, then on local disk.
//!
//! Disposable: a spool that a crash leaves is of no use to anybody and is removed when the next run begins.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::ErrorKind;
use crate::ids::BatchId;
use crate::page::{Aside, PagePosition, RawPage};

use super::RunError;

/// What a page takes in memory besides its body.
const HEAD_COST: u64 = 128;

pub(super) struct Spool {
    folder: PathBuf,
    batch: BatchId,
    /// Bytes kept in memory before a file is begun.
    memory_max: u64,
    held: u64,
    pages: Vec<Kept>,
    file: Option<(PathBuf, File, u64)>,
}

/// A page as it is kept. As small as can be: a slice may have a million of them.
enum Kept {
    Memory(Box<(Head, Bytes)>),
    /// The head's JSON, and the body behind it.
    File {
        at: u64,
        head: u32,
        body: u32,
    },
}

/// What of a page is needed besides its body to read it a second time.
#[derive(Clone, Serialize, Deserialize)]
struct Head {
    index: u64,
    status: u16,
    received_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carried: Option<Vec<(String, serde_json::Value)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aside: Option<Arc<Aside>>,
}

impl Spool {
    pub(super) fn new(folder: &Path, batch: BatchId, memory_max: u64) -> Self {
        Spool { folder: folder.to_path_buf(), batch, memory_max, held: 0, pages: Vec::new(), file: None }
    }

    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Whether memory does not hold all of them.
    pub(super) fn is_full(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn keep(&mut self, page: &RawPage) -> Result<(), RunError> {
        let head = Head {
            index: page.position.index,
            status: page.status,
            received_at: page.received_at,
            carried: page.carried.as_ref().map(|carried| carried.to_vec()),
            aside: page.aside.clone(),
        };
        let carried = head.carried.as_ref().map_or(0, |carried| serde_json::to_vec(carried).map_or(0, |text| text.len()));
        let length = (page.body.len() + 2 * carried) as u64 + HEAD_COST;
        let kept = match self.held + length <= self.memory_max {
            true => {
                self.held += length;
                Kept::Memory(Box::new((head, page.body.clone())))
            }
            false => self.write(&head, &page.body).map_err(|error| self.failed(&error))?,
        };
        self.pages.push(kept);
        Ok(())
    }

    fn write(&mut self, head: &Head, body: &Bytes) -> std::io::Result<Kept> {
        if self.file.is_none() {
            std::fs::create_dir_all(&self.folder)?;
            let path = self.folder.join(format!("{}.pages", self.batch));
            let file = File::options().create_new(true).read(true).write(true).open(&path)?;
            self.file = Some((path, file, 0));
        }
        let Some((_, file, end)) = &mut self.file else { return Err(std::io::ErrorKind::NotFound.into()) };
        let head = serde_json::to_vec(head)?;
        let too_large = |_| std::io::Error::from(std::io::ErrorKind::FileTooLarge);
        let lengths = (u32::try_from(head.len()).map_err(too_large)?, u32::try_from(body.len()).map_err(too_large)?);
        let at = *end;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&head)?;
        file.write_all(body)?;
        *end += u64::from(lengths.0) + u64::from(lengths.1);
        Ok(Kept::File { at, head: lengths.0, body: lengths.1 })
    }

    /// The page kept as number `index`, without its headers and where it came from, which nobody needs a second time.
    pub(super) fn page(&mut self, index: usize) -> Result<RawPage, RunError> {
        let (head, body) = match self.pages.get(index) {
            None => return Err(RunError::new(ErrorKind::Bug, format!("page {index} was never spooled"))),
            Some(Kept::Memory(kept)) => (kept.0.clone(), kept.1.clone()),
            Some(Kept::File { at, head, body }) => {
                let (at, head, body) = (*at, *head, *body);
                self.read(at, head, body).map_err(|error| self.failed(&error))?
            }
        };
        let position = PagePosition { index: head.index, ..PagePosition::start() };
        let Head { status, received_at, carried, aside, .. } = head;
        Ok(RawPage { position, status, body, received_at, carried: carried.map(Arc::new), aside, ..RawPage::nothing() })
    }

    fn read(&mut self, at: u64, head: u32, body: u32) -> std::io::Result<(Head, Bytes)> {
        let Some((_, file, _)) = &mut self.file else { return Err(std::io::ErrorKind::NotFound.into()) };
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = vec![0; head as usize];
        file.read_exact(&mut bytes)?;
        let head = serde_json::from_slice(&bytes)?;
        let mut bytes = vec![0; body as usize];
        file.read_exact(&mut bytes)?;
        Ok((head, Bytes::from(bytes)))
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
        let mut spool = Spool::new(folder.path(), BatchId(uuid::Uuid::now_v7()), 2 * HEAD_COST + 12);
        let bodies: Vec<Bytes> =
            ["first", "second", "third, longer than memory", ""].map(|text| Bytes::from_static(text.as_bytes())).to_vec();
        for (index, body) in bodies.iter().enumerate() {
            let position = PagePosition { index: index as u64, ..PagePosition::start() };
            let page = RawPage {
                position,
                body: body.clone(),
                carried: (index > 1).then(|| Arc::new(vec![("n".to_owned(), index.into())])),
                ..RawPage::nothing()
            };
            spool.keep(&page).expect("kept");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1, "what memory does not hold is on disk");
        for index in [2, 0, 3, 1] {
            let page = spool.page(index).expect("there");
            assert_eq!((page.position.index, &page.body, page.status), (index as u64, &bodies[index], 204));
            assert_eq!(page.carried.is_some_and(|carried| carried[0].1 == index), index > 1);
        }
        drop(spool);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    }
}
