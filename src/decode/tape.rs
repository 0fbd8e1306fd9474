//! A page's bytes as a tape: one element for each value and each end of an object or list, in the order in which they stand, each with
//! its place in the bytes. A value in an object has its key's number on the trail; a key that is not on the trail is an element of its
//! own before its value. Written in one pass, which takes exactly what RFC 8259 takes, but for control characters inside of strings.
//!
//! Why no tape that others have made: ADR 5.

use super::document::shorten;
use super::escapes;
use super::number::end_of_json_number;
use super::trail::{Met, Trail, UNKNOWN};

/// Objects and lists in each other; deeper input is refused before anything recurses into it.
pub const DEPTH_MAX: usize = 128;

/// Why the bytes are no JSON document.
#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    Empty,
    /// It ends in the middle.
    CutOff,
    /// It goes on behind its end, which is here.
    More(usize),
    /// Lower case, without a full stop.
    Other(String),
}

/// What stands at a place; `word` says more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    True,
    False,
    /// `word` is its length.
    Number,
    /// A string that stands for itself; `word` is its length without quotes.
    Text,
    /// A string with escapes; `word` is its number among them.
    Escaped,
    /// `word` is the place of its end.
    List,
    /// `word` is the place of its end.
    Object,
    End,
}

#[derive(Clone, Copy, Debug)]
pub struct Element {
    pub kind: Kind,
    /// The number on the trail of the key that it is the value of; equal numbers are equal keys, but for [`UNKNOWN`], which stands in
    /// lists, too.
    pub key: u16,
    /// Its first byte.
    pub start: u32,
    pub word: u32,
}

/// A string that had escapes: where what it says stands in [`Tape::unescaped`], and where it ends in the bytes, behind its quote.
#[derive(Clone, Copy, Debug)]
pub struct Escaped {
    pub from: u32,
    pub to: u32,
    pub end: u32,
}

/// The tape of one document; its memory serves the next page again.
#[derive(Debug, Default)]
pub struct Tape {
    /// The first is a null that stands for whatever is missing, the second the document.
    pub elements: Vec<Element>,
    pub escaped: Vec<Escaped>,
    pub unescaped: String,
    /// Lists that are in no more than one object or list, and the places of all their items: records mostly stand in such a one, and to
    /// go from one to the next by their ends would wait for each.
    pub outer: Vec<(u32, u32)>,
    /// The keys of this document, and of those before it.
    pub trail: Trail,
}

/// Where the document stands on its tape.
pub const ROOT: u32 = 1;
/// Objects and lists around a list whose items are noted, at most.
const OUTER_MAX: usize = 1;
/// Elements whose memory is kept for the next page, at most.
const KEPT_MAX: usize = 1 << 20;

impl Tape {
    /// Puts a body on the tape: exactly one document, to its end. After an error the tape holds nothing of use.
    pub fn fill(&mut self, body: &str) -> Result<(), Malformed> {
        if self.elements.capacity() > KEPT_MAX {
            self.elements = Vec::new();
        }
        if self.unescaped.capacity() > KEPT_MAX {
            (self.escaped, self.unescaped) = (Vec::new(), String::new());
        }
        if self.outer.capacity() > KEPT_MAX {
            self.outer = Vec::new();
        }
        self.outer.clear();
        self.elements.clear();
        self.escaped.clear();
        self.unescaped.clear();
        self.trail.begin_page();
        self.elements.push(Element { kind: Kind::Null, key: UNKNOWN, start: 0, word: 0 });
        // Places and lengths are 32 bits; a tape has no more elements than the body has bytes, but for the first.
        if body.len() >= u32::MAX as usize {
            return Err(Malformed::Other("the body is larger than 4 GiB".to_owned()));
        }
        Walk { tape: self, text: body, body: body.as_bytes(), open: Vec::new() }.document().map_err(|malformed| *malformed)
    }
}

/// Of a step of the walk. Boxed, so that what mostly comes back fits into a register.
type Step<T> = Result<T, Box<Malformed>>;

struct Walk<'a> {
    tape: &'a mut Tape,
    text: &'a str,
    body: &'a [u8],
    /// Those around the innermost object or list that is not at its end.
    open: Vec<Open>,
}

