//! Delimited text (RFC 4180 and its relatives) as a list of objects.
//!
//! By hand, because whether a field stands in quotes decides what it is, and the parsers that there are do not tell: `"007"` and
//! `"true"` are texts. One pass, nothing kept but the line at work.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::config::catalog::Csv;

use super::super::DecodeError;
use super::super::document::shorten;
use super::super::number::is_json_number;
use super::encoding::to_text;
use super::json_text::push_text;
use super::refuse_markup;

/// Names of columns in a body's header; a body of one line must not become a table of millions of columns.
const COLUMNS_MAX: usize = 10_000;

/// `may_be_empty`: a body without even a header is an empty page.
pub fn to_json(body: &[u8], csv: &Csv, may_be_empty: bool, body_max: u64) -> Result<Vec<u8>, DecodeError> {
    let text = to_text(body, csv.encoding)?;
    refuse_markup(text.as_bytes(), "CSV")?;
    let mut lines = Lines { text: &text, at: 0, line: 1, csv, fields_max: COLUMNS_MAX };
    let columns: Vec<Cow<'_, str>> = match &csv.columns {
        Some(columns) => columns.iter().map(|name| Cow::Borrowed(name.as_str())).collect(),
        None => match header(&mut lines)? {
            Some(columns) => columns,
            None if may_be_empty => return Ok(b"[]".to_vec()),
            None => return Err(DecodeError::unavailable("the body is empty: not even a header is there")),
        },
    };
    let mut writer = Writer::new(&columns, csv.infer, text.len());
    let mut row = Row::default();
    lines.fields_max = columns.len();
    while lines.next_row(&mut row)? {
        if row.count != columns.len() {
            return Err(ragged(&row, columns.len(), lines.is_done()));
        }
        writer.push(&row);
        if writer.out.len() as u64 > body_max {
            return Err(DecodeError::beyond_cap("the body, with its columns' names in each record,", body_max));
        }
    }
    Ok(writer.finish())
}

/// The first line's fields as names; `None` without any line.
fn header<'a>(lines: &mut Lines<'a>) -> Result<Option<Vec<Cow<'a, str>>>, DecodeError> {
    let mut row = Row::default();
    if !lines.next_row(&mut row)? {
        return Ok(None);
    }
    // An error of an API that answers with CSV otherwise: its one line would be a header without a record, an empty page.
    let start = lines.text.trim_start();
    if ["{", "[{", "[]"].iter().any(|json| start.starts_with(json)) {
        return Err(DecodeError::unavailable(format!("the body is JSON, not CSV; it begins with `{}`", shorten(lines.text, 60))));
    }
    if row.count > COLUMNS_MAX {
        return Err(DecodeError::data(format!("the header has `{}` columns, more than `{COLUMNS_MAX}`", row.count)));
    }
    let mut known = BTreeSet::new();
    for (place, field) in row.fields.iter().enumerate() {
        let help = "write header = false and the columns' names, and leave this line out by `comment` or at the source";
        if field.text.is_empty() {
            return Err(DecodeError::data(format!("column `{}` of the header has no name; {help}", place + 1)));
        }
        if !known.insert(field.text.as_ref()) {
            return Err(DecodeError::data(format!("the header has the column `{}` twice; {help}", shorten(&field.text, 60))));
        }
    }
    Ok(Some(row.fields.into_iter().map(|field| field.text).collect()))
}

fn ragged(row: &Row<'_>, columns: usize, is_last: bool) -> DecodeError {
    let (line, fields) = (row.line, row.count);
    if is_last && !row.ended && fields < columns {
        return DecodeError::unavailable(format!("the body is cut off in line `{line}`: `{fields}` fields of `{columns}`"));
    }
    DecodeError::data(format!("line `{line}` has `{fields}` fields where there are `{columns}` columns"))
}

/// Writes rows as objects.
struct Writer {
    out: Vec<u8>,
    /// Each column's name as a key, with its colon.
    keys: Vec<Vec<u8>>,
    rows: u64,
    infer: bool,
}

impl Writer {
    fn new(columns: &[Cow<'_, str>], infer: bool, size: usize) -> Self {
        let key = |name: &Cow<'_, str>| {
            let mut key = Vec::new();
            push_text(&mut key, name);
            key.push(b':');
            key
        };
        let mut out = Vec::with_capacity(size);
        out.push(b'[');
        Writer { out, keys: columns.iter().map(key).collect(), rows: 0, infer }
    }

    fn push(&mut self, row: &Row<'_>) {
        if self.rows > 0 {
            self.out.push(b',');
        }
        self.rows += 1;
        self.out.push(b'{');
        let mut is_first = true;
        for (key, field) in self.keys.iter().zip(&row.fields) {
            let is_null = field.text.is_empty() && !field.quoted;
            // Every column is in the first record, so that its place in the table is the header's. A name for each gap of a sparse table
            // would be most of the page.
            if is_null && self.rows > 1 {
                continue;
            }
            if !is_first {
                self.out.push(b',');
            }
            is_first = false;
            self.out.extend_from_slice(key);
            match is_null {
                true => self.out.extend_from_slice(b"null"),
                false if self.infer && !field.quoted && is_literal(field.text.as_bytes()) => {
                    self.out.extend_from_slice(field.text.as_bytes());
                }
                false => push_text(&mut self.out, &field.text),
            }
        }
        self.out.push(b'}');
    }

