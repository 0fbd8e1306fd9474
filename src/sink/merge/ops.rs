//! What a slice says of its keys, in the order in which the source said it: in memory while it is little, then on local disk.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::cursor::CursorKey;
use crate::error::ErrorKind;

use super::super::SinkError;
use super::super::own::Ranges;

/// Bytes of an operation on disk before its cursor: key 16, content 8, kind 1, length of a text cursor 4.
const HEAD: usize = 29;
/// What stands for the length of a cursor that is a number, whose 16 bytes follow.
const NUMBER: u32 = u32::MAX;
/// Texts of keys are kept up to so many bytes, or half of the memory if that is less, to tell files that hold none of them; past it
/// their range has to do.
const TEXTS_MAX: usize = 16 << 20;
/// Bytes of a text besides its letters: where it is kept, and the free places of a list that grows by doubling.
const TEXT_BYTES: usize = 2 * size_of::<String>();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// A version of a row.
    Upsert,
    /// A filter left the record out: a row of it goes.
    Filtered,
    /// The record says that it was deleted.
    Deleted,
}

/// What one record says of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// 128 bits that stand for the key within this process.
    pub key: u128,
    pub cursor: CursorKey,
    pub content: i64,
    pub kind: OpKind,
}

/// The operations of one slice. Their place in it, counted from 0, is the source's order.
pub struct Ops {
    hasher: KeyHasher,
    held_max: usize,
    held: Vec<Op>,
    /// Bytes of text cursors among those that are held, and among all.
    held_texts: usize,
    cursor_texts: u64,
    spill: PathBuf,
    file: Option<BufWriter<File>>,
    /// Operations on disk; those in memory come after them.
    spilled: u64,
    texts: Option<Vec<String>>,
    texts_size: usize,
    texts_max: usize,
    ranges: Ranges,
}

/// Keys to numbers that nobody outside can foresee, so that two keys cannot be made to look alike on purpose. By chance two of
/// ten million keys do with a likelihood below 1 in 10^24.
#[derive(Clone)]
pub struct KeyHasher {
    high: RandomState,
    low: RandomState,
    /// In an append a row is the same only with the same content.
    with_content: bool,
}

impl KeyHasher {
    pub fn hash(&self, key: &str, content: i64) -> u128 {
        let content = if self.with_content { content } else { 0 };
        let (high, low) = (self.high.hash_one((key, content)), self.low.hash_one((key, content)));
        u128::from(high) << 64 | u128::from(low)
    }
}

impl Ops {
    /// `spill` is a file's path for what `memory_max` bytes do not hold; it is made when needed and removed in the end. Half of these
    /// bytes are for operations, the other half for the texts of their keys.
    pub fn new(spill: &Path, memory_max: u64, with_content: bool) -> Self {
        let half = usize::try_from(memory_max / 2).unwrap_or(usize::MAX);
        Ops {
            hasher: KeyHasher { high: RandomState::new(), low: RandomState::new(), with_content },
            held_max: half / size_of::<Op>(),
            held: Vec::new(),
            held_texts: 0,
            cursor_texts: 0,
            spill: spill.to_path_buf(),
            file: None,
            spilled: 0,
            texts: Some(Vec::new()),
            texts_size: 0,
            texts_max: half.min(TEXTS_MAX),
            ranges: Ranges::default(),
        }
    }

    pub fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    pub fn len(&self) -> u64 {
        self.spilled + self.held.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the cursors take besides their places.
    pub fn cursor_texts(&self) -> u64 {
        self.cursor_texts
    }

    /// The range of all keys and cursors.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// The keys themselves, sorted, where they are few.
    pub fn sorted_keys(&mut self) -> Option<&[String]> {
        let texts = self.texts.as_mut()?;
        texts.sort_unstable();
        texts.dedup();
        Some(texts)
    }

    /// Takes an operation in. The error is local disk that is full.
    pub fn push(&mut self, key: &str, cursor: &CursorKey, content: i64, kind: OpKind) -> Result<(), SinkError> {
        self.ranges.add_keys([key].into_iter());
        self.ranges.add_cursors([cursor].into_iter());
        self.keep_text(key);
        self.held_texts += cursor.heap_bytes();
        self.cursor_texts += cursor.heap_bytes() as u64;
        self.held.push(Op { key: self.hasher.hash(key, content), cursor: cursor.clone(), content, kind });
        if self.held.len() + self.held_texts / size_of::<Op>() >= self.held_max.max(1) {
            self.write().map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Forgets all of them, and what lies on disk.
    pub fn clear(&mut self) {
        self.drop_file();
        self.held.clear();
        (self.held_texts, self.cursor_texts) = (0, 0);
        self.spilled = 0;
        (self.texts, self.texts_size) = (Some(Vec::new()), 0);
        self.ranges = Ranges::default();
    }

    fn drop_file(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = std::fs::remove_file(&self.spill)
        {
            tracing::debug!(path = %self.spill.display(), %error, "a spool stays behind until the next run");
        }
    }

    fn keep_text(&mut self, key: &str) {
        if let Some(texts) = &mut self.texts {
            self.texts_size += key.len() + TEXT_BYTES;
            texts.push(key.to_owned());
        }
        if self.texts_size > self.texts_max {
            self.texts = None;
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                if let Some(folder) = self.spill.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                let file = File::options().create_new(true).read(true).write(true).open(&self.spill)?;
                self.file.insert(BufWriter::with_capacity(1 << 16, file))
            }
        };
        for op in &self.held {
            op.write(file)?;
        }
        file.flush()?;
        self.spilled += self.held.len() as u64;
        self.held.clear();
        self.held_texts = 0;
        Ok(())
    }

    /// Every operation with its place, in order.
    pub fn for_each(&mut self, mut take: impl FnMut(u64, Op)) -> Result<(), SinkError> {
        let spilled = self.spilled;
        if let Some(file) = &mut self.file {
            let read = read_all(file.get_mut(), spilled, &mut take);
            read.map_err(|error| self.failed(&error))?;
        }
        for (place, op) in (spilled..).zip(&self.held) {
            take(place, op.clone());
        }
        Ok(())
    }

    fn failed(&self, error: &std::io::Error) -> SinkError {
        let message = format!("keys of a slice cannot be kept in `{}`: {error}; make room there", self.spill.display());
        SinkError::new(ErrorKind::Unavailable, message)
    }
}

fn read_all(file: &mut File, count: u64, take: &mut impl FnMut(u64, Op)) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    {
        let mut reader = BufReader::with_capacity(1 << 16, &mut *file);
        for place in 0..count {
            take(place, Op::read(&mut reader)?);
        }
    }
    file.seek(SeekFrom::End(0))?;
    Ok(())
}

impl Op {
    fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        to.write_all(&self.key.to_le_bytes())?;
        to.write_all(&self.content.to_le_bytes())?;
        to.write_all(&[self.kind as u8])?;
        match &self.cursor {
            CursorKey::Number(value) => {
                to.write_all(&NUMBER.to_le_bytes())?;
                to.write_all(&value.to_le_bytes())
            }
            CursorKey::Text(text) => {
                let length = u32::try_from(text.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
                to.write_all(&length.to_le_bytes())?;
                to.write_all(text.as_bytes())
            }
        }
    }

