//! From quick-xml's events to the tree.

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;
use quick_xml::{Error, XmlVersion};

use crate::config::catalog::Xml;

use super::super::super::DecodeError;
use super::super::super::document::shorten;
use super::tree::{Frame, List, Shape, Tree};

/// Elements in each other: as objects and lists they are at most twice as deep on the tape.
const DEPTH_MAX: usize = 60;
const ATTRIBUTES_MAX: usize = 256;

pub struct Reading<'a> {
    reader: Reader<&'a [u8]>,
    size: usize,
    xml: &'a Xml,
    records: &'a [String],
    tree: Tree,
    open: Vec<Open>,
}

/// An open element.
struct Open {
    /// As it was written.
    tag: String,
    /// Its name in the document.
    name: u32,
    frame: Frame,
    is_nil: bool,
    place: Place,
}

/// Where an element stands, as far as that matters.
enum Place {
    /// On the way to the records, so many steps in.
    Above(usize),
    /// In a record: for each list that lies further inside, the steps that are left.
    Inside(Vec<(usize, usize)>),
    Beside,
}

impl<'a> Reading<'a> {
    pub fn new(text: &'a str, xml: &'a Xml, records: &'a [String], body_max: u64) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_end_names = true;
        Reading { reader, size: text.len(), xml, records, tree: Tree::new(body_max), open: Vec::new() }
    }

    pub fn read(mut self) -> Result<Vec<u8>, DecodeError> {
        let mut root = self.tree.open();
        let mut is_done = false;
        // Every event takes bytes off the text, but the last.
        loop {
            let event = self.reader.read_event().map_err(|error| self.malformed(&error))?;
            match event {
                Event::Start(tag) => self.start(&tag, &root, is_done)?,
                Event::Empty(tag) => {
                    self.start(&tag, &root, is_done)?;
                    is_done |= self.end(&mut root)?;
                }
                Event::End(_) => is_done |= self.end(&mut root)?,
                Event::Text(text) => {
                    let text = text.xml10_content().map_err(|error| self.malformed(&error.into()))?;
                    self.text(&text)?;
                }
                Event::CData(text) => {
                    let text = text.xml10_content().map_err(|error| self.malformed(&error.into()))?;
                    self.text(&text)?;
                }
                Event::GeneralRef(reference) => self.reference(&reference)?,
                Event::DocType(_) => {
                    let message = "the document has a DOCTYPE, which is refused: entities could make it read files or burst";
                    return Err(DecodeError::data(message));
                }
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                Event::Eof => break,
            }
        }
        if let Some(open) = self.open.last() {
            let tag = shorten(&open.tag, 60);
            return Err(DecodeError::unavailable(format!("the document is cut off: `{tag}` is not closed")));
        }
        if !is_done {
            return Err(DecodeError::unavailable("the document has no element"));
        }
        self.tree.close(root, Shape::default())?;
        Ok(self.tree.finish())
    }

    fn start(&mut self, tag: &BytesStart<'_>, root: &Frame, is_done: bool) -> Result<(), DecodeError> {
        if is_done && self.open.is_empty() {
            return Err(DecodeError::unavailable("there is more after the end of the document"));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(DecodeError::data(format!("elements are nested deeper than `{DEPTH_MAX}`")));
        }
        let raw = tag.name();
        let written = utf8(raw.as_ref())?;
        let name = self.tree.names.number(self.short(written))?;
        let place = self.place(name);
        let frame = match self.open.last() {
            Some(outer) => self.tree.open_in(&outer.frame, name),
            None => self.tree.open_in(root, name),
        };
        let mut open = Open { tag: written.to_owned(), name, frame, is_nil: false, place };
        self.attributes(tag, &mut open)?;
        self.open.push(open);
        Ok(())
    }