    fn finish(mut self) -> Vec<u8> {
        self.out.push(b']');
        self.out
    }
}

/// Whether a text is a number or a boolean as JSON writes it. `1E5` is not: more often it is an article's name than a hundred thousand.
fn is_literal(text: &[u8]) -> bool {
    match text[0] {
        b't' | b'f' => matches!(text, b"true" | b"false"),
        b'-' | b'0'..=b'9' if is_json_number(text) => {
            let exponent = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
            exponent.is_none_or(|at| text[..at].contains(&b'.') || matches!(text.get(at + 1), Some(b'+' | b'-')))
        }
        _ => false,
    }
}

#[derive(Default)]
struct Row<'a> {
    /// As many as may count: a line of nothing but delimiters is far larger in fields than in bytes.
    fields: Vec<Field<'a>>,
    /// How many there are.
    count: usize,
    /// Where it begins, counted from 1.
    line: usize,
    /// Whether a line end stands behind it.
    ended: bool,
}

struct Field<'a> {
    text: Cow<'a, str>,
    quoted: bool,
}

struct Lines<'a> {
    text: &'a str,
    at: usize,
    /// Of the place `at`, counted from 1.
    line: usize,
    csv: &'a Csv,
    /// Fields of a row that are kept.
    fields_max: usize,
}

impl<'a> Lines<'a> {
    fn is_done(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Reads the next line that is neither blank nor a comment; false at the end.
    fn next_row(&mut self, row: &mut Row<'a>) -> Result<bool, DecodeError> {
        row.fields.clear();
        row.count = 0;
        while let Some(first) = self.text.as_bytes().get(self.at) {
            let is_comment = Some(*first) == self.csv.comment;
            if !is_comment && !matches!(first, b'\n' | b'\r') {
                row.line = self.line;
                return self.read_row(row).map(|()| true);
            }
            self.at = self.plain_end(None);
            self.step_over_end();
        }
        Ok(false)
    }

    fn read_row(&mut self, row: &mut Row<'a>) -> Result<(), DecodeError> {
        loop {
            let field = self.field()?;
            row.count += 1;
            if row.count <= self.fields_max {
                row.fields.push(field);
            }
            if self.text.as_bytes().get(self.at) != Some(&self.csv.delimiter) {
                row.ended = self.step_over_end();
                return Ok(());
            }
            self.at += 1;
        }
    }

    /// One field, up to a delimiter or the line's end.
    fn field(&mut self) -> Result<Field<'a>, DecodeError> {
        let start = self.at;
        match self.csv.quote {
            Some(quote) if self.text.as_bytes().get(start) == Some(&quote) => {
                Ok(Field { text: self.quoted(quote)?, quoted: true })
            }
            _ => {
                self.at = self.plain_end(Some(self.csv.delimiter));
                Ok(Field { text: Cow::Borrowed(&self.text[start..self.at]), quoted: false })
            }
        }
    }

    /// Where the next line end stands, or the delimiter before it.
    fn plain_end(&self, delimiter: Option<u8>) -> usize {
        let delimiter = delimiter.unwrap_or(b'\n');
        let rest = &self.text.as_bytes()[self.at..];
        let end = rest.iter().position(|byte| *byte == delimiter || *byte == b'\n' || *byte == b'\r');
        end.map_or(self.text.len(), |length| self.at + length)
    }

    /// The content of a field in quotes; two of them stand for one.
    fn quoted(&mut self, quote: u8) -> Result<Cow<'a, str>, DecodeError> {
        let bytes = self.text.as_bytes();
        let (line, mut copied) = (self.line, self.at + 1);
        let mut whole = String::new();
        let mut at = copied;
        loop {
            let Some(length) = bytes[at..].iter().position(|byte| *byte == quote) else {
                return Err(DecodeError::unavailable(format!("the body is cut off: a quote of line `{line}` is not closed")));
            };
            at += length;
            if bytes.get(at + 1) != Some(&quote) {
                break;
            }
            whole.push_str(&self.text[copied..=at]);
            copied = at + 2;
            at = copied;
        }
        let rest = &self.text[copied..at];
        self.line += bytes[self.at..at].iter().filter(|byte| **byte == b'\n').count();
        self.at = at + 1;
        if !matches!(bytes.get(self.at), None | Some(b'\n' | b'\r')) && bytes.get(self.at) != Some(&self.csv.delimiter) {
            let line = self.line;
            return Err(DecodeError::data(format!("in line `{line}` there is text behind a closing quote")));
        }
        if whole.is_empty() {
            return Ok(Cow::Borrowed(rest));
        }
        whole.push_str(rest);
        Ok(Cow::Owned(whole))
    }

    /// Steps over a line end of any kind; false at the end of the body.
    fn step_over_end(&mut self) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        let length = match rest {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => return false,
        };
        self.at += length;
        self.line += 1;
        true
    }
}

#[cfg(test)]
mod tests;
