//! A page's bytes as one JSON document: arrow-json's tape over it, checked against the bytes.

use arrow::json::reader::{Tape, TapeElement};
use jiff::tz::TimeZone;

use crate::page::Captured;

use super::outline::{Malformed, outline};
use super::span::string_end;

/// A whole document. Positions are places on the tape; place 0 is a null that stands for whatever is missing.
pub struct Document<'a> {
    tape: &'a Tape<'a>,
    body: &'a [u8],
    /// Where in the body each element of the tape starts.
    starts: Vec<u32>,
    root: u32,
    /// Of timestamps that carry no offset.
    pub(super) timezone: TimeZone,
}

/// What stands at a place on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Null,
    Boolean(bool),
    Number(&'a str),
    Text(&'a str),
    /// With the place of its end.
    List(u32),
    Object(u32),
}

impl Item<'_> {
    /// The kind's name, for messages.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Item::Null => "null",
            Item::Boolean(_) => "a boolean",
            Item::Number(_) => "a number",
            Item::Text(_) => "text",
            Item::List(_) => "a list",
            Item::Object(_) => "an object",
        }
    }
}

/// Where the missing stands.
pub const MISSING: u32 = 0;

impl<'a> Document<'a> {
    /// Takes the tape of exactly this body. arrow-json forgives missing and doubled commas and numbers such as `1-2`; this does not.
    pub fn new(tape: &'a Tape<'a>, body: &'a [u8], root: u32, timezone: TimeZone) -> Result<Self, Malformed> {
        let starts = outline(tape, body, root)?;
        Ok(Document { tape, body, starts, root, timezone })
    }

    pub fn root(&self) -> u32 {
        self.root
    }

    #[inline]
    pub fn item(&self, at: u32) -> Item<'a> {
        match self.tape.get(at) {
            TapeElement::True => Item::Boolean(true),
            TapeElement::False => Item::Boolean(false),
            TapeElement::Number(index) => Item::Number(self.tape.get_string(index)),
            TapeElement::String(index) => Item::Text(self.tape.get_string(index)),
            TapeElement::StartList(end) => Item::List(end),
            TapeElement::StartObject(end) => Item::Object(end),
            // The rest never stands where a value does: ends of objects and lists, and numbers of serialized structs.
            _ => Item::Null,
        }
    }

    #[inline]
    pub fn is_null(&self, at: u32) -> bool {
        matches!(self.tape.get(at), TapeElement::Null)
    }

    /// The place behind the value at `at`.
    #[inline]
    pub fn after(&self, at: u32) -> u32 {
        match self.tape.get(at) {
            TapeElement::StartList(end) | TapeElement::StartObject(end) => end + 1,
            _ => at + 1,
        }
    }

    #[inline]
    pub fn key(&self, at: u32) -> &'a str {
        match self.tape.get(at) {
            TapeElement::String(index) => self.tape.get_string(index),
            _ => "",
        }
    }

    /// The places of a list's items.
    pub fn items(&self, list: u32) -> impl Iterator<Item = u32> + use<'_, 'a> {
        let end = match self.tape.get(list) {
            TapeElement::StartList(end) => end,
            _ => list,
        };
        let mut at = list + 1;
        std::iter::from_fn(move || {
            let item = at;
            (item < end).then(|| {
                at = self.after(item);
                item
            })
        })
    }

    /// Keys and places of an object's values in order, a doubled key as often as it is there.
    pub fn members(&self, object: u32) -> impl Iterator<Item = (&'a str, u32)> + use<'_, 'a> {
        let end = match self.tape.get(object) {
            TapeElement::StartObject(end) => end,
            _ => object,
        };
        let mut at = object + 1;
        std::iter::from_fn(move || {
            let key = at;
            (key < end).then(|| {
                at = self.after(key + 1);
                (self.key(key), key + 1)
            })
        })
    }

    /// The same with each key once, its last value: what nearly all readers of JSON make of it.
    pub fn distinct_members(&self, object: u32) -> Vec<(&'a str, u32)> {
        let mut members: Vec<(&str, u32)> = self.members(object).collect();
        let mut last = std::collections::HashMap::with_capacity(members.len());
        for (key, at) in &members {
            last.insert(*key, *at);
        }
        if last.len() < members.len() {
            members.retain(|(key, at)| last.get(key) == Some(at));
        }
        members
    }

    /// The value at a path from `at`; an index steps into a list, `-1` to its last item.
    pub fn find<S: AsRef<str>>(&self, at: u32, steps: &[S]) -> Option<u32> {
        let mut at = at;
        for step in steps {
            let step = step.as_ref();
            at = match self.item(at) {
                Item::List(_) if step == "-1" => self.items(at).last()?,
                Item::Object(_) => self.members(at).filter(|(key, _)| *key == step).last()?.1,
                Item::List(_) => self.items(at).nth(step.parse().ok()?)?,
                _ => return None,
            };
        }
        Some(at)
    }

    /// Whether the values at these places start at these bytes, all of them.
    pub fn start_at(&self, places: &[u32], starts: &[u32]) -> bool {
        places.len() == starts.len() && places.iter().zip(starts).all(|(place, start)| self.starts[*place as usize] == *start)
    }

    /// A value's bytes as they stand in the page.
    pub fn raw(&self, at: u32) -> &'a [u8] {
        let start = self.starts[at as usize] as usize;
        let end = match self.tape.get(at) {
            TapeElement::StartList(end) | TapeElement::StartObject(end) => self.starts[end as usize] as usize + 1,
            TapeElement::String(_) => string_end(self.body, start).unwrap_or(start),
            TapeElement::Number(index) => start + self.tape.get_string(index).len(),
            TapeElement::False => start + 5,
            _ => start + 4,
        };
        self.body.get(start..end).unwrap_or_default()
    }

    pub fn raw_text(&self, at: u32) -> Option<&'a str> {
        std::str::from_utf8(self.raw(at)).ok()
    }

    pub fn capture(&self, at: u32) -> Captured {
        match self.item(at) {
            Item::Null => Captured::Null,
            Item::Boolean(value) => Captured::Boolean(value),
            Item::Number(text) => Captured::Number(text.to_owned()),
            Item::Text(text) => Captured::Text(text.to_owned()),
            // Nothing is in it.
            Item::List(end) | Item::Object(end) if end == at + 1 => Captured::Null,
            Item::List(_) | Item::Object(_) => Captured::Nested,
        }
    }

    /// A value for a message: its own text, not too much of it.
    pub fn excerpt(&self, at: u32) -> String {
        // Eighty characters are at most 320 bytes, so a character cut in half at the end is never shown.
        let raw = self.raw(at);
        shorten(&String::from_utf8_lossy(&raw[..raw.len().min(400)]), 80)
    }
}

/// The first `length` characters of a text, with dots where it goes on.
pub fn shorten(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text.to_owned(),
    }
}
