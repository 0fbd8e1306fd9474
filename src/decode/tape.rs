//! A page's bytes as a tape: one element for each value, key and end of an object or list, in the order in which they stand, each with
//! its place in the bytes. Written in one pass, which takes exactly what RFC 8259 takes, but for control characters inside of strings.
//!
//! Why no tape that others have made: ADR 5.

use super::escapes;
use super::number::is_json_number;

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
}

/// Where the document stands on its tape.
pub const ROOT: u32 = 1;
/// Elements whose memory is kept for the next page, at most.
const KEPT_MAX: usize = 1 << 20;

impl Tape {
    /// Puts a body on the tape: exactly one document, to its end. After an error the tape holds nothing of use.
    pub fn fill(&mut self, body: &str) -> Result<(), Malformed> {
        if self.elements.capacity() > KEPT_MAX {
            *self = Tape::default();
        }
        self.elements.clear();
        self.escaped.clear();
        self.unescaped.clear();
        self.elements.push(Element { kind: Kind::Null, start: 0, word: 0 });
        // Places and lengths are 32 bits; a tape has no more elements than the body has bytes, but for the first.
        if body.len() >= u32::MAX as usize {
            return Err(Malformed::Other("the body is larger than 4 GiB".to_owned()));
        }
        Walk { tape: self, text: body, body: body.as_bytes(), at: 0, open: Vec::new() }.document()
    }
}

struct Walk<'a> {
    tape: &'a mut Tape,
    text: &'a str,
    body: &'a [u8],
    at: usize,
    /// Places of the objects and lists that are not at their end.
    open: Vec<u32>,
}

