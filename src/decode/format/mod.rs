//! Bodies that are not JSON, written as the JSON that the tape takes: a list of records, or a document with such a list in it. So types,
//! keys, cursors, rejects and captured paths know one form only. A JSON body is not touched.

mod csv;
mod encoding;
mod json_text;
mod ndjson;
mod xml;

use bytes::Bytes;

use crate::config::catalog::Format;
use crate::error::ErrorKind;

use super::DecodeError;
use super::span::without_mark;
use super::spec::Plan;

/// A page as JSON, without byte order mark.
pub struct Text {
    pub json: Bytes,
    /// Where each record must start, for [`super::read::Task`].
    pub starts: Option<Vec<u32>>,
}

pub fn to_json(body: &Bytes, plan: &Plan) -> Result<Text, DecodeError> {
    let written = |json: Vec<u8>| Text { json: Bytes::from(json), starts: None };
    match &plan.format {
        Format::Json => Ok(Text { json: body.slice(body.len() - without_mark(body).len()..), starts: None }),
        Format::Ndjson => ndjson::to_json(without_mark(body)),
        Format::Csv(csv) => csv::to_json(body, csv, plan.records_optional, plan.body_max).map(written),
        Format::Xml(xml) => xml::to_json(body, xml, &plan.records, plan.body_max).map(written),
    }
}

/// Says of a body what it says of the JSON that was made of it.
pub fn explain(body: &[u8], format: &Format, error: DecodeError) -> DecodeError {
    match (format, error.kind) {
        (Format::Ndjson, ErrorKind::Unavailable) => ndjson::explain(without_mark(body), error),
        _ => error,
    }
}

/// What begins like a document of another kind is an error's page, or the wrong format: nothing of it is a record.
fn refuse_markup(text: &[u8], expected: &str) -> Result<(), DecodeError> {
    match text.trim_ascii_start().first() {
        Some(b'<') => Err(DecodeError::unavailable(format!("the body is {}, not {expected}", super::whole::markup(text)))),
        _ => Ok(()),
    }
}
