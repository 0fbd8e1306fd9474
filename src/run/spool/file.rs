//! Pages in a file: of each the lengths of its head and body, the head's JSON, and the body.
//!
//! The file is written once, mostly never read, and soon removed. Its first bytes are left to the system's cache, which most often need
//! not write them before they are removed. What comes after them goes to the disk past the cache (`O_DIRECT`, open(2)), where it would
//! take memory from others to no use. Where the file system does not do that, or the disk is slower than the pages come, it goes through
//! the cache as well.

use std::fs::File;
use std::io::{Error as IoError, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Head;

/// Pages of a file of which one place is kept.
const STRIDE: usize = 64;
/// Bytes before a page's head.
const LENGTHS: u64 = 8;
/// Blocks that are written in one.
const BLOCKS: usize = 16;
const BLOCK: usize = 64 * 1024;

/// What a disk that is written to past the cache may ask of memory, and of places and lengths in the file.
const ALIGN: u64 = 4096;
#[repr(align(4096))]
struct Block([u8; BLOCK]);

/// How bytes get into the file.
enum Way {
    /// Through the cache, while all of them are no more than this.
    Cached { max: u64 },
    /// Past it: the same file, opened so.
    Direct(File),
    /// Through the cache, for there is no other way.
    Through,
}

/// A slice may have a million pages, so that of most not even the place is kept in memory.
pub(super) struct InFile {
    path: PathBuf,
    file: File,
    way: Way,
    /// Bytes that stand behind `written`, the last `filled` of the file.
    blocks: Vec<Box<Block>>,
    filled: usize,
    /// Bytes in the file for good; past the cache a multiple of all that a disk may ask.
    written: u64,
    /// What is in the blocks is in the file as well.
    is_flushed: bool,
    pub pages: usize,
    /// Where every page stands whose number is a multiple of `STRIDE`.
    places: Vec<u64>,
    /// The page that was read last is followed by the one of this number, at this place.
    ahead: (usize, u64),
}

impl InFile {
    /// Of the file, `cached_max` bytes may stand in the system's cache for as long as it likes.
    pub fn begin(path: &Path, cached_max: u64) -> Result<Self, IoError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = File::options().create_new(true).read(true).write(true).open(path)?;
        let way = Way::Cached { max: cached_max };
        let (path, blocks, places) = (path.to_owned(), Vec::new(), Vec::new());
        Ok(InFile { path, file, way, blocks, filled: 0, written: 0, is_flushed: true, pages: 0, places, ahead: (0, 0) })
    }

    /// `is_behind`: more pages are there than the disk has taken.
    pub fn write(&mut self, head: &Head, body: &Bytes, is_behind: bool) -> Result<(), IoError> {
        let head = serde_json::to_vec(head)?;
        let too_large = |_| IoError::from(std::io::ErrorKind::FileTooLarge);
        let lengths = (u32::try_from(head.len()).map_err(too_large)?, u32::try_from(body.len()).map_err(too_large)?);
        let length = LENGTHS + u64::from(lengths.0) + u64::from(lengths.1);
        if matches!(self.way, Way::Cached { max } if self.length() + length > max) {
            self.leave_cache()?;
        }
        if self.pages.is_multiple_of(STRIDE) {
            self.places.push(self.length());
        }
        for bytes in [&lengths.0.to_le_bytes(), &lengths.1.to_le_bytes(), head.as_slice(), body] {
            self.put(bytes, is_behind)?;
        }
        self.pages += 1;
        Ok(())
    }

    fn length(&self) -> u64 {
        self.written + self.filled as u64
    }

    /// What comes from here on goes past the cache. It begins at a place that a disk may ask, with the bytes again that stand there.
    fn leave_cache(&mut self) -> Result<(), IoError> {
        let direct = File::options().write(true).custom_flags(libc::O_DIRECT).open(&self.path);
        self.way = direct.map_or(Way::Through, Way::Direct);
        self.flush()?;
        let (length, begin) = (self.length(), self.length() / ALIGN * ALIGN);
        (self.written, self.filled) = (begin, 0);
        let mut again = vec![0; (length - begin) as usize];
        self.file.read_exact_at(&mut again, begin)?;
        self.copy(&again, false)
    }

    fn put(&mut self, bytes: &[u8], is_behind: bool) -> Result<(), IoError> {
        // The system copies what it caches; what is long is not worth a copy before that.
        if matches!(self.way, Way::Cached { .. }) && bytes.len() >= BLOCK {
            self.flush()?;
            (self.written, self.filled) = (self.length(), 0);
            self.file.write_all_at(bytes, self.written)?;
            self.written += bytes.len() as u64;
            return Ok(());
        }
        self.copy(bytes, is_behind)
    }

    fn copy(&mut self, mut bytes: &[u8], is_behind: bool) -> Result<(), IoError> {
        self.is_flushed = false;
        while !bytes.is_empty() {
            let (block, begin) = (self.filled / BLOCK, self.filled % BLOCK);
            if block == self.blocks.len() {
                self.blocks.push(Box::new(Block([0; BLOCK])));
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - begin));
            self.blocks[block].0[begin..begin + now.len()].copy_from_slice(now);
            (self.filled, bytes) = (self.filled + now.len(), later);
            if self.filled == BLOCKS * BLOCK {
                self.write_blocks(is_behind)?;
                (self.written, self.filled) = (self.written + self.filled as u64, 0);
            }
        }
        Ok(())
    }

    /// Writes full blocks behind what is written.
    fn write_blocks(&mut self, is_behind: bool) -> Result<(), IoError> {
        let mut done = 0;
        if let Way::Direct(direct) = &self.way
            && !is_behind
        {
            let slices: Vec<IoSlice<'_>> = self.blocks.iter().map(|block| IoSlice::new(&block.0)).collect();
            match rustix::io::pwritev(direct, &slices, self.written) {
                Ok(length) => done = length,
                // Opened, but not to be written to so; what is wrong with the disk itself shows in the other way, too.
                Err(_) => self.way = Way::Through,
            }
        }
        for (place, block) in self.blocks.iter().enumerate() {
            let begin = done.saturating_sub(place * BLOCK).min(BLOCK);
            self.file.write_all_at(&block.0[begin..], self.written + (place * BLOCK + begin) as u64)?;
        }
        Ok(())
    }

    /// Makes what is in the blocks readable.
    fn flush(&mut self) -> Result<(), IoError> {
        for (place, block) in self.blocks.iter().enumerate() {
            let filled = self.filled.saturating_sub(place * BLOCK).min(BLOCK);
            self.file.write_all_at(&block.0[..filled], self.written + (place * BLOCK) as u64)?;
        }
        self.is_flushed = true;
        Ok(())
    }

    /// Pages are mostly read one after the other; any other is looked for from the last place before it that is known.
    pub fn read(&mut self, number: usize) -> Result<(Head, Bytes), IoError> {
        if !self.is_flushed {
            self.flush()?;
        }
        let (mut at_number, mut at) = match self.ahead.0 == number {
            true => self.ahead,
            false => {
                let place = self.places.get(number / STRIDE).copied();
                (number - number % STRIDE, place.ok_or(std::io::ErrorKind::NotFound)?)
            }
        };
        loop {
            let mut lengths = [0; LENGTHS as usize];
            self.file.read_exact_at(&mut lengths, at)?;
            let [a, b, c, d, e, f, g, h] = lengths;
            let (head, body) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
            let begin = at + LENGTHS;
            at = begin + u64::from(head) + u64::from(body);
            at_number += 1;
            if at_number <= number {
                continue;
            }
            let mut bytes = vec![0; head as usize];
            self.file.read_exact_at(&mut bytes, begin)?;
            let read = serde_json::from_slice(&bytes)?;
            let mut bytes = vec![0; body as usize];
            self.file.read_exact_at(&mut bytes, begin + u64::from(head))?;
            self.ahead = (at_number, at);
            return Ok((read, Bytes::from(bytes)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::page::RawPage;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn pages_come_back_by_whichever_way_they_went(
            lengths in prop::collection::vec((0..400_000_usize, any::<bool>(), any::<bool>()), 1..40),
            cached_max in prop_oneof![Just(0), 0..2_000_000_u64, Just(u64::MAX)],
            can_direct: bool,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut file = InFile::begin(&folder.path().join("x.pages"), cached_max).expect("begun");
            // One that was opened so, but cannot be written to.
            if !can_direct && cached_max == 0 {
                file.way = Way::Direct(File::open("/dev/null").expect("open"));
            }
            let body = |number: usize, length: usize| Bytes::from((0..length).map(|at| (at * 31 + number) as u8).collect::<Vec<u8>>());
            for (number, (length, is_behind, is_read)) in lengths.iter().copied().enumerate() {
                let mut page = RawPage::nothing();
                page.position.index = number as u64;
                file.write(&Head::of(&page), &body(number, length), is_behind).expect("written");
                // What is read between is there, and no matter for what comes.
                if is_read {
                    prop_assert_eq!(file.read(number).expect("there").1, body(number, length));
                }
            }
            for (number, (length, ..)) in lengths.iter().copied().enumerate() {
                let (head, found) = file.read(number).expect("there");
                prop_assert_eq!((head.index, found), (number as u64, body(number, length)));
            }
            prop_assert!(file.read(lengths.len()).is_err());
        }
    }
}
