//! The cursor and the key of a record, exact.

use arrow::datatypes::{Decimal128Type, DecimalType};
use sha2::{Digest, Sha256};

use crate::config::catalog::CursorType;
use crate::cursor::CursorKey;

use super::document::{Document, Item, MISSING};
use super::instant::{cursor_date, cursor_timestamp};
use super::kind::{EpochUnit, Hold, Kind, Object};
use super::number::exact_whole;
use super::spec::{CursorPlan, FieldPath, KeyField};
use super::split::Columns;

/// Longest text that is a cursor: it is kept with every row and in the mark, and goes back in an address.
const TEXT_MAX: usize = 1024;

/// Where a path's value stands in each row: the record's own field is already a column.
pub struct Lookup<'p> {
    path: &'p FieldPath,
    column: Option<usize>,
}

impl<'p> Lookup<'p> {
    pub fn new(path: &'p FieldPath, root: &Object) -> Self {
        Lookup { path, column: root.place(&path.first) }
    }

    /// The place of the value in a row; `None` if it is missing or null.
    pub fn find(&self, doc: &Document<'_>, columns: &Columns, row: usize) -> Option<u32> {
        let at = self.column.map_or(MISSING, |column| columns[column][row]);
        let at = if self.path.rest.is_empty() { at } else { doc.find(at, &self.path.rest)? };
        Some(at).filter(|at| !doc.is_null(*at))
    }
}

/// A cursor's value. The error is why it has none.
pub fn cursor_value(doc: &Document<'_>, plan: &CursorPlan, at: Option<u32>) -> Result<CursorKey, String> {
    let Some(at) = at else { return Err("the cursor field is missing or null".to_owned()) };
    let zone = &plan.timezone;
    if plan.cursor_type == CursorType::String {
        return match doc.item(at) {
            Item::Text(text) if text.len() <= TEXT_MAX => Ok(CursorKey::Text(text.to_owned())),
            Item::Text(_) => Err(format!("the cursor is longer than {TEXT_MAX} bytes: `{}`", doc.excerpt(at))),
            _ => Err(format!("the cursor is not a text: `{}`", doc.excerpt(at))),
        };
    }
    let (value, expected) = match (plan.cursor_type, doc.item(at)) {
        (CursorType::Timestamp, Item::Text(text)) => (cursor_timestamp(text, zone).map(i128::from), "a timestamp"),
        (CursorType::Timestamp, _) => (None, "a timestamp"),
        (CursorType::Date, Item::Text(text)) => (cursor_date(text, zone).map(i128::from), "a date"),
        (CursorType::Date, _) => (None, "a date"),
        (CursorType::EpochS, _) => (epoch(doc, at, EpochUnit::Seconds), "a number of seconds within range"),
        (CursorType::EpochMs, _) => (epoch(doc, at, EpochUnit::Millis), "a number of milliseconds within range"),
        (CursorType::EpochUs, _) => (epoch(doc, at, EpochUnit::Micros), "a number of microseconds within range"),
        (CursorType::Integer, Item::Number(text) | Item::Text(text)) => (exact_whole(text), "a whole number of 128 bits"),
        (CursorType::Integer, _) => (None, "a whole number of 128 bits"),
        (CursorType::String | CursorType::Token, _) => (None, "a value that orders records"),
    };
    value.map(CursorKey::Number).ok_or_else(|| format!("the cursor is not {expected}: `{}`", doc.excerpt(at)))
}

/// The key fields as JSON texts, joined by commas: where a field is declared, the one text of its value as that type, so that `1`, `"1"`
/// and `1.0` are one key; else what the source wrote. A text has many spellings in JSON (`"\u00e9"` is `"é"`) and stands here in one; a
/// number of a field that is not declared, or is a float, and an instant stand as they were written.
pub fn key_text(doc: &Document<'_>, fields: &[u32], declared: &[KeyField]) -> String {
    let mut key = String::new();
    for (index, at) in fields.iter().enumerate() {
        if index > 0 {
            key.push(',');
        }
        let value = declared.get(index).and_then(|field| declared_text(doc, *at, field.declared.as_ref()?));
        match (value, doc.item(*at)) {
            (Some(value), _) => key.push_str(&value),
            (None, Item::Text(text)) => key.push_str(&serde_json::Value::from(text).to_string()),
            (None, _) => key.push_str(doc.raw(*at)),
        }
    }
    key
}

/// `None` where the value is no such one, and for types whose values may be written in the source's way alone.
fn declared_text(doc: &Document<'_>, at: u32, declared: &Kind) -> Option<String> {
    match declared {
        Kind::Int { .. } => doc.int(at, Hold::Declared).map(|value| value.to_string()),
        Kind::Boolean => doc.boolean(at, Hold::Declared).map(|value| value.to_string()),
        Kind::Decimal { precision, scale } => {
            let value = doc.decimal(at, *precision, *scale)?;
            Some(Decimal128Type::format_decimal(value, *precision, *scale))
        }
        Kind::Text => doc.text(at, Hold::Declared).map(|text| serde_json::Value::from(text).to_string()),
        _ => None,
    }
}

/// Whether the field by which a record says that it was deleted says so: by one of the values `is`, else by anything but null, false,
/// 0 and what is empty, such as a time or true.
pub fn is_deleted(doc: &Document<'_>, at: Option<u32>, is: &[String]) -> bool {
    if !is.is_empty() {
        return match at.map(|at| doc.item(at)) {
            Some(Item::Text(text) | Item::Number(text)) => is.iter().any(|value| value == text),
            Some(Item::Boolean(value)) => is.iter().any(|known| *known == value.to_string()),
            _ => false,
        };
    }
    match at.map(|at| doc.item(at)) {
        None | Some(Item::Null) => false,
        Some(Item::Boolean(value)) => value,
        Some(Item::Number(digits)) => digits.parse::<f64>().is_ok_and(|number| number != 0.0),
        Some(Item::Text(text)) => !matches!(text.trim().to_ascii_lowercase().as_str(), "" | "false" | "0" | "no" | "n" | "f"),
        // Between its brackets.
        Some(Item::List(_) | Item::Object(_)) => at.is_some_and(|at| {
            let text = doc.raw(at);
            text.get(1..text.len().saturating_sub(1)).is_some_and(|within| !within.trim().is_empty())
        }),
    }
}

fn epoch(doc: &Document<'_>, at: u32, unit: EpochUnit) -> Option<i128> {
    doc.epoch(at, unit).map(i128::from)
}

/// Hex of the first 16 bytes of SHA-256 over the [key's text](key_text).
pub fn key_hash(key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
