//! The bytes of a Parquet file between its writer and whoever takes them. The writer copies what it is given, and large pages are most
//! of a file: they go past it by hand. For each of their bytes it gets one that nobody looks at, so that all places that it counts hold.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Our own bytes that are handed out in one.
const PART: usize = 512 * 1024;
/// So many bytes at a page's beginning go through the writer as they are: they show that the page is where it was to be.
const SHOWN: usize = 16;
/// Shorter pages are copied: each part is a write of its own to a disk, and takes memory besides its bytes.
const BY_HAND_MIN: usize = 8 * 1024;

/// Pages that go past the writer, each with the place in the file at which it begins.
#[derive(Clone, Debug, Default)]
pub struct ByHand(Arc<Mutex<VecDeque<(usize, Bytes)>>>);

impl ByHand {
    fn put(&self, place: usize, page: Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back((place, page));
    }

    /// What a file that has come to `place` goes on with.
    fn at(&self, place: usize) -> Next {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pages.front().map_or(usize::MAX, |(begin, _)| begin.saturating_sub(place));
        match pages.pop_front_if(|(begin, _)| *begin <= place) {
            Some((begin, page)) if begin == place => Next::Page(page),
            Some(_) => Next::Passed,
            None => Next::Own(before),
        }
    }

    /// What a writer whose file has come to `place` is to read of these pages.
    pub fn past(&self, place: usize, pages: Vec<Bytes>) -> Past {
        Past { left: pages.into_iter(), place, at: Bytes::new(), is_by_hand: false, to_show: 0, by_hand: self.clone() }
    }
}

enum Next {
    Page(Bytes),
    /// At most so many bytes of what the writer writes by itself.
    Own(usize),
    /// The place of a page is behind.
    Passed,
}

/// As many bytes as pages have: those of large ones are whatever they were.
pub struct Past {
    left: std::vec::IntoIter<Bytes>,
    /// Where in the file the next page begins.
    place: usize,
    at: Bytes,
    is_by_hand: bool,
    /// Of its beginning, what was not read yet, at most.
    to_show: usize,
    by_hand: ByHand,
}

impl Read for Past {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.at.is_empty() {
            let Some(next) = self.left.next() else { return Ok(0) };
            (self.is_by_hand, self.to_show) = (next.len() >= BY_HAND_MIN, SHOWN);
            if self.is_by_hand {
                self.by_hand.put(self.place, next.clone());
            }
            self.place += next.len();
            self.at = next;
        }
        let length = into.len().min(self.at.len());
        let bytes = self.at.split_to(length);
        let shown = if self.is_by_hand { self.to_show.min(length) } else { length };
        self.to_show = self.to_show.saturating_sub(shown);
        into[..shown].copy_from_slice(&bytes[..shown]);
        Ok(length)
    }
}

/// What was written, in parts: nothing is moved to make room for more.
#[derive(Default)]
pub struct Parts {
    by_hand: ByHand,
    /// Bytes so far that are in no part yet.
    own: Vec<u8>,
    parts: Vec<Bytes>,
    /// Bytes that were not taken yet.
    ready: usize,
    /// Bytes that were written, ever.
    place: usize,
    /// How many more come for a page that went by hand.
    stand_ins: usize,
}

