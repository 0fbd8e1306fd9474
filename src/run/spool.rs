//! The pages of an undecided slice, kept until its columns' types are known: in memory while they are few, then on local disk.
//!
//! Disposable: a spool that a crash leaves is of no use to anybody and is removed when the next run begins.

mod file;

use std::io::Error as IoError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::error::ErrorKind;
use crate::ids::BatchId;
use crate::page::{Aside, PagePosition, RawPage};
use crate::scratch;
use crate::slice::Span;

use super::RunError;
use super::stage::{may_wait, off_thread};

use self::file::InFile;

/// What a page takes in memory besides its body: its head, and what is carried.
const HEAD_COST: u64 = 512;
/// Pages are written once they come to so many bytes.
const WRITTEN_MIN: u64 = 1024 * 1024;

pub(super) struct Spool {
    folder: PathBuf,
    path: PathBuf,
    /// Bytes kept in memory before a file is begun.
    memory_max: u64,
    /// Bytes of the file that are left to the system's cache.
    cached_max: u64,
    /// Bytes from which on it is much.
    much: u64,
    /// Of all pages, bytes.
    held: u64,
    /// The first pages, while memory lasts.
    pages: Vec<Kept>,
    /// Pages that come after them.
    pages_after: usize,
    /// Of these the last, which are not in the file yet, and their bytes.
    unwritten: Vec<Kept>,
    unwritten_bytes: u64,
    unwritten_max: u64,
    file: Place,
}

type Kept = (Head, Bytes);

/// Where the file is.
enum Place {
    /// There is none yet.
    None,
    Here(InFile),
    /// Pages are being written to it, off the async threads.
    Away(JoinHandle<(InFile, Result<(), IoError>)>),
    /// It is lost: what went wrong was told.
    Lost,
}

/// What of a page is needed besides its body to read it a second time.
#[derive(Clone, Serialize, Deserialize)]
struct Head {
    index: u64,
    status: u16,
    received_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carried: Option<Vec<(String, String)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aside: Option<Arc<Aside>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    also: Option<Vec<Span>>,
}

impl Head {
    fn of(page: &RawPage) -> Self {
        Head {
            index: page.position.index,
            status: page.status,
            received_at: page.received_at,
            carried: page.carried.as_ref().map(|carried| carried.to_vec()),
            aside: page.aside.clone(),
            also: page.also.as_ref().map(|also| also.to_vec()),
        }
    }

    /// The page that it was of, without its headers and where it came from, which nobody needs a second time.
    fn page(self, body: Bytes) -> RawPage {
        let position = PagePosition { index: self.index, ..PagePosition::start() };
        let Head { status, received_at, carried, aside, also, .. } = self;
        let (carried, also) = (carried.map(Arc::new), also.map(Arc::new));
        RawPage { position, status, body, received_at, carried, aside, also, ..RawPage::nothing() }
    }
}

impl Spool {
    /// `memory` is the ceiling on data in flight, of which this takes a small part.
    pub(super) fn new(folder: &Path, batch: BatchId, memory: u64) -> Self {
        Spool {
            folder: folder.to_path_buf(),
            path: folder.join(format!("{batch}.pages")),
            memory_max: memory / 256,
            cached_max: memory,
            much: memory / 8,
            held: 0,
            pages: Vec::new(),
            pages_after: 0,
            unwritten: Vec::new(),
            unwritten_bytes: 0,
            unwritten_max: may_wait(memory).max(WRITTEN_MIN),
            file: Place::None,
        }
    }

    pub(super) fn pages(&self) -> usize {
        self.pages.len() + self.pages_after
    }

    /// Whether what they hold is more than anybody wants to read a second time.
    pub(super) fn is_much(&self) -> bool {
        self.held > self.much
    }

    /// Keeps a page. Writing goes on meanwhile; that it failed may be told with a later page.
    pub(super) async fn keep(&mut self, page: &RawPage) -> Result<(), RunError> {
        let head = Head::of(page);
        let carried = head.carried.as_ref().map_or(0, |carried| serde_json::to_vec(carried).map_or(0, |text| text.len()));
        let length = (page.body.len() + 2 * carried) as u64 + HEAD_COST;
        let kept = (head, page.body.clone());
        let has_room = self.pages_after == 0 && self.held + length <= self.memory_max;
        self.held += length;
        if has_room {
            self.pages.push(kept);
            return Ok(());
        }
        self.pages_after += 1;
        self.unwritten.push(kept);
        self.unwritten_bytes += length;
        let is_behind = matches!(&self.file, Place::Away(writing) if !writing.is_finished());
        let wanted = if is_behind { self.unwritten_max } else { WRITTEN_MIN };
        if self.unwritten_bytes >= wanted { self.write().await } else { Ok(()) }
    }