    fn read(from: &mut impl Read) -> std::io::Result<Self> {
        let mut head = [0; HEAD];
        from.read_exact(&mut head)?;
        let kind = match head[24] {
            0 => OpKind::Upsert,
            1 => OpKind::Filtered,
            _ => OpKind::Deleted,
        };
        let cursor = match u32::from_le_bytes(<[u8; 4]>::try_from(&head[25..]).expect("four bytes")) {
            NUMBER => {
                let mut bytes = [0; 16];
                from.read_exact(&mut bytes)?;
                CursorKey::Number(i128::from_le_bytes(bytes))
            }
            length => {
                let mut bytes = vec![0; length as usize];
                from.read_exact(&mut bytes)?;
                CursorKey::Text(String::from_utf8(bytes).map_err(|_| std::io::ErrorKind::InvalidData)?)
            }
        };
        Ok(Op {
            key: u128::from_le_bytes(<[u8; 16]>::try_from(&head[..16]).expect("sixteen bytes")),
            cursor,
            content: i64::from_le_bytes(<[u8; 8]>::try_from(&head[16..24]).expect("eight bytes")),
            kind,
        })
    }
}

impl Drop for Ops {
    fn drop(&mut self) {
        self.drop_file();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_come_back_in_order_from_memory_and_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let spill = folder.path().join("deep").join("x.ops");
        let mut ops = Ops::new(&spill, 2 * 3 * size_of::<Op>() as u64, false);
        let kinds = [OpKind::Upsert, OpKind::Filtered, OpKind::Deleted];
        let cursor = |number: i64| if number == 4 { CursorKey::from("ü") } else { CursorKey::from(number - 5) };
        for number in 0..10i64 {
            ops.push(&number.to_string(), &cursor(number), -number, kinds[number as usize % 3]).expect("kept");
        }
        assert!(spill.exists(), "what memory does not hold is on disk");
        for _ in 0..2 {
            let mut seen = Vec::new();
            ops.for_each(|place, op| seen.push((place, op))).expect("read");
            assert_eq!(seen.len(), 10);
            for (number, (place, op)) in (0..10i64).zip(seen) {
                let key = ops.hasher().hash(&number.to_string(), 0);
                let expected = Op { key, cursor: cursor(number), content: -number, kind: kinds[number as usize % 3] };
                assert_eq!((place, op), (number as u64, expected));
            }
        }
        ops.push("again", &CursorKey::NONE, 0, OpKind::Upsert).expect("kept");
        assert_eq!(ops.len(), 11);
        assert_eq!(ops.ranges().cursors, Some((-5, 4)));
        ops.clear();
        assert!(ops.is_empty() && !spill.exists() && *ops.ranges() == Ranges::default());
        assert_eq!(ops.sorted_keys(), Some(&[][..]));
        for number in 0..4i64 {
            ops.push(&number.to_string(), &CursorKey::Number(7), 0, OpKind::Upsert).expect("kept");
        }
        let mut cursors = Vec::new();
        ops.for_each(|place, op| cursors.push((place, op.cursor.number()))).expect("read");
        assert_eq!(cursors, [(0, Some(7)), (1, Some(7)), (2, Some(7)), (3, Some(7))]);
        assert!(spill.exists());
        drop(ops);
        assert!(!spill.exists());
    }

    #[test]
    fn texts_of_keys_take_no_more_than_half_of_the_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut ops = Ops::new(&folder.path().join("x.ops"), 2 * 1000, false);
        let per_key = TEXT_BYTES + 4;
        let room = 1000 / per_key;
        for number in 0..room {
            ops.push(&format!("{number:04}"), &CursorKey::NONE, 0, OpKind::Upsert).expect("kept");
        }
        assert_eq!(ops.sorted_keys().map(<[String]>::len), Some(room));
        ops.push("more", &CursorKey::NONE, 0, OpKind::Upsert).expect("kept");
        assert_eq!(ops.sorted_keys(), None, "their range has to do");
        assert_eq!(ops.len(), room as u64 + 1);
    }
}