impl Write for Parts {
    fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<usize> {
        let all = bytes.len();
        while !bytes.is_empty() {
            let written = match self.stand_ins {
                0 => self.write_own(bytes)?,
                stand_ins => {
                    let passed = bytes.len().min(stand_ins);
                    self.stand_ins -= passed;
                    passed
                }
            };
            self.place += written;
            bytes = &bytes[written..];
        }
        Ok(all)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Parts {
    pub fn by_hand(&self) -> ByHand {
        self.by_hand.clone()
    }

    /// Bytes that can be taken.
    pub fn ready(&self) -> usize {
        self.ready
    }

    pub fn take(&mut self) -> Vec<Bytes> {
        self.end_part();
        self.ready = 0;
        std::mem::take(&mut self.parts)
    }

    /// Takes what is not of a page that went by hand, and returns how much that was: nothing where such a page begins. An error where
    /// one is not at its place: the file would be another.
    fn write_own(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let before_page = match self.by_hand.at(self.place) {
            Next::Page(page) if page.iter().zip(bytes).take(SHOWN).all(|(one, other)| one == other) => {
                self.end_part();
                self.ready += page.len();
                self.stand_ins = page.len();
                self.parts.push(page);
                return Ok(0);
            }
            Next::Own(before_page) => before_page,
            Next::Page(_) | Next::Passed => return Err(std::io::Error::other("a page is not at its place in the file")),
        };
        let now = bytes.len().min(PART - self.own.len()).min(before_page);
        self.own.extend_from_slice(&bytes[..now]);
        self.ready += now;
        if self.own.len() == PART {
            self.end_part();
        }
        Ok(now)
    }

    fn end_part(&mut self) {
        if !self.own.is_empty() {
            // Many files are small, and wait to be written: what a part has room for beside its bytes is given back.
            self.own.shrink_to_fit();
            self.parts.push(Bytes::from(std::mem::take(&mut self.own)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufWriter;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_bytes_come_out_in_their_order(
            pages in prop::collection::vec((0..3 * BY_HAND_MIN, 0..200_usize), 0..12),
            buffer in 1..2 * BY_HAND_MIN,
            take in 0..12_usize,
        ) {
            let mut file = BufWriter::with_capacity(buffer, Parts::default());
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            let byte = |at: usize| (at * 7 % 251) as u8;
            for (number, (page, behind)) in pages.into_iter().enumerate() {
                let page: Vec<u8> = (0..page).map(|at| byte(at + number)).collect();
                // A header, a page, and what the writer writes by itself.
                let header = vec![byte(number); number % 3 * 20];
                let mut past = file.get_ref().by_hand().past(expected.len(), vec![header.clone().into(), page.clone().into()]);
                expected.extend([header, page].concat());
                std::io::copy(&mut past, &mut file).expect("read and written");
                let own: Vec<u8> = (0..behind).map(byte).collect();
                file.write_all(&own).expect("written");
                expected.extend(own);
                if number == take {
                    found.extend(file.get_mut().take());
                }
            }
            file.flush().expect("written");
            let parts = file.get_mut();
            let before: usize = found.iter().map(Bytes::len).sum();
            prop_assert_eq!(parts.ready() + before, expected.len());
            found.extend(parts.take());
            prop_assert_eq!(parts.ready(), 0);
            prop_assert_eq!(found.concat(), expected);
        }
    }

    #[test]
    fn parts_hold_what_was_written() {
        let mut parts = Parts::default();
        let written: Vec<u8> = (0..3 * PART + 7).map(|byte| (byte % 251) as u8).collect();
        for bytes in [&written[..1], &written[1..PART], &written[PART..PART + 5], &written[PART + 5..]] {
            parts.write_all(bytes).expect("written");
        }
        assert_eq!(parts.ready(), written.len());
        let taken = parts.take();
        assert_eq!(taken.iter().map(Bytes::len).collect::<Vec<_>>(), [PART, PART, PART, 7]);
        assert!(taken.concat() == written && parts.ready() == 0 && parts.take().is_empty());
    }

    #[test]
    fn a_page_that_is_not_at_its_place_is_an_error() {
        for place in [0, 3, 5, 6, 7, 15] {
            let mut parts = Parts::default();
            parts.write_all(b"before").expect("written");
            let pages = [0, 9].map(|first| Bytes::from((0..BY_HAND_MIN).map(|at| (at + first) as u8).collect::<Vec<u8>>()));
            let mut past = parts.by_hand().past(place, pages.to_vec());
            assert_eq!(std::io::copy(&mut past, &mut parts).is_ok(), place == 6, "{place}");
        }
    }

    #[test]
    fn a_large_page_is_not_copied() {
        let page = Bytes::from(vec![7; BY_HAND_MIN]);
        let mut parts = Parts::default();
        parts.write_all(b"before").expect("written");
        let mut past = parts.by_hand().past(6, vec![page.clone()]);
        std::io::copy(&mut past, &mut parts).expect("copied");
        assert_eq!(parts.take()[1].as_ptr(), page.as_ptr());
    }
}
