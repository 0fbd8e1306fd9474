//! A page's bytes as one JSON document: the tape over it, and what stands at its places.

use std::collections::HashMap;

use ahash::RandomState;
use jiff::tz::TimeZone;

use crate::page::Captured;

use super::tape::{Element, Kind, ROOT, Tape};
use super::trail::UNKNOWN;

/// A whole document. Positions are places on the tape; place 0 is a null that stands for whatever is missing.
pub struct Document<'a> {
    tape: &'a Tape,
    body: &'a str,
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
    /// Takes the tape of exactly this body.
    pub fn new(tape: &'a Tape, body: &'a str, timezone: TimeZone) -> Self {
        Document { tape, body, timezone }
    }

    pub fn root(&self) -> u32 {
        ROOT
    }

    #[inline(always)]
    fn element(&self, at: u32) -> Element {
        self.tape.elements[at as usize]
    }

    #[inline(always)]
    fn slice(&self, from: u32, length: u32) -> &'a str {
        self.body.get(from as usize..(from + length) as usize).unwrap_or_default()
    }

    #[inline]
    fn unescaped(&self, number: u32) -> &'a str {
        let escaped = self.tape.escaped[number as usize];
        self.tape.unescaped.get(escaped.from as usize..escaped.to as usize).unwrap_or_default()
    }

    #[inline(always)]
    pub fn item(&self, at: u32) -> Item<'a> {
        let Element { kind, start, word, .. } = self.element(at);
        match kind {
            Kind::Text => Item::Text(self.slice(start + 1, word)),
            Kind::Number => Item::Number(self.slice(start, word)),
            Kind::Escaped => Item::Text(self.unescaped(word)),
            Kind::True => Item::Boolean(true),
            Kind::False => Item::Boolean(false),
            Kind::List => Item::List(word),
            Kind::Object => Item::Object(word),
            // An end never stands where a value does.
            Kind::Null | Kind::End => Item::Null,
        }
    }

    #[inline(always)]
    pub fn is_null(&self, at: u32) -> bool {
        self.element(at).kind == Kind::Null
    }

    /// Has all that stands at these places brought near, a line of the processor's memory after the other, before somebody waits for
    /// each value of it in turn.
    #[inline]
    pub fn fetch(&self, places: &[u32]) {
        const LINE: usize = 64;
        let lines = |at: &u32| {
            let (start, end) = self.span(*at);
            self.body.as_bytes().get(start as usize..end as usize).unwrap_or_default().iter().step_by(LINE)
        };
        std::hint::black_box(places.iter().flat_map(lines).fold(0, |all, byte| all ^ byte));
    }

    /// The place behind the value at `at`.
    #[inline]
    pub fn after(&self, at: u32) -> u32 {
        let element = self.element(at);
        match element.kind {
            Kind::List | Kind::Object => element.word + 1,
            _ => at + 1,
        }
    }

    /// The number of the key whose value stands at `at`; equal keys have equal numbers. [`UNKNOWN`] where the key itself stands there,
    /// and its value behind it. All are below `key_numbers`.
    #[inline]
    pub fn key_number(&self, at: u32) -> u16 {
        self.element(at).key
    }

    pub fn key_numbers(&self) -> usize {
        self.tape.trail.len()
    }

    /// The key of the member that begins at `at`, and where its value stands.
    #[inline]
    pub fn member(&self, at: u32) -> (&'a str, u32) {
        match self.key_number(at) {
            UNKNOWN => match self.item(at) {
                Item::Text(text) => (text, at + 1),
                _ => ("", at + 1),
            },
            number => (self.tape.trail.name(number), at),
        }
    }

    /// The places of a list's items.
    pub fn items(&self, list: u32) -> impl Iterator<Item = u32> + use<'_, 'a> {
        let end = match self.item(list) {
            Item::List(end) => end,
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

    /// The places of the items of a list that may have many.
    pub fn records(&self, list: u32) -> Vec<u32> {
        let noted: Vec<u32> = self.tape.outer.iter().filter(|(of, _)| *of == list).map(|(_, at)| *at).collect();
        // It has none, or is further in.
        if noted.is_empty() { self.items(list).collect() } else { noted }
    }

    /// Keys and places of an object's values in order, a doubled key as often as it is there.
    pub fn members(&self, object: u32) -> impl Iterator<Item = (&'a str, u32)> + use<'_, 'a> {
        let end = match self.item(object) {
            Item::Object(end) => end,
            _ => object,
        };
        let mut at = object + 1;
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let (key, value) = self.member(at);
                at = self.after(value);
                (key, value)
            })
        })
    }

    /// The same with each key once, its last value: what nearly all readers of JSON make of it.
    pub fn distinct_members(&self, object: u32) -> Vec<(&'a str, u32)> {
        let (mut members, mut numbers): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for (key, at) in self.members(object) {
            members.push((key, at));
            numbers.push(self.key_number(at));
        }
        // Nearly always, keys stand in the order in which the trail met them.
        if numbers.first() != Some(&UNKNOWN) && numbers.is_sorted_by(|one, next| one < next) {
            return members;
        }
        let mut last = HashMap::with_capacity_and_hasher(members.len(), RandomState::default());
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
        places.len() == starts.len() && places.iter().zip(starts).all(|(place, start)| self.element(*place).start == *start)
    }

    /// A value as it stands in the page.
    pub fn raw(&self, at: u32) -> &'a str {
        let (start, end) = self.span(at);
        self.slice(start, end - start)
    }

    /// Where a value's bytes begin and end in the page.
    #[inline]
    pub fn span(&self, at: u32) -> (u32, u32) {
        let Element { kind, start, word, .. } = self.element(at);
        let end = match kind {
            Kind::List | Kind::Object => self.element(word).start + 1,
            Kind::Text => start + word + 2,
            Kind::Escaped => self.tape.escaped[word as usize].end,
            Kind::Null | Kind::True | Kind::False | Kind::Number => start + word,
            Kind::End => start,
        };
        (start, end)
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
        shorten(self.raw(at), 80)
    }
}