    /// Begins to write what is not written yet.
    async fn write(&mut self) -> Result<(), RunError> {
        let is_behind = matches!(&self.file, Place::Away(writing) if !writing.is_finished());
        let mut file = match self.settled().await? {
            Some(file) => file,
            None => InFile::begin(&self.path, self.cached_max).map_err(|error| self.failed(&error))?,
        };
        let pages = std::mem::take(&mut self.unwritten);
        self.unwritten_bytes = 0;
        self.file = Place::Away(tokio::task::spawn_blocking(move || {
            let written = pages.iter().try_for_each(|(head, body)| file.write(head, body, is_behind));
            (file, written)
        }));
        Ok(())
    }

    /// The file, once nothing is being written to it; `None` before there is one.
    async fn settled(&mut self) -> Result<Option<InFile>, RunError> {
        match std::mem::replace(&mut self.file, Place::Lost) {
            Place::None => Ok(None),
            Place::Here(file) => Ok(Some(file)),
            Place::Away(writing) => match writing.await {
                Ok((file, Ok(()))) => Ok(Some(file)),
                Ok((_, Err(error))) => Err(self.failed(&error)),
                Err(error) => Err(RunError::new(ErrorKind::Bug, format!("the work on a spool panicked: {error}"))),
            },
            Place::Lost => Err(RunError::new(ErrorKind::Bug, "a spool that failed was used again")),
        }
    }

    /// The page kept as number `index`, without its headers and where it came from, which nobody needs a second time.
    pub(super) async fn page(&mut self, index: usize) -> Result<RawPage, RunError> {
        if let Some((head, body)) = self.pages.get(index) {
            return Ok(head.clone().page(body.clone()));
        }
        if !self.unwritten.is_empty() {
            self.write().await?;
        }
        let number = index - self.pages.len();
        let Some(mut file) = self.settled().await?.filter(|file| number < file.pages) else {
            return Err(RunError::new(ErrorKind::Bug, format!("page {index} was never spooled")));
        };
        let reading = move || {
            let read = file.read(number);
            (file, read)
        };
        let (file, read) = off_thread(reading).await?;
        let (head, body) = read.map_err(|error| self.failed(&error))?;
        self.file = Place::Here(file);
        Ok(head.page(body))
    }

    fn failed(&self, error: &IoError) -> RunError {
        let message = format!("pages cannot be kept under `{}`: {error}; make room there", self.folder.display());
        RunError::new(ErrorKind::Unavailable, message)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // What is still being written goes with the last handle to it.
        let file = std::mem::replace(&mut self.file, Place::None);
        if matches!(file, Place::None) {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a spool stays behind until the next run");
        }
        // The last handle frees all that the system keeps of the file, which takes a while: nobody needs to wait for it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(file)));
        }
    }
}

/// Removes the spools that earlier processes left. Call only by the process that owns the state.
pub fn clean(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|extension| ["pages", "ops", scratch::PARENTS, scratch::ROWS].iter().any(|kind| extension == *kind))
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "an old spool cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_come_back_as_they_were() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::new(folder.path(), BatchId(uuid::Uuid::now_v7()), 128 * (2 * HEAD_COST + 12));
        let bodies: Vec<Bytes> =
            ["first", "second", "third, longer than memory", ""].map(|text| Bytes::from_static(text.as_bytes())).to_vec();
        for (index, body) in bodies.iter().enumerate() {
            let position = PagePosition { index: index as u64, ..PagePosition::start() };
            let page = RawPage {
                position,
                body: body.clone(),
                carried: (index > 1).then(|| Arc::new(vec![("n".to_owned(), index.to_string())])),
                ..RawPage::nothing()
            };
            spool.keep(&page).await.expect("kept");
        }
        for index in [2, 0, 3, 1] {
            let page = spool.page(index).await.expect("there");
            assert_eq!((page.position.index, &page.body, page.status), (index as u64, &bodies[index], 204));
            assert_eq!(page.carried.is_some_and(|carried| carried[0].1 == index.to_string()), index > 1);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1, "what memory does not hold is on disk");
        let span = Span::new(None, Timestamp::UNIX_EPOCH);
        for index in 4..300u64 {
            let position = PagePosition { index, ..PagePosition::start() };
            // Most are written in several goes, each while the next pages come.
            let body = Bytes::from(index.to_string().repeat(if index < 290 { 4096 } else { 1 }));
            spool.keep(&RawPage { position, body, also: Some(Arc::new(vec![span])), ..RawPage::nothing() }).await.expect("kept");
        }
        for index in (4..300).chain([299, 64, 65, 63, 130, 2]) {
            let page = spool.page(index).await.expect("there");
            assert_eq!(page.position.index, index as u64);
            assert!(index < 4 || page.body.starts_with(index.to_string().as_bytes()));
            assert_eq!(page.also.is_some_and(|also| *also == [span]), index > 3);
        }
        assert!(spool.page(300).await.is_err());
        drop(spool);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    }
}