/// An object or list that is not at its end.
#[derive(Clone, Copy)]
struct Open {
    place: u32,
    /// What ends it.
    close: u8,
    /// Nothing is in it yet.
    is_empty: bool,
    /// The key that it stands behind, and in an object the last key so far.
    behind: u16,
    last: u16,
}

/// Where the walk is goes from step to step by value, so that it stays in a register.
impl Walk<'_> {
    fn document(&mut self) -> Step<()> {
        let (mut at, first) = self.see(0);
        if first.is_none() {
            return Err(Malformed::Empty.into());
        }
        let (behind, is_open) = self.value(UNKNOWN, at, first)?;
        at = behind;
        if is_open {
            let outermost = self.begun(UNKNOWN)?;
            at = self.inside(outermost, at)?;
        }
        match self.see(at) {
            (_, None) => Ok(()),
            (at, Some(_)) => Err(Malformed::More(at).into()),
        }
    }

    /// The next byte that is no space, and where it stands.
    #[inline(always)]
    fn see(&self, at: usize) -> (usize, Option<u8>) {
        match self.body.get(at) {
            Some(byte) if *byte > b' ' => (at, Some(*byte)),
            _ => self.see_behind_space(at),
        }
    }

    #[inline(never)]
    fn see_behind_space(&self, mut at: usize) -> (usize, Option<u8>) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.body.get(at) {
            at += 1;
        }
        (at, self.body.get(at).copied())
    }

    /// From behind the beginning of an object or list to behind its end.
    fn inside(&mut self, mut innermost: Open, mut at: usize) -> Step<usize> {
        loop {
            let (here, byte) = self.see(at);
            at = here;
            match byte {
                Some(byte) if byte == innermost.close => {
                    self.close(innermost.place, at);
                    at += 1;
                    match self.open.pop() {
                        Some(outer) => innermost = outer,
                        None => return Ok(at),
                    }
                    continue;
                }
                Some(b',') if !innermost.is_empty => at = self.see(at + 1).0,
                Some(_) if innermost.is_empty => innermost.is_empty = false,
                Some(_) => return Err(misplaced(',', at)),
                None => return Err(Malformed::CutOff.into()),
            }
            let (key, behind) = match innermost.close == b'}' {
                true => {
                    let (key, end) = self.key(&innermost, at)?;
                    at = self.see(end).0;
                    if key != UNKNOWN {
                        innermost.last = key;
                    }
                    (key, key)
                }
                false => {
                    if self.open.len() <= OUTER_MAX {
                        self.tape.outer.push((innermost.place, self.tape.elements.len() as u32));
                    }
                    (UNKNOWN, innermost.behind)
                }
            };
            let (end, is_open) = self.value(key, at, self.body.get(at).copied())?;
            at = end;
            if is_open {
                self.open.push(innermost);
                innermost = self.begun(behind)?;
            }
        }
    }

    /// A key with its colon; its number, and the place behind. Only a key without one gets an element.
    #[inline(always)]
    fn key(&mut self, object: &Open, at: usize) -> Step<(u16, usize)> {
        match self.tape.trail.expected(self.body, at, object.behind, object.last) {
            Some(Met { number, end, has_colon: true }) => Ok((number, end)),
            met => self.key_in_pieces(met, object, at),
        }
    }

    /// A key that was not expected, or whose colon stands further on.
    #[inline(never)]
    fn key_in_pieces(&mut self, met: Option<Met>, object: &Open, at: usize) -> Step<(u16, usize)> {
        let (key, end) = match met {
            Some(Met { number, end, .. }) => (number, end),
            None => self.unexpected_key(object, at)?,
        };
        match self.see(end) {
            (colon, Some(b':')) => Ok((key, colon + 1)),
            (at, Some(_)) => Err(misplaced(':', at)),
            (_, None) => Err(Malformed::CutOff.into()),
        }
    }

    #[cold]
    fn unexpected_key(&mut self, object: &Open, at: usize) -> Step<(u16, usize)> {
        match self.body.get(at) {
            Some(b'"') => {}
            Some(_) => return Err(misplaced('"', at)),
            None => return Err(Malformed::CutOff.into()),
        }
        let place = self.tape.elements.len();
        let end = self.string(UNKNOWN, at)?;
        let Element { kind: Kind::Text, start, word, .. } = self.tape.elements[place] else { return Ok((UNKNOWN, end)) };
        let name = self.text.get(start as usize + 1..(start + 1 + word) as usize).unwrap_or_default();
        let key = self.tape.trail.learn(name, object.behind, object.last);
        if key != UNKNOWN {
            self.tape.elements.truncate(place);
        }
        Ok((key, end))
    }

    /// The value of `key`, or an item, that begins at `at` with this byte; of an object or list its beginning. The place behind, and
    /// whether it was one.
    #[inline(always)]
    fn value(&mut self, key: u16, at: usize, first: Option<u8>) -> Step<(usize, bool)> {
        let end = match first {
            Some(b'"') => self.string(key, at)?,
            Some(b'-' | b'0'..=b'9') => self.number(key, at)?,
            Some(open @ (b'{' | b'[')) => {
                let kind = if open == b'{' { Kind::Object } else { Kind::List };
                self.push(kind, key, at, 0);
                return Ok((at + 1, true));
            }
            Some(b'n') => self.literal(b"null", Kind::Null, key, at)?,
            Some(b't') => self.literal(b"true", Kind::True, key, at)?,
            Some(b'f') => self.literal(b"false", Kind::False, key, at)?,
            _ => return Err(self.no_value(at)),
        };
        Ok((end, false))
    }

    #[cold]
    fn no_value(&self, at: usize) -> Box<Malformed> {
        match self.text.get(at..).map(|rest| rest.chars().next()) {
            Some(None) => Malformed::CutOff.into(),
            found => {
                let character = found.flatten().unwrap_or('\u{fffd}');
                other(format!("no value begins with `{}`, at byte `{at}`", character.escape_debug()))
            }
        }
    }

    #[inline(always)]
    fn push(&mut self, kind: Kind, key: u16, start: usize, word: usize) {
        // Both are within the body, which is shorter than 4 GiB.
        self.tape.elements.push(Element { kind, key, start: start as u32, word: word as u32 });
    }

    /// The object or list whose beginning is the last element, and the key that it stands behind, in lists or not.
    fn begun(&self, behind: u16) -> Step<Open> {
        // All that stands around it.
        if self.open.len() == DEPTH_MAX {
            return Err(other(format!("objects and lists are nested deeper than `{DEPTH_MAX}`")));
        }
        let place = self.tape.elements.len() - 1;
        let close = if self.tape.elements[place].kind == Kind::Object { b'}' } else { b']' };
        Ok(Open { place: place as u32, close, is_empty: true, behind, last: UNKNOWN })
    }

    fn close(&mut self, place: u32, at: usize) {
        let end = self.tape.elements.len();
        self.push(Kind::End, UNKNOWN, at, 0);
        self.tape.elements[place as usize].word = end as u32;
    }

    #[inline(always)]
    fn literal<const N: usize>(&mut self, literal: &[u8; N], kind: Kind, key: u16, at: usize) -> Step<usize> {
        if self.body.get(at..at + N) == Some(literal) {
            self.push(kind, key, at, N);
            return Ok(at + N);
        }
        Err(self.no_literal(literal, at))
    }

    #[cold]
    fn no_literal(&self, literal: &[u8], at: usize) -> Box<Malformed> {
        match literal.starts_with(&self.body[at..]) {
            true => Malformed::CutOff.into(),
            false => other(format!("what should be `{}` is something else, at byte `{at}`", String::from_utf8_lossy(literal))),
        }
    }

    #[inline(always)]
    fn number(&mut self, key: u16, start: usize) -> Step<usize> {
        let Some(end) = end_of_json_number(self.body, start) else { return Err(self.no_number(start)) };
        self.push(Kind::Number, key, start, end - start);
        Ok(end)
    }

    #[cold]
    fn no_number(&self, at: usize) -> Box<Malformed> {
        let rest = &self.body[at..];
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
        let number = &rest[..rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len())];
        // A number at the end might go on.
        if number.len() == rest.len() && self.tape.elements.len() > 1 {
            return Malformed::CutOff.into();
        }
        other(format!("a number is none: `{}`", shorten(&String::from_utf8_lossy(number), 40)))
    }

    #[inline(always)]
    fn string(&mut self, key: u16, start: usize) -> Step<usize> {
        let end = find_quote_or_escape(self.body, start + 1).ok_or(Malformed::CutOff)?;
        if self.body[end] == b'"' {
            self.push(Kind::Text, key, start, end - start - 1);
            return Ok(end + 1);
        }
        self.escaped_string(key, start, end)
    }

    /// A string whose first escape stands at `escape`.
    #[inline(never)]
    fn escaped_string(&mut self, key: u16, start: usize, escape: usize) -> Step<usize> {
        let from = self.tape.unescaped.len();
        let (mut copied, mut at) = (start + 1, escape);
        loop {
            // Both ends stand at ASCII, so that the piece is whole characters.
            self.tape.unescaped.push_str(self.text.get(copied..at).unwrap_or_default());
            if self.body[at] == b'"' {
                break;
            }
            at = escapes::take(self.text, at, &mut self.tape.unescaped)?;
            copied = at;
            at = find_quote_or_escape(self.body, at).ok_or(Malformed::CutOff)?;
        }
        let number = self.tape.escaped.len();
        // What is unescaped is never longer than its escapes.
        self.tape.escaped.push(Escaped { from: from as u32, to: self.tape.unescaped.len() as u32, end: (at + 1) as u32 });
        self.push(Kind::Escaped, key, start, number);
        Ok(at + 1)
    }
}