impl Walk<'_> {
    fn document(&mut self) -> Result<(), Malformed> {
        self.skip_space();
        if self.at == self.body.len() {
            return Err(Malformed::Empty);
        }
        self.value()?;
        while let Some(innermost) = self.open.last().copied() {
            let container = self.tape.elements[innermost as usize];
            // Its own place is its word as long as nothing is in it.
            let is_first = container.word == innermost;
            let (is_object, close) = match container.kind {
                Kind::Object => (true, b'}'),
                _ => (false, b']'),
            };
            self.skip_space();
            match self.body.get(self.at) {
                Some(byte) if *byte == close => self.close(),
                Some(b',') if !is_first => {
                    self.at += 1;
                    self.skip_space();
                    self.member(is_object)?;
                }
                Some(_) if is_first => {
                    self.tape.elements[innermost as usize].word = 0;
                    self.member(is_object)?;
                }
                Some(_) => return Err(misplaced(',', self.at)),
                None => return Err(Malformed::CutOff),
            }
        }
        self.skip_space();
        if self.at < self.body.len() { Err(Malformed::More(self.at)) } else { Ok(()) }
    }

    /// An item of a list, or a key with its value.
    #[inline]
    fn member(&mut self, is_object: bool) -> Result<(), Malformed> {
        if is_object {
            match self.body.get(self.at) {
                Some(b'"') => self.string()?,
                Some(_) => return Err(misplaced('"', self.at)),
                None => return Err(Malformed::CutOff),
            }
            self.skip_space();
            match self.body.get(self.at) {
                Some(b':') => self.at += 1,
                Some(_) => return Err(misplaced(':', self.at)),
                None => return Err(Malformed::CutOff),
            }
            self.skip_space();
        }
        self.value()
    }

    /// A value; of an object or list its beginning.
    #[inline]
    fn value(&mut self) -> Result<(), Malformed> {
        match self.body.get(self.at) {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => self.open(Kind::Object),
            Some(b'[') => self.open(Kind::List),
            Some(b'n') => self.literal("null", Kind::Null),
            Some(b't') => self.literal("true", Kind::True),
            Some(b'f') => self.literal("false", Kind::False),
            Some(_) => {
                let character = self.text.get(self.at..).and_then(|rest| rest.chars().next()).unwrap_or('\u{fffd}');
                Err(Malformed::Other(format!("no value begins with `{}`, at byte `{}`", character.escape_debug(), self.at)))
            }
            None => Err(Malformed::CutOff),
        }
    }

    #[inline]
    fn push(&mut self, kind: Kind, start: usize, word: usize) {
        // Both are within the body, which is shorter than 4 GiB.
        self.tape.elements.push(Element { kind, start: start as u32, word: word as u32 });
    }

    fn open(&mut self, kind: Kind) -> Result<(), Malformed> {
        if self.open.len() == DEPTH_MAX {
            return Err(Malformed::Other(format!("objects and lists are nested deeper than `{DEPTH_MAX}`")));
        }
        let place = self.tape.elements.len();
        self.push(kind, self.at, place);
        self.open.push(place as u32);
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        let end = self.tape.elements.len();
        self.push(Kind::End, self.at, 0);
        self.at += 1;
        if let Some(place) = self.open.pop() {
            self.tape.elements[place as usize].word = end as u32;
        }
    }

    fn literal(&mut self, literal: &str, kind: Kind) -> Result<(), Malformed> {
        let rest = &self.body[self.at..];
        if rest.starts_with(literal.as_bytes()) {
            self.push(kind, self.at, literal.len());
            self.at += literal.len();
            return Ok(());
        }
        match literal.as_bytes().starts_with(rest) {
            true => Err(Malformed::CutOff),
            false => Err(Malformed::Other(format!("what should be `{literal}` is something else, at byte `{}`", self.at))),
        }
    }

    #[inline]
    fn number(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
        let length = self.body[start..].iter().position(|byte| !is_part(byte)).unwrap_or(self.body.len() - start);
        self.at += length;
        let number = &self.body[start..self.at];
        if !is_json_number(number) {
            // A number at the end might go on.
            if self.at == self.body.len() && !self.open.is_empty() {
                return Err(Malformed::CutOff);
            }
            let text = super::document::shorten(&String::from_utf8_lossy(number), 40);
            return Err(Malformed::Other(format!("a number is none: `{text}`")));
        }
        self.push(Kind::Number, start, length);
        Ok(())
    }

    #[inline]
    fn string(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        let end = find_quote_or_escape(self.body, start + 1).ok_or(Malformed::CutOff)?;
        if self.body[end] == b'"' {
            self.push(Kind::Text, start, end - start - 1);
            self.at = end + 1;
            return Ok(());
        }
        self.escaped_string(start, end)
    }

    /// A string whose first escape stands at `escape`.
    fn escaped_string(&mut self, start: usize, escape: usize) -> Result<(), Malformed> {
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
        self.push(Kind::Escaped, start, number);
        self.at = at + 1;
        Ok(())
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.body.get(self.at) {
            self.at += 1;
        }
    }
}

fn misplaced(expected: char, at: usize) -> Malformed {
    Malformed::Other(format!("`{expected}` is missing or in the wrong place at byte `{at}`"))
}

/// Where the next quote or backslash stands, eight bytes at a time (Mycroft's test for a zero byte: exact for the lowest one, which is
/// all that is asked for).
#[inline]
fn find_quote_or_escape(body: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(bytes) = body.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()) {
        let word = u64::from_le_bytes(bytes);
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    body.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|within| at + within)
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
        let tape = fill(r#" {"a": [1.5, "x\ny", {}], "b":"é"} "#).expect("a document");
        let shown: Vec<String> = tape.elements.iter().map(|e| format!("{:?} {} {}", e.kind, e.start, e.word)).collect();
        let expected = [
            "Null 0 0",
            "Object 1 11",
            "Text 2 1",
            "List 7 8",
            "Number 8 3",
            "Escaped 13 0",
            "Object 21 7",
            "End 22 0",
            "End 23 0",
            "Text 26 1",
            "Text 30 2",
            "End 34 0",
        ];
        assert_eq!(shown, expected);
        assert_eq!((tape.unescaped.as_str(), tape.escaped[0].end), ("x\ny", 19));
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
