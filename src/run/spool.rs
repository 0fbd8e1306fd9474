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
use crate::slice::Span;

use super::RunError;

/// What a page takes in memory besides its body: its head, and what is carried.
const HEAD_COST: u64 = 512;

pub(super) struct Spool {
    folder: PathBuf,
    batch: BatchId,
    /// Bytes kept in memory before a file is begun.
    memory_max: u64,
    /// Bytes from which on it is much.
    much: u64,
    held: u64,
    /// The first pages, while memory lasts.
    pages: Vec<(Head, Bytes)>,
    /// All that come after them.
    file: Option<InFile>,
}

/// Pages in a file: of each the lengths of its head and body, the head's JSON, and the body. A slice may have a million of them, so that
/// of most not even the place is kept in memory.
struct InFile {
    path: PathBuf,
    file: File,
    end: u64,
    pages: usize,
    /// Where every page stands whose number is a multiple of `STRIDE`.
    places: Vec<u64>,
    /// The page that was read last is followed by the one of this number, at this place.
    ahead: (usize, u64),
}

/// Pages of a file of which one place is kept.
const STRIDE: usize = 64;
/// Bytes before a page's head.
const LENGTHS: u64 = 8;

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    also: Option<Vec<Span>>,
}

impl Spool {
    /// `memory` is the ceiling on data in flight, of which this takes a small part.
    pub(super) fn new(folder: &Path, batch: BatchId, memory: u64) -> Self {
        Spool {
            folder: folder.to_path_buf(),
            batch,
            memory_max: memory / 32,
            much: memory / 8,
            held: 0,
            pages: Vec::new(),
            file: None,
        }
    }

    pub(super) fn pages(&self) -> usize {
        self.pages.len() + self.file.as_ref().map_or(0, |file| file.pages)
    }

    /// Whether what they hold is more than anybody wants to read a second time.
    pub(super) fn is_much(&self) -> bool {
        self.held + self.file.as_ref().map_or(0, |file| file.end) > self.much
    }

    pub(super) fn keep(&mut self, page: &RawPage) -> Result<(), RunError> {
        let head = Head {
            index: page.position.index,
            status: page.status,
            received_at: page.received_at,
            carried: page.carried.as_ref().map(|carried| carried.to_vec()),
            aside: page.aside.clone(),
            also: page.also.as_ref().map(|also| also.to_vec()),
        };
        let carried = head.carried.as_ref().map_or(0, |carried| serde_json::to_vec(carried).map_or(0, |text| text.len()));
        let length = (page.body.len() + 2 * carried) as u64 + HEAD_COST;
        if self.file.is_none() && self.held + length <= self.memory_max {
            self.held += length;
            self.pages.push((head, page.body.clone()));
            return Ok(());
        }
        self.write(&head, &page.body).map_err(|error| self.failed(&error))
    }

    fn write(&mut self, head: &Head, body: &Bytes) -> std::io::Result<()> {
        if self.file.is_none() {
            std::fs::create_dir_all(&self.folder)?;
            let path = self.folder.join(format!("{}.pages", self.batch));
            let file = File::options().create_new(true).read(true).write(true).open(&path)?;
            self.file = Some(InFile { path, file, end: 0, pages: 0, places: Vec::new(), ahead: (0, 0) });
        }
        let Some(kept) = &mut self.file else { return Err(std::io::ErrorKind::NotFound.into()) };
        let head = serde_json::to_vec(head)?;
        let too_large = |_| std::io::Error::from(std::io::ErrorKind::FileTooLarge);
        let lengths = (u32::try_from(head.len()).map_err(too_large)?, u32::try_from(body.len()).map_err(too_large)?);
        kept.file.seek(SeekFrom::Start(kept.end))?;
        let mut begin = Vec::with_capacity(LENGTHS as usize + head.len());
        begin.extend_from_slice(&lengths.0.to_le_bytes());
        begin.extend_from_slice(&lengths.1.to_le_bytes());
        begin.extend_from_slice(&head);
        kept.file.write_all(&begin)?;
        kept.file.write_all(body)?;
        if kept.pages.is_multiple_of(STRIDE) {
            kept.places.push(kept.end);
        }
        kept.pages += 1;
        kept.end += LENGTHS + u64::from(lengths.0) + u64::from(lengths.1);
        Ok(())
    }

    /// The page kept as number `index`, without its headers and where it came from, which nobody needs a second time.
    pub(super) fn page(&mut self, index: usize) -> Result<RawPage, RunError> {
        let in_file = index.checked_sub(self.pages.len());
        let (head, body) = match (self.pages.get(index), in_file, &mut self.file) {
            (Some((head, body)), _, _) => (head.clone(), body.clone()),
            (None, Some(number), Some(file)) if number < file.pages => {
                let read = file.read(number);
                read.map_err(|error| self.failed(&error))?
            }
            _ => return Err(RunError::new(ErrorKind::Bug, format!("page {index} was never spooled"))),
        };
        let position = PagePosition { index: head.index, ..PagePosition::start() };
        let Head { status, received_at, carried, aside, also, .. } = head;
        let (carried, also) = (carried.map(Arc::new), also.map(Arc::new));
        Ok(RawPage { position, status, body, received_at, carried, aside, also, ..RawPage::nothing() })
    }

    fn failed(&self, error: &std::io::Error) -> RunError {
        let message = format!("pages cannot be kept under `{}`: {error}; make room there", self.folder.display());
        RunError::new(ErrorKind::Unavailable, message)
    }
}

impl InFile {
    /// Pages are mostly read one after the other; any other is looked for from the last place before it that is known.
    fn read(&mut self, number: usize) -> std::io::Result<(Head, Bytes)> {
        let (mut at_number, mut at) = match self.ahead.0 == number {
            true => self.ahead,
            false => {
                let place = self.places.get(number / STRIDE).copied();
                (number - number % STRIDE, place.ok_or(std::io::ErrorKind::NotFound)?)
            }
        };
        loop {
            let mut lengths = [0; LENGTHS as usize];
            self.file.seek(SeekFrom::Start(at))?;
            self.file.read_exact(&mut lengths)?;
            let [a, b, c, d, e, f, g, h] = lengths;
            let (head, body) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
            at += LENGTHS + u64::from(head) + u64::from(body);
            at_number += 1;
            if at_number <= number {
                continue;
            }
            let mut bytes = vec![0; head as usize];
            self.file.read_exact(&mut bytes)?;
            let head = serde_json::from_slice(&bytes)?;
            let mut bytes = vec![0; body as usize];
            self.file.read_exact(&mut bytes)?;
            self.ahead = (at_number, at);
            return Ok((head, Bytes::from(bytes)));
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(InFile { path, .. }) = &self.file
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
        if path.extension().is_some_and(|extension| extension == "pages" || extension == "ops" || extension == "parents")
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
        let mut spool = Spool::new(folder.path(), BatchId(uuid::Uuid::now_v7()), 32 * (2 * HEAD_COST + 12));
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
        let span = Span::new(None, Timestamp::UNIX_EPOCH);
        for index in 4..300u64 {
            let position = PagePosition { index, ..PagePosition::start() };
            let body = Bytes::from(index.to_string());
            spool.keep(&RawPage { position, body, also: Some(Arc::new(vec![span])), ..RawPage::nothing() }).expect("kept");
        }
        for index in (4..300).chain([299, 64, 65, 63, 130, 2]) {
            let page = spool.page(index).expect("there");
            assert_eq!(page.position.index, index as u64);
            assert_eq!(page.also.is_some_and(|also| *also == [span]), index > 3);
        }
        assert!(spool.page(300).is_err());
        drop(spool);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    }
}