#[cold]
fn other(what: String) -> Box<Malformed> {
    Malformed::Other(what).into()
}

#[cold]
fn misplaced(expected: char, at: usize) -> Box<Malformed> {
    other(format!("`{expected}` is missing or in the wrong place at byte `{at}`"))
}

/// Where the next quote or backslash stands. Most strings are short: the first bytes are looked at eight at a time (Mycroft's test for a
/// zero byte: exact for the lowest one, which is all that is asked for), and only then whoever is fast with many is called.
#[inline(always)]
fn find_quote_or_escape(body: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    const SHORT: usize = 3;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, _) = body.get(at..)?.as_chunks::<8>();
    for bytes in words.iter().take(SHORT) {
        let word = u64::from_le_bytes(*bytes);
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    find_further_on(body, at)
}

#[inline(never)]
fn find_further_on(body: &[u8], at: usize) -> Option<usize> {
    memchr::memchr2(b'"', b'\\', body.get(at..)?).map(|within| at + within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(body: &str) -> Result<Tape, Malformed> {
        let mut tape = Tape::default();
        tape.fill(body).map(|()| tape)
    }

    #[test]
    fn each_value_has_its_place() {
        let tape = fill(r#" {"a": [1.5, "x\ny", {}], "b":"é", "\u00e9":0} "#).expect("a document");
        let shown: Vec<String> = tape.elements.iter().map(|e| format!("{:?} {} {} {}", e.kind, e.key, e.start, e.word)).collect();
        let expected = [
            "Null 0 0 0",
            "Object 0 1 11",
            "List 1 7 7",
            "Number 0 8 3",
            "Escaped 0 13 0",
            "Object 0 21 6",
            "End 0 22 0",
            "End 0 23 0",
            "Text 2 30 2",
            "Escaped 0 36 1",
            "Number 0 45 1",
            "End 0 46 0",
        ];
        assert_eq!(shown, expected);
        assert_eq!((tape.unescaped.as_str(), tape.escaped[0].end), ("x\nyé", 19));
        assert_eq!((tape.trail.name(1), tape.trail.name(2)), ("a", "b"));
    }

    #[test]
    fn quotes_and_backslashes_are_found_wherever_they_stand() {
        for length in 0..40 {
            for found in ["\"", "\\"] {
                for filler in ["a", "!", "#", "[", "]", "\u{ff}", "\u{1}"] {
                    let text = format!("{}{found}{filler}{found}", filler.repeat(length));
                    let expected = length * filler.len();
                    assert_eq!(find_quote_or_escape(text.as_bytes(), 0), Some(expected), "{text}");
                    assert_eq!(find_quote_or_escape(&text.as_bytes()[..expected], 0), None);
                }
            }
        }
        assert_eq!(find_quote_or_escape(b"a", 7), None);
    }
}
