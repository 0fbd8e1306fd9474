//! The JSON document while it is written: a frame for each open element, and where the values inside of it stand.

use std::collections::HashMap;

use super::super::super::DecodeError;
use super::super::json_text::push_text;

/// Different names of elements and attributes in a document.
const NAMES_MAX: usize = 10_000;
/// Bytes of a name.
const NAME_MAX: usize = 1_000;

/// Names by number, each with its JSON.
#[derive(Default)]
pub struct Names {
    numbers: HashMap<String, u32>,
    names: Vec<Name>,
}

struct Name {
    text: String,
    /// With quotes and a colon.
    key: Vec<u8>,
}

impl Names {
    pub fn number(&mut self, text: &str) -> Result<u32, DecodeError> {
        if let Some(number) = self.numbers.get(text) {
            return Ok(*number);
        }
        if text.len() > NAME_MAX || self.names.len() == NAMES_MAX {
            let message = format!("the document has a name of more than `{NAME_MAX}` bytes, or more than `{NAMES_MAX}` names");
            return Err(DecodeError::data(message));
        }
        let number = self.names.len() as u32;
        let mut key = Vec::with_capacity(text.len() + 3);
        push_text(&mut key, text);
        key.push(b':');
        self.names.push(Name { text: text.to_owned(), key });
        self.numbers.insert(text.to_owned(), number);
        Ok(number)
    }

    pub fn text(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", |name| &name.text)
    }

    fn key(&self, number: u32) -> &[u8] {
        self.names.get(number as usize).map_or(&[], |name| &name.key)
    }
}

/// A value that is written: its name, and from where to where.
#[derive(Clone, Copy)]
struct Member {
    name: u32,
    from: u32,
    to: u32,
}

/// An element that is not closed yet.
pub struct Frame {
    /// Where its value begins.
    start: usize,
    members: Vec<Member>,
    text: String,
}

/// The values written so far.
pub struct Tree {
    pub names: Names,
    out: Vec<u8>,
    body_max: u64,
    /// The last element in which a name was seen, by the name's number, and as which of its members.
    seen: Vec<(u64, u32)>,
    elements: u64,
}

impl Tree {
    pub fn new(body_max: u64) -> Self {
        Tree { names: Names::default(), out: Vec::new(), body_max, seen: Vec::new(), elements: 0 }
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Opens the outermost value.
    pub fn open(&self) -> Frame {
        Frame { start: self.out.len(), members: Vec::new(), text: String::new() }
    }

    /// Opens an element inside of another.
    pub fn open_in(&mut self, outer: &Frame, name: u32) -> Frame {
        self.push_key(outer, name);
        self.open()
    }

    /// Closes an element and notes it in the one around it.
    pub fn close_in(&mut self, outer: &mut Frame, name: u32, frame: Frame, shape: Shape) -> Result<(), DecodeError> {
        let from = frame.start;
        self.close(frame, shape)?;
        self.note(outer, name, from)
    }

    /// A member that is a text.
    pub fn push_member(&mut self, frame: &mut Frame, name: u32, text: &str) -> Result<(), DecodeError> {
        self.push_key(frame, name);
        let from = self.out.len();
        push_text(&mut self.out, text);
        self.note(frame, name, from)
    }

    fn push_key(&mut self, frame: &Frame, name: u32) {
        self.out.push(if frame.members.is_empty() { b'{' } else { b',' });
        self.out.extend_from_slice(self.names.key(name));
    }

    fn note(&self, frame: &mut Frame, name: u32, from: usize) -> Result<(), DecodeError> {
        let to = self.out.len();
        if to as u64 > self.body_max {
            return Err(DecodeError::beyond_cap("the document, as JSON,", self.body_max));
        }
        let place = |at: usize| u32::try_from(at).map_err(|_| DecodeError::data("the document is larger than 4 GiB"));
        frame.members.push(Member { name, from: place(from)?, to: place(to)? });
        Ok(())
    }

    /// Ends the value of an element.
    pub fn close(&mut self, mut frame: Frame, shape: Shape) -> Result<(), DecodeError> {
        let text = std::mem::take(&mut frame.text);
        let is_blank = text.bytes().all(|byte| byte.is_ascii_whitespace());
        if shape.is_nil {
            self.out.truncate(frame.start);
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        if frame.members.is_empty() && !shape.lists.iter().any(|list| list.even_empty) {
            match is_blank {
                true => self.out.extend_from_slice(b"null"),
                false => push_text(&mut self.out, &text),
            }
            return Ok(());
        }
        if !is_blank {
            let name = self.names.number("#text")?;
            self.push_member(&mut frame, name, text.trim_ascii())?;
        }
        let needed =
            shape.lists.iter().any(|list| list.even_empty || frame.members.iter().any(|member| member.name == list.name));
        if self.number_members(&frame) || needed {
            self.put_in_order(&frame, &shape);
        } else {
            self.out.push(b'}');
        }
        Ok(())
    }

    /// Notes where each name is first seen in the element, and says whether one is there twice.
    fn number_members(&mut self, frame: &Frame) -> bool {
        self.elements += 1;
        self.seen.resize(self.names.names.len(), (0, 0));
        let mut order = 0;
        for member in &frame.members {
            let Some(seen) = self.seen.get_mut(member.name as usize) else { continue };
            if seen.0 != self.elements {
                *seen = (self.elements, order);
                order += 1;
            }
        }
        order as usize != frame.members.len()
    }

    /// Writes an element's members again, those of one name as a list.
    fn put_in_order(&mut self, frame: &Frame, shape: &Shape) {
        let order = |member: &Member| self.seen.get(member.name as usize).map_or(0, |seen| seen.1);
        let mut members = frame.members.clone();
        members.sort_by_key(order);
        let mut object = Vec::with_capacity(self.out.len() - frame.start + 16);
        for group in members.chunk_by(|one, other| one.name == other.name) {
            let is_list = group.len() > 1 || shape.lists.iter().any(|list| list.name == group[0].name);
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend_from_slice(self.names.key(group[0].name));
            if is_list {
                object.push(b'[');
            }
            for (place, member) in group.iter().enumerate() {
                if place > 0 {
                    object.push(b',');
                }
                object.extend_from_slice(self.out.get(member.from as usize..member.to as usize).unwrap_or_default());
            }
            if is_list {
                object.push(b']');
            }
        }
        for list in shape.lists.iter().filter(|list| list.even_empty && !members.iter().any(|member| member.name == list.name)) {
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend_from_slice(self.names.key(list.name));
            object.extend_from_slice(b"[]");
        }
        object.push(b'}');
        self.out.truncate(frame.start);
        self.out.extend_from_slice(&object);
    }
}

impl Frame {
    pub fn push_text(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// What an element is besides what stands in it.
#[derive(Default)]
pub struct Shape {
    /// It says of itself that it is no value.
    pub is_nil: bool,
    /// Members that are lists however often they are there.
    pub lists: Vec<List>,
}

pub struct List {
    pub name: u32,
    /// It is there even without an item.
    pub even_empty: bool,
}
