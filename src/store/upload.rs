//! Writing one staged object: what comes is held until it is a part, parts go in their order, and all bytes are there in the end.

use async_trait::async_trait;
use bytes::Bytes;

use super::{StagedWriter, StoreError};
use crate::error::ErrorKind;

/// How many bytes of a staged object wait in memory until they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All parts but the last have this length.
    Of(usize),
    /// They have any length: fewer than `one` wait of an object, and where many are written at the same time, of all of them about
    /// `all` at most.
    Any { one: usize, all: usize },
}

/// Fewer bytes of an object are not worth being sent.
const SENT_MIN: usize = 4 * 1024;

impl Part {
    /// So many bytes wait of an object, at most, while `open` are written.
    pub fn length(self, open: usize) -> usize {
        match self {
            Part::Of(length) => length,
            Part::Any { one, all } => (all / open.max(1)).clamp(SENT_MIN.min(one), one),
        }
    }
}

/// Where the bytes of one object go.
#[async_trait]
pub(super) trait Destination: Send {
    /// What a reader would type, for messages.
    fn address(&self) -> &str;

    /// How many objects are written to the same place at the moment, this one among them.
    fn open(&self) -> usize {
        1
    }

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
    part: Part,
    /// Together shorter than a part.
    held: Vec<Bytes>,
    held_length: usize,
    written: u64,
    closed: bool,
}

impl<D: Destination> Upload<D> {
    pub fn new(destination: D, part: Part) -> Self {
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
            let length = self.part.length(self.destination.open());
            let taken = if let Part::Of(length) = self.part { rest.len().min(length - self.held_length) } else { rest.len() };
            let piece = rest.split_to(taken);
            self.held_length += piece.len();
            self.held.push(piece);
            if self.held_length < length {
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
