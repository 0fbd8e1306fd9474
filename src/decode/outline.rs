//! Walks the tape and the bytes side by side: what arrow-json forgave is found, and each element's place in the bytes is noted.
//! The tape may be of the same document with other escapes: only the order of its elements counts.
//!
//! Strings are stepped over by the length that the tape knows, so this costs a few bytes an element, not the whole page again.

use arrow::json::reader::{Tape, TapeElement};

use super::number::is_json_number;
use super::span::{skip_space, string_end};
use super::surrogates::next_escape;

/// Objects and lists in each other; deeper input is refused before anything recurses into it.
pub const DEPTH_MAX: usize = 128;

/// Why the bytes are no JSON document: lower case, without a full stop.
#[derive(Debug)]
pub struct Malformed(pub String);

/// Where in the body each element of the tape starts.
pub fn outline(tape: &Tape<'_>, body: &[u8], root: u32) -> Result<Vec<u32>, Malformed> {
    let end = match tape.get(root) {
        TapeElement::StartObject(end) | TapeElement::StartList(end) => end,
        _ => root,
    };
    let mut walk = Walk { body, at: 0, escape: 0, frames: Vec::new() };
    walk.escape = walk.next_escape(0);
    let mut starts = vec![0; root as usize];
    starts.reserve_exact((end - root) as usize + 1);
    for place in root..=end {
        let element = tape.get(place);
        let start = match element {
            TapeElement::EndObject(_) => walk.close(b'}')?,
            TapeElement::EndList(_) => walk.close(b']')?,
            element => {
                let start = walk.approach()?;
                walk.step_over(tape, element)?;
                start
            }
        };
        starts.push(u32::try_from(start).map_err(|_| Malformed("the body is larger than 4 GiB".to_owned()))?);
    }
    Ok(starts)
}

/// What comes next in an object or list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    FirstKey,
    Key,
    Value,
    FirstItem,
    Item,
}

struct Walk<'a> {
    body: &'a [u8],
    at: usize,
    /// Where the next backslash stands: a string that ends before it has the length that the tape says.
    escape: usize,
    frames: Vec<Frame>,
}

impl Walk<'_> {
    /// Goes to the first byte of the next key or value, over exactly the separators that belong there.
    #[inline]
    fn approach(&mut self) -> Result<usize, Malformed> {
        self.at = skip_space(self.body, self.at);
        let Some(frame) = self.frames.last_mut() else { return Ok(self.at) };
        let (separator, next) = match *frame {
            Frame::FirstKey => (None, Frame::Value),
            Frame::Key => (Some(b','), Frame::Value),
            Frame::Value => (Some(b':'), Frame::Key),
            Frame::FirstItem => (None, Frame::Item),
            Frame::Item => (Some(b','), Frame::Item),
        };
        *frame = next;
        if let Some(separator) = separator {
            self.expect(separator)?;
            self.at = skip_space(self.body, self.at);
        }
        Ok(self.at)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.body.get(self.at) == Some(&byte) {
            self.at += 1;
            return Ok(());
        }
        Err(Malformed(format!("`{}` is missing or in the wrong place at byte `{}`", byte as char, self.at)))
    }

    fn close(&mut self, byte: u8) -> Result<usize, Malformed> {
        self.at = skip_space(self.body, self.at);
        let start = self.at;
        // A comma before the bracket would be here instead of it.
        self.expect(byte)?;
        self.frames.pop();
        Ok(start)
    }

    #[inline]
    fn step_over(&mut self, tape: &Tape<'_>, element: TapeElement) -> Result<(), Malformed> {
        match element {
            TapeElement::String(index) => self.string(tape.get_string(index).len()),
            TapeElement::Number(index) => {
                let text = tape.get_string(index);
                self.at += text.len();
                match is_json_number(text.as_bytes()) {
                    true => Ok(()),
                    false => Err(Malformed(format!("a number is none: `{}`", super::document::shorten(text, 40)))),
                }
            }
            TapeElement::StartObject(_) => self.open(b'{', Frame::FirstKey),
            TapeElement::StartList(_) => self.open(b'[', Frame::FirstItem),
            TapeElement::False => {
                self.at += 5;
                Ok(())
            }
            _ => {
                self.at += 4;
                Ok(())
            }
        }
    }

    fn open(&mut self, byte: u8, frame: Frame) -> Result<(), Malformed> {
        if self.frames.len() == DEPTH_MAX {
            return Err(Malformed(format!("objects and lists are nested deeper than `{DEPTH_MAX}`")));
        }
        self.frames.push(frame);
        self.expect(byte)
    }

    #[inline]
    fn string(&mut self, length: usize) -> Result<(), Malformed> {
        let quote = self.at + 1 + length;
        if quote < self.escape {
            self.at += 1 + length;
            return self.expect(b'"');
        }
        self.at = string_end(self.body, self.at).ok_or_else(|| Malformed("a string does not end".to_owned()))?;
        if self.at > self.escape {
            self.escape = self.next_escape(self.at);
        }
        Ok(())
    }

    fn next_escape(&self, from: usize) -> usize {
        next_escape(self.body, from).unwrap_or(usize::MAX)
    }
}
