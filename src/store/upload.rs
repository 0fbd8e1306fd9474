//! Writing one staged object: what comes is held until it is a part, parts go in their order, and all bytes are there in the end.

use async_trait::async_trait;
use bytes::Bytes;

use super::{StagedWriter, StoreError};
use crate::error::ErrorKind;

/// Where the bytes of one object go.
#[async_trait]
pub(super) trait Destination: Send {
    /// What a reader would type, for messages.
    fn address(&self) -> &str;

    /// Takes the next part, in pieces. After an error some of it may be there.
    async fn part(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError>;

    /// Takes the last bytes, fewer than a part or none, and makes the object durable under its name. Its size as the place tells it,
    /// bytes.
    async fn complete(&mut self, pieces: Vec<Bytes>) -> Result<u64, StoreError>;

    /// Drops what is there, as far as possible.
    async fn abort(&mut self);
}

/// Holds at most one part: each is sent before more is taken, so the store's pace holds back whoever writes.
pub(super) struct Upload<D> {
    destination: D,
    /// Length of every part but the last, bytes.
    part: usize,
    /// Together shorter than a part.
    held: Vec<Bytes>,
    held_length: usize,
    written: u64,
    closed: bool,
}

impl<D: Destination> Upload<D> {
    pub fn new(destination: D, part: usize) -> Self {
        Upload { destination, part, held: Vec::new(), held_length: 0, written: 0, closed: false }
    }

    fn own_error(&self, kind: ErrorKind, message: String) -> StoreError {
        StoreError { kind, verb: "stage", address: self.destination.address().to_owned(), message }
    }

    fn take_held(&mut self) -> Vec<Bytes> {
        self.held_length = 0;
        std::mem::take(&mut self.held)
    }
}

#[async_trait]
impl<D: Destination> StagedWriter for Upload<D> {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if self.closed {
            return Err(self.own_error(ErrorKind::Bug, "written to after it was finished, given up or had failed".to_owned()));
        }
        let mut rest = bytes;
        self.written += rest.len() as u64;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(self.part - self.held_length));
            self.held_length += piece.len();
            self.held.push(piece);
            if self.held_length < self.part {
                continue;
            }
            // A part that failed may be there or not: whatever follows it would be a different object.
            self.closed = true;
            let pieces = self.take_held();
            self.destination.part(pieces).await?;
            self.closed = false;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<u64, StoreError> {
        if self.closed {
            return Err(self.own_error(ErrorKind::Bug, "finished twice, or after it had failed".to_owned()));
        }
        self.closed = true;
        let pieces = self.take_held();
        let size = self.destination.complete(pieces).await?;
        if size != self.written {
            let message = format!("{} bytes were written, but the store tells of `{size}`", self.written);
            return Err(self.own_error(ErrorKind::Unavailable, message));
        }
        Ok(size)
    }

    async fn abort(&mut self) {
        self.closed = true;
        drop(self.take_held());
        self.destination.abort().await;
    }
}
