//! Memory for bodies, used again: what is taken fresh from the system costs more, page by page, than the bytes that are copied into it.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Memory taken in advance on the word of `Content-Length`, at most.
const AHEAD_MAX: u64 = 4 * 1024 * 1024;
/// Smaller ones are left to the allocator.
const KEPT_MIN: usize = 64 * 1024;
/// Larger ones are given back.
const KEPT_MAX: usize = 2 * 1024 * 1024;
/// All that is kept for bodies to come, bytes.
const IDLE_MAX: usize = 4 * 1024 * 1024;

/// Buffers that no body is in, the one that waits longest first.
#[derive(Default)]
struct Idle(Vec<Vec<u8>>);

static IDLE: Mutex<Idle> = Mutex::new(Idle(Vec::new()));

/// A body that is being read, then one that is whole. Its memory goes to another when the last handle to it goes.
#[derive(Debug)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    /// Empty, for a body of about so many bytes; 0 where nobody knows.
    pub(super) fn of(announced: u64) -> Self {
        let length = usize::try_from(announced.min(AHEAD_MAX)).unwrap_or(0);
        let again = IDLE.lock().unwrap_or_else(PoisonError::into_inner).take(length);
        Buffer(again.unwrap_or_else(|| Vec::with_capacity(length)))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Whoever keeps the bytes keeps no more than twice as much memory.
    pub(super) fn into_bytes(self) -> Bytes {
        match self.0.capacity() / 2 > self.0.len() {
            true => Bytes::copy_from_slice(&self.0),
            false => Bytes::from_owner(self),
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        let mut gone = IDLE.lock().unwrap_or_else(PoisonError::into_inner).give(buffer);
        gone.clear();
    }
}

impl Idle {
    /// The smallest that holds so many bytes and no more than twice as many; the largest where nobody knows how many there are.
    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        let all = self.0.iter().enumerate().map(|(place, buffer)| (buffer.capacity(), place));
        let (_, place) = match length {
            0 => all.max(),
            length => all.filter(|(capacity, _)| (length..=2 * length).contains(capacity)).min(),
        }?;
        Some(self.0.remove(place))
    }

    /// Takes a buffer in; what does not stay comes back, so that it is not freed under a lock.
    fn give(&mut self, mut buffer: Vec<u8>) -> Vec<Vec<u8>> {
        if !(KEPT_MIN..=KEPT_MAX).contains(&buffer.capacity()) {
            return vec![buffer];
        }
        buffer.clear();
        self.0.push(buffer);
        // Those that wait longest are of a size that nobody asks for.
        let mut held: usize = self.0.iter().map(Vec::capacity).sum();
        let mut gone = 0;
        while held > IDLE_MAX {
            held -= self.0[gone].capacity();
            gone += 1;
        }
        self.0.drain(..gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_came_however_large_its_memory_is() {
        for (announced, length) in [(0, 0), (0, 10), (100_000, 100_000), (3_000_000, 10), (10, 100_000), (0, 200_000)] {
            let bytes: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let mut buffer = Buffer::of(announced);
            bytes.chunks(999).for_each(|chunk| buffer.extend(chunk));
            let body = buffer.into_bytes();
            let part = body.slice(length / 2..);
            drop(body);
            // Whoever has a part has it still when others take memory.
            drop(Buffer::of(announced).into_bytes());
            assert_eq!(part, bytes[length / 2..]);
        }
    }

    #[test]
    fn memory_is_for_bodies_of_about_its_size_and_is_bounded() {
        let mut idle = Idle::default();
        let of = |capacity: usize| Vec::with_capacity(capacity);
        for capacity in [300_000, 100_000, 200_000] {
            assert!(idle.give(of(capacity)).is_empty());
        }
        let mut take = |length: usize| idle.take(length).map(|buffer| buffer.capacity());
        assert_eq!((take(60_000), take(101_000), take(90_000), take(99)), (Some(100_000), Some(200_000), None, None));
        assert_eq!((take(0), take(0)), (Some(300_000), None));
        for (length, stays) in [(KEPT_MIN - 1, false), (KEPT_MAX + 1, false), (KEPT_MIN, true), (KEPT_MAX, true)] {
            assert_eq!(idle.give(of(length)).is_empty(), stays, "{length}");
        }
        let gone = idle.give(of(KEPT_MAX));
        assert_eq!(gone.iter().map(Vec::capacity).collect::<Vec<_>>(), [KEPT_MIN], "the oldest");
    }
}
