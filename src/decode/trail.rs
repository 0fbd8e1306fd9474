//! The keys that came so far, and which stood after which. In the next record they nearly always come in the same order, so that a key
//! is compared with the one that is expected, a word at a time, instead of being looked for byte by byte; and it is known by a number.
//!
//! Learned from what comes, therefore bounded: whoever sends ever new keys has them read as if there were no trail.

use std::collections::HashMap;

use ahash::RandomState;

/// Of a key that is not on the trail; as a parent, the document.
pub const UNKNOWN: u16 = 0;
/// Keys on the trail, each as often as there are places for it.
const KEYS_MAX: usize = 4096;
/// Longest key on the trail, bytes.
const LENGTH_MAX: usize = 126;
/// Keys that are tried before one is taken for unexpected: a few may be left out.
const TRIED: usize = 3;

/// The keys of objects as a tree: a key's children are the keys of the objects that stand behind it, in lists or not.
#[derive(Debug)]
pub struct Trail {
    /// By number; the first stands for the document.
    keys: Vec<Key>,
    /// The keys with their quotes, in words of eight bytes, the last of a key filled up with zeros.
    words: Vec<u64>,
    names: HashMap<Box<str>, u16, RandomState>,
    /// Parent and name to key.
    places: HashMap<(u16, u16), u16, RandomState>,
}

#[derive(Debug)]
struct Key {
    /// Without quotes.
    name: Box<str>,
    /// Its first word, the number of all of them, and which bits of the last one count.
    from: usize,
    count: usize,
    mask: u64,
    /// The key that came first in an object behind it.
    first: u16,
    /// The key that came next in its own object.
    next: u16,
}

impl Default for Trail {
    fn default() -> Self {
        let document = Key { name: Box::default(), from: 0, count: 0, mask: 0, first: UNKNOWN, next: UNKNOWN };
        Trail { keys: vec![document], words: Vec::new(), names: HashMap::default(), places: HashMap::default() }
    }
}

impl Trail {
    /// A page begins: what is full is of no more use.
    pub fn begin_page(&mut self) {
        if self.keys.len() == KEYS_MAX {
            *self = Trail::default();
        }
    }

    /// One more than the largest number of a key.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key of this number.
    pub fn name(&self, number: u16) -> &str {
        self.keys.get(usize::from(number)).map(|key| key.name.as_ref()).unwrap_or_default()
    }

    /// The number and the length of the key whose opening quote stands at `at`, if it is one of those that come after `last` in an object
    /// behind `parent`; `last` is [`UNKNOWN`] at its beginning.
    #[inline]
    pub fn expected(&self, body: &[u8], at: usize, parent: u16, last: u16) -> Option<(u16, usize)> {
        let mut number = if last == UNKNOWN { self.keys[parent as usize].first } else { self.keys[last as usize].next };
        for _ in 0..TRIED {
            if number == UNKNOWN {
                return None;
            }
            let key = &self.keys[number as usize];
            if self.stands_at(key, body, at) {
                return Some((number, key.name.len()));
            }
            number = key.next;
        }
        None
    }

    #[inline]
    fn stands_at(&self, key: &Key, body: &[u8], at: usize) -> bool {
        let words = &self.words[key.from..key.from + key.count];
        let Some((last, others)) = words.split_last() else { return false };
        let Some((bytes, _)) = body.get(at..at + 8 * words.len()).map(<[u8]>::as_chunks::<8>) else { return false };
        let found = |index: usize| u64::from_le_bytes(bytes[index]);
        (found(others.len()) ^ last) & key.mask == 0 && others.iter().enumerate().all(|(index, word)| found(index) == *word)
    }

    /// Takes a key in that was not expected; its number.
    pub fn learn(&mut self, name: &str, parent: u16, last: u16) -> u16 {
        let Some(number) = self.number(name, parent) else { return UNKNOWN };
        match last {
            UNKNOWN => self.keys[parent as usize].first = number,
            last => self.keys[last as usize].next = number,
        }
        number
    }

    fn number(&mut self, name: &str, parent: u16) -> Option<u16> {
        let known = self.names.get(name).copied();
        if let Some(number) = known.and_then(|name| self.places.get(&(parent, name))) {
            return Some(*number);
        }
        if name.len() > LENGTH_MAX || self.keys.len() == KEYS_MAX {
            return None;
        }
        let number = u16::try_from(self.keys.len()).ok()?;
        // A name is known by the first of its keys.
        let known = *self.names.entry(name.into()).or_insert(number);
        self.places.insert((parent, known), number);
        let quoted = [b"\"", name.as_bytes(), b"\""].concat();
        let from = self.words.len();
        self.words.extend(quoted.chunks(8).map(|bytes| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))));
        let mask = u64::MAX >> (8 * (7 - (quoted.len() - 1) % 8));
        let count = self.words.len() - from;
        self.keys.push(Key { name: name.into(), from, count, mask, first: UNKNOWN, next: UNKNOWN });
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_are_known_again_and_their_likes_are_not() {
        for length in 0..=LENGTH_MAX {
            let mut trail = Trail::default();
            let name = "k".repeat(length);
            let number = trail.learn(&name, UNKNOWN, UNKNOWN);
            let filler = "x".repeat(8);
            let body = format!("\"{name}\"{filler}");
            assert_eq!(trail.expected(body.as_bytes(), 0, UNKNOWN, UNKNOWN), Some((number, length)));
            let likes = [format!("\"{name}k\"{filler}"), format!("\"{name}\\\"{filler}"), format!(" {name}\"{filler}")];
            for like in likes {
                assert_eq!(trail.expected(like.as_bytes(), 0, UNKNOWN, UNKNOWN), None, "{like}");
            }
            assert_eq!(trail.expected(&body.as_bytes()[..length], 0, UNKNOWN, UNKNOWN), None, "it ends before");
        }
        assert_eq!(Trail::default().learn(&"k".repeat(LENGTH_MAX + 1), UNKNOWN, UNKNOWN), UNKNOWN);
    }

    #[test]
    fn a_name_has_a_number_for_each_of_its_places_and_what_is_left_out_is_passed_over() {
        let mut trail = Trail::default();
        let mut last = UNKNOWN;
        let numbers: Vec<u16> = ["id", "user", "a", "b", "c"]
            .map(|name| {
                last = trail.learn(name, UNKNOWN, last);
                last
            })
            .to_vec();
        let inner = trail.learn("id", numbers[1], UNKNOWN);
        assert!(inner != numbers[0] && inner != UNKNOWN);
        assert_eq!(trail.learn("id", numbers[1], UNKNOWN), inner);
        let find = |text: &[u8], last| trail.expected(text, 0, UNKNOWN, last).map(|(number, _)| number);
        assert_eq!(find(b"\"b\"       ", numbers[0]), Some(numbers[3]));
        assert_eq!(find(b"\"c\"       ", numbers[0]), None, "too far");
    }

    #[test]
    fn ever_new_keys_end_up_unknown_and_the_next_page_begins_anew() {
        let mut trail = Trail::default();
        let numbers: Vec<u16> = (0..2 * KEYS_MAX).map(|name| trail.learn(&name.to_string(), UNKNOWN, UNKNOWN)).collect();
        assert_eq!(numbers.iter().filter(|number| **number == UNKNOWN).count(), KEYS_MAX + 1);
        assert_eq!(trail.len(), KEYS_MAX);
        trail.begin_page();
        assert_eq!(trail.len(), 1);
    }
}