    fn attributes(&mut self, tag: &BytesStart<'_>, open: &mut Open) -> Result<(), DecodeError> {
        let mut key = String::new();
        for (index, attribute) in tag.attributes().enumerate() {
            let attribute = attribute.map_err(|error| self.malformed(&error.into()))?;
            if index == ATTRIBUTES_MAX {
                let tag = shorten(&open.tag, 60);
                return Err(DecodeError::data(format!("`{tag}` has more than `{ATTRIBUTES_MAX}` attributes")));
            }
            let name = utf8(attribute.key.as_ref())?;
            // Where names come from is not data.
            if name == "xmlns" || name.starts_with("xmlns:") {
                continue;
            }
            let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|error| self.malformed(&error))?;
            if name.split_once(':').is_some_and(|(_, local)| local == "nil") && matches!(value.as_ref(), "true" | "1") {
                open.is_nil = true;
            }
            key.clear();
            key.push('@');
            key.push_str(self.short(name));
            let number = self.tree.names.number(&key)?;
            self.tree.push_member(&mut open.frame, number, &value)?;
        }
        Ok(())
    }

    /// Ends the innermost element; true if it was the document's.
    fn end(&mut self, root: &mut Frame) -> Result<bool, DecodeError> {
        let Some(open) = self.open.pop() else {
            return Err(DecodeError::unavailable("the body is not XML: an element ends that did not begin"));
        };
        let lists = self.lists(&open.place)?;
        let shape = Shape { is_nil: open.is_nil, lists };
        let outer = self.open.last_mut().map_or(root, |outer| &mut outer.frame);
        self.tree.close_in(outer, open.name, open.frame, shape)?;
        Ok(self.open.is_empty())
    }

    fn text(&mut self, text: &str) -> Result<(), DecodeError> {
        match self.open.last_mut() {
            Some(open) => open.frame.push_text(text),
            None if text.bytes().all(|byte| byte.is_ascii_whitespace()) => {}
            None => return Err(DecodeError::unavailable("the body is not XML: there is text outside of the document")),
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), DecodeError> {
        let character = reference.resolve_char_ref().map_err(|error| self.malformed(&error))?;
        let name = utf8(reference)?;
        let character = match (character, name) {
            (Some(character), _) => character,
            (None, "lt") => '<',
            (None, "gt") => '>',
            (None, "amp") => '&',
            (None, "quot") => '"',
            (None, "apos") => '\'',
            (None, other) => {
                let other = shorten(other, 40);
                return Err(DecodeError::data(format!("the document uses an entity that XML does not have: `{other}`")));
            }
        };
        self.text(character.encode_utf8(&mut [0; 4]))
    }

    /// The name without its prefix, unless it is to be kept.
    fn short<'n>(&self, name: &'n str) -> &'n str {
        match name.split_once(':') {
            Some((_, local)) if !self.xml.keep_prefixes && !local.is_empty() => local,
            _ => name,
        }
    }

    /// Where an element of this name would stand inside of the innermost one.
    fn place(&self, name: u32) -> Place {
        let text = self.tree.names.text(name);
        let depth = match self.open.last().map(|outer| &outer.place) {
            None => 0,
            Some(Place::Above(depth)) => *depth,
            Some(Place::Inside(lists)) => {
                let inside = lists.iter().filter(|(list, step)| {
                    let steps = &self.xml.lists[*list];
                    step + 1 < steps.len() && steps[*step] == text
                });
                return Place::Inside(inside.map(|(list, step)| (*list, step + 1)).collect());
            }
            Some(Place::Beside) => return Place::Beside,
        };
        match self.records.get(depth) {
            Some(step) if step == text && depth + 1 == self.records.len() => {
                Place::Inside((0..self.xml.lists.len()).map(|list| (list, 0)).collect())
            }
            Some(step) if step == text => Place::Above(depth + 1),
            _ => Place::Beside,
        }
    }

    /// Members of an element at this place that are lists.
    fn lists(&mut self, place: &Place) -> Result<Vec<List>, DecodeError> {
        let mut lists = Vec::new();
        match place {
            Place::Above(depth) if depth + 1 == self.records.len() => {
                let name = self.tree.names.number(&self.records[*depth])?;
                lists.push(List { name, even_empty: true });
            }
            Place::Inside(inside) => {
                for (list, step) in inside {
                    let steps = &self.xml.lists[*list];
                    if step + 1 == steps.len() {
                        lists.push(List { name: self.tree.names.number(&steps[*step])?, even_empty: false });
                    }
                }
            }
            _ => {}
        }
        Ok(lists)
    }

    fn malformed(&self, error: &Error) -> DecodeError {
        // quick-xml finds no other fault in syntax than that something does not end.
        if matches!(error, Error::Syntax(_)) {
            return DecodeError::unavailable(format!("the document is cut off, it ends in the middle at byte `{}`", self.size));
        }
        let at = self.reader.error_position().max(self.reader.buffer_position());
        DecodeError::unavailable(format!("the body is not XML: {error} at byte `{at}`"))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::data("a name is not UTF-8"))
}
