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
    names: HashMap<Box<str>, u16, RandomState>,
    /// Parent and name to key.
    places: HashMap<(u16, u16), u16, RandomState>,
}

#[derive(Debug)]
struct Key {
    /// How it mostly stands in a page: in quotes, with a colon. The first bytes in one number, and which bits of it count.
    head: u128,
    mask: u128,
    /// All of them.
    quoted: Box<[u8]>,
    /// The key that came first in an object behind it.
    first: u16,
    /// The key that came next in its own object.
    next: u16,
    /// Without quotes.
    name: Box<str>,
}

/// Bytes of a key that are looked at together.
const HEAD: usize = 16;

impl Key {
    /// The place behind it, and true, or without a colon right behind its closing quote the place behind that, and false.
    #[inline(never)]
    fn stands_at(&self, body: &[u8], at: usize) -> Option<(usize, bool)> {
        let (colon, name) = self.quoted.split_last()?;
        let rest = body.get(at..)?.strip_prefix(name)?;
        let has_colon = rest.first() == Some(colon);
        Some((at + name.len() + usize::from(has_colon), has_colon))
    }
}

/// A key that was expected, and the place behind it, with the colon if that follows at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    pub number: u16,
    pub end: usize,
    pub has_colon: bool,
}

impl Default for Trail {
    fn default() -> Self {
        let document = Key { head: 0, mask: 0, quoted: Box::default(), first: UNKNOWN, next: UNKNOWN, name: Box::default() };
        Trail { keys: vec![document], names: HashMap::default(), places: HashMap::default() }
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

    /// The key whose opening quote stands at `at`, if it is one of those that come after `last` in an object behind `parent`; `last` is
    /// [`UNKNOWN`] at its beginning. `None` also where the body ends within the next [`HEAD`] bytes.
    #[inline(always)]
    pub fn expected(&self, body: &[u8], at: usize, parent: u16, last: u16) -> Option<Met> {
        let head = u128::from_le_bytes(*body.get(at..)?.first_chunk::<HEAD>()?);
        let mut number = if last == UNKNOWN { self.keys[parent as usize].first } else { self.keys[last as usize].next };
        for _ in 0..TRIED {
            if number == UNKNOWN {
                return None;
            }
            let key = &self.keys[number as usize];
            let differs = (head ^ key.head) & key.mask;
            if differs == 0 && key.quoted.len() <= HEAD {
                return Some(Met { number, end: at + key.quoted.len(), has_colon: true });
            }
            // The last byte that counts is the colon, or one of a long key.
            if differs & key.mask >> 8 == 0
                && let Some((end, has_colon)) = key.stands_at(body, at)
            {
                return Some(Met { number, end, has_colon });
            }
            number = key.next;
        }
        None
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
        let quoted = [b"\"", name.as_bytes(), b"\":"].concat();
        let head = quoted.iter().take(HEAD).rev().fold(0, |word, byte| word << 8 | u128::from(*byte));
        let mask = u128::MAX >> (8 * HEAD.saturating_sub(quoted.len()));
        self.keys.push(Key { head, mask, quoted: quoted.into(), first: UNKNOWN, next: UNKNOWN, name: name.into() });
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
            let filler = "x".repeat(HEAD);
            let met = |body: &str| trail.expected(body.as_bytes(), 0, UNKNOWN, UNKNOWN);
            let body = format!("\"{name}\":{filler}");
            assert_eq!(met(&body), Some(Met { number, end: length + 3, has_colon: true }));
            for spaced in [" :", "\n:", "x", ""] {
                let met = met(&format!("\"{name}\"{spaced}{filler}"));
                assert_eq!(met, Some(Met { number, end: length + 2, has_colon: false }), "{length}");
            }
            let likes = [format!("\"{name}k\":{filler}"), format!("\"{name}\\\":{filler}"), format!(" {name}\":{filler}")];
            for like in likes {
                assert_eq!(met(&like), None, "{like}");
            }
            assert_eq!(met(&body[..length]), None, "it ends before");
            assert_eq!(met(&body[..HEAD - 1]), None, "it ends soon");
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
        let find = |text: &[u8], last| trail.expected(text, 0, UNKNOWN, last).map(|met| met.number);
        assert_eq!(find(b"\"b\":[1,2,3,4,5,6]", numbers[0]), Some(numbers[3]));
        assert_eq!(find(b"\"c\":[1,2,3,4,5,6]", numbers[0]), None, "too far");
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