/// The first `length` characters of a text, with dots where it goes on.
pub fn shorten(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_items_of_every_list_are_found_wherever_it_stands() {
        let records = r#"{"a":[1,[2],{"b":[]}]},[[3,4],[]],"x",null,-1.5,{},[{"c":[5]}]"#;
        let bodies = [
            format!("[{records}]"),
            format!(r#"{{"n":1,"data":[{records}],"more":[{records},7]}}"#),
            format!(r#"{{"o":{{"data":[{records}],"none":[]}}}}"#),
            format!("[[{records}],[{records}]]"),
            format!("[[[[{records}]]]]"),
            "[]".to_owned(),
        ];
        for body in bodies {
            let mut tape = Tape::default();
            // What a page before has left behind.
            tape.fill("[[1,2],[3]]").unwrap();
            tape.fill(&body).unwrap();
            let doc = Document::new(&tape, &body, TimeZone::UTC);
            let places = 1..tape.elements.len() as u32;
            let lists: Vec<u32> = places.filter(|at| matches!(doc.item(*at), Item::List(_))).collect();
            for list in &lists {
                assert_eq!(doc.records(*list), doc.items(*list).collect::<Vec<_>>(), "the list at {list} of {body}");
            }
            assert!(body == "[]" || lists.iter().any(|list| doc.records(*list).len() > 5), "{body}");
        }
    }

    #[test]
    fn a_key_that_is_there_twice_counts_with_its_last_value_wherever_it_stands() {
        let bodies = [
            (r#"{"a":1,"b":2,"c":3}"#, "a=1 b=2 c=3"),
            (r#"{"a":1,"b":2,"a":3}"#, "b=2 a=3"),
            (r#"{"b":1,"a":2}"#, "b=1 a=2"),
            (r#"{"c":1,"c":2,"d":3}"#, "c=2 d=3"),
            (r#"{"a":1,"\u0061":2}"#, "a=2"),
            (r#"{"\u0061":1,"b":2,"a":3}"#, "b=2 a=3"),
            (r#"{"a":{"a":1},"b":2}"#, r#"a={"a":1} b=2"#),
            ("{}", ""),
        ];
        // One trail for all of them, as for the records of a stream.
        let mut tape = Tape::default();
        for (body, expected) in bodies.iter().chain(bodies.iter().rev()) {
            tape.fill(body).unwrap();
            let doc = Document::new(&tape, body, TimeZone::UTC);
            let members = doc.distinct_members(doc.root());
            let shown: Vec<String> = members.iter().map(|(key, at)| format!("{key}={}", doc.raw(*at))).collect();
            assert_eq!(shown.join(" "), *expected, "{body}");
        }
    }
}
