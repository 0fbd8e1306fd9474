//! An XML document as a JSON document: elements are fields, attributes fields with an `@`, what is repeated a list.
//!
//! Nothing is looked up or expanded: a document with a DOCTYPE is refused before anything of it is read. One pass over quick-xml's events
//! ([`document`]) writes each value where it will stand ([`tree`]); only elements with lists in them are put in order afterwards.

mod document;
mod tree;

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::config::catalog::Xml;

use super::super::DecodeError;
use super::encoding::to_text;

/// So much of a document is looked at for its declaration.
const DECLARATION_MAX: usize = 1024;

/// `records` is the path of the element that is repeated, from the root element on.
pub fn to_json(body: &[u8], xml: &Xml, records: &[String], body_max: u64) -> Result<Vec<u8>, DecodeError> {
    let text = decode(body)?;
    refuse_others(&text)?;
    document::Reading::new(&text, xml, records, body_max).read()
}

/// A byte order mark, else the declaration says what the bytes mean.
fn decode(body: &[u8]) -> Result<Cow<'_, str>, DecodeError> {
    let encoding = match body {
        [b'<', 0, ..] => UTF_16LE,
        [0, b'<', ..] => UTF_16BE,
        _ => match declared(body) {
            // Whoever could read this label was not reading UTF-16.
            Some(label) if label.to_ascii_lowercase().starts_with("utf-16") => UTF_8,
            Some(label) => Encoding::for_label_no_replacement(label.as_bytes())
                .ok_or_else(|| DecodeError::data(format!("the document's encoding is not known: `{label}`")))?,
            None => UTF_8,
        },
    };
    to_text(body, encoding)
}

/// The encoding in `<?xml version="1.0" encoding="..."?>`.
fn declared(body: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&body[..body.len().min(DECLARATION_MAX)]);
    let declaration = head.trim_start_matches('\u{feff}').trim_start().strip_prefix("<?xml")?;
    let (declaration, _) = declaration.split_once("?>")?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value[1..].split_once(quote).map(|(label, _)| label.trim().to_owned())
}

fn refuse_others(text: &str) -> Result<(), DecodeError> {
    let start = text.trim_start();
    if start.is_empty() {
        return Err(DecodeError::unavailable("the body is empty"));
    }
    let head = start.as_bytes();
    let begins = |word: &[u8]| head.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    if begins(b"<!doctype html") || begins(b"<html") {
        return Err(DecodeError::unavailable("the body is HTML, not XML"));
    }
    if head[0] != b'<' {
        let beginning = super::super::document::shorten(start, 60);
        return Err(DecodeError::unavailable(format!("the body is not XML; it begins with `{beginning}`")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
