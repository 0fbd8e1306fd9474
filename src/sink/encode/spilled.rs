//! Rows of very many partitions, sorted on local disk until the last of them came: then each partition has few row groups, and few
//! files are open at the same time, however many there are in all. Partitions are dealt out to so many buckets, and of what is parked each
//! bucket gets a segment of a file; in the end the buckets are read one after the other
//! ([ADR 47](../../../docs/adr/0047-rows-of-very-many-partitions-are-sorted-on-the-disk.md)).

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::vec;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::super::partition::Values;
use super::{Key, SinkError};
use crate::error::ErrorKind;
use crate::scratch::{self, Kept, Scratch};

/// So many that a bucket of some thousands of partitions has few of them, and so few that what is parked makes segments of some 256 KiB.
const BUCKETS: usize = 64;
/// A segment comes to about so many bytes at most, where one row is not more by itself.
pub(super) const SEGMENT_MAX: usize = 1024 * 1024;
/// Columns that are nested deeper are not written: arrow reads none back that are nested as deep as 64.
pub(super) const DEPTH_MAX: usize = 32;

/// Rows on disk. In memory there are 16 bytes for each segment, and room for the next one.
pub(super) struct Spilled {
    folder: PathBuf,
    kept: Kept,
    end: u64,
    hasher: RandomState,
    buckets: Vec<Vec<Segment>>,
    /// Kept for the next segment.
    buffer: Vec<u8>,
}

struct Segment {
    begin: u64,
    length: usize,
}

/// Rows of one bucket, those of one partition behind those of another, and how many each has.
pub(super) struct Rows {
    pub rows: RecordBatch,
    /// What they take in memory. They lie in one piece of it, which arrow counts once a buffer.
    pub bytes: usize,
    pub partitions: Vec<(Key, usize)>,
}

/// All rows in the end, bucket after bucket.
pub(super) struct Replay {
    spilled: Spilled,
    buckets: std::iter::Enumerate<vec::IntoIter<Vec<Segment>>>,
    /// The number of the bucket at work; `None` before the first.
    last: Option<usize>,
    /// What is left of that bucket.
    segments: vec::IntoIter<Segment>,
}

impl Spilled {
    pub fn begin(scratch: &Scratch) -> Result<Self, SinkError> {
        let folder = scratch.folder().to_path_buf();
        let kept = Kept::new(scratch, scratch::ROWS).map_err(|error| failed(&folder, &error))?;
        let buckets = (0..BUCKETS).map(|_| Vec::new()).collect();
        Ok(Spilled { folder, kept, end: 0, hasher: RandomState::new(), buckets, buffer: Vec::new() })
    }

    pub fn bucket(&self, key: &Key) -> usize {
        (self.hasher.hash_one(key) % BUCKETS as u64) as usize
    }

    /// Writes rows of one bucket, behind those that it has.
    pub fn put(&mut self, bucket: usize, rows: &RecordBatch, partitions: &[(&Values, usize)]) -> Result<(), SinkError> {
        self.buffer.clear();
        let unwritable = |error: String| SinkError::bug(format!("rows cannot be sorted on disk: {error}"));
        let about = serde_json::to_vec(partitions).map_err(|error| unwritable(error.to_string()))?;
        self.buffer.extend((about.len() as u64).to_le_bytes());
        self.buffer.extend(about);
        write(rows, &mut self.buffer).map_err(|error| unwritable(error.to_string()))?;
        self.kept.file.write_all(&self.buffer).map_err(|error| failed(&self.folder, &error))?;
        let segment = Segment { begin: self.end, length: self.buffer.len() };
        self.end += self.buffer.len() as u64;
        self.buffer.shrink_to(SEGMENT_MAX);
        self.buckets.get_mut(bucket).ok_or_else(|| SinkError::bug("there is no such bucket"))?.push(segment);
        Ok(())
    }

    pub fn replay(mut self) -> Replay {
        self.buffer = Vec::new();
        let buckets = std::mem::take(&mut self.buckets).into_iter().enumerate();
        Replay { spilled: self, buckets, last: None, segments: Vec::new().into_iter() }
    }

    fn read(&mut self, segment: &Segment) -> Result<Rows, SinkError> {
        let mut bytes = vec![0; segment.length];
        let file = &mut self.kept.file;
        let read = file.seek(SeekFrom::Start(segment.begin)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| failed(&self.folder, &error))?;
        parse(&bytes).ok_or_else(|| {
            let what = "what was read is not what was written";
            failed(&self.folder, &io::Error::new(io::ErrorKind::InvalidData, what))
        })
    }
}

impl Replay {
    /// The next rows of the bucket at work, in the order in which they were put; `None` at its end.
    pub fn next(&mut self) -> Result<Option<Rows>, SinkError> {
        self.segments.next().map(|segment| self.spilled.read(&segment)).transpose()
    }

    /// Goes on with the next bucket that has rows; false where there is none.
    pub fn next_bucket(&mut self) -> bool {
        let next = self.buckets.find(|(_, segments)| !segments.is_empty());
        let (number, segments) = next.unzip();
        (self.last, self.segments) = (number, segments.unwrap_or_default().into_iter());
        number.is_some()
    }

    /// Whether a partition's rows are in the bucket at work.
    pub fn is_of_last(&self, key: &Key) -> bool {
        self.last == Some(self.spilled.bucket(key))
    }
}

fn write(rows: &RecordBatch, into: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(into, &rows.schema())?;
    writer.write(rows)?;
    writer.finish()
}

/// `None` where it is nothing that was written here.
fn parse(bytes: &[u8]) -> Option<Rows> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (about, rows) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let partitions: Vec<(Values, usize)> = serde_json::from_slice(about).ok()?;
    let rows = StreamReader::try_new(Cursor::new(rows), None).ok()?.next()?.ok()?;
    let count = partitions.iter().try_fold(0_usize, |all, (_, count)| all.checked_add(*count))?;
    let partitions = partitions.into_iter().map(|(values, count)| (Key::Data(values), count)).collect();
    (count == rows.num_rows()).then_some(Rows { rows, bytes: bytes.len(), partitions })
}

fn failed(folder: &std::path::Path, error: &io::Error) -> SinkError {
    let message = format!("rows cannot be sorted under `{}`: {error}; make room there", folder.display());
    SinkError::new(ErrorKind::Unavailable, message)
}
