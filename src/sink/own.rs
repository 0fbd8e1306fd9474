//! The columns that highwater adds to a table's files, beside the source's own.
//!
//! Keys, cursors and content hashes stand in the files so that a row can be found again and compared, whatever the job's steps have
//! made of the record: a rename, a cast or a column that was dropped changes nothing of it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};

use crate::batch::RowMarks;
use crate::config::catalog::{CursorType, Job, Mode, OnDelete};
use crate::cursor::CursorKey;
use crate::schema::{ColumnType, Field};

use super::SinkError;

/// Prefix of the columns that highwater adds; a source's own fields may not use it.
pub const PREFIX: &str = "_hw_";
/// The batch that brought a row.
pub const COMMIT: &str = "_hw_commit";
/// When the row's page was received.
pub const EXTRACTED_AT: &str = "_hw_extracted_at";
/// The parameter set that brought a row, in a job with `for_each`.
pub const SET: &str = "_hw_set";
/// What identifies the row: the JSON texts of the key's fields, joined by commas.
pub const KEY: &str = "_hw_key";
/// What orders the versions of a row.
pub const CURSOR: &str = "_hw_cursor";
/// XXH3 of the row's content: see [`super::content`].
pub const HASH: &str = "_hw_hash";
/// Whether the source has said that the record was deleted.
pub const DELETED: &str = "_hw_deleted";

/// Digits of the decimal that holds whole-number cursors.
const CURSOR_DIGITS: u8 = 38;

/// Which columns of our own a table's files have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnColumns {
    /// `_hw_commit` and `_hw_extracted_at`.
    pub metadata: bool,
    /// `_hw_set`.
    pub set: bool,
    /// `_hw_key` and `_hw_hash`.
    pub keyed: bool,
    /// `_hw_cursor`, of this type.
    pub cursor: Option<ColumnType>,
    /// `_hw_deleted`.
    pub deleted: bool,
}

impl OwnColumns {
    /// A merge finds rows by their keys; an append knows by them what it reads a second time.
    pub fn of(job: &Job) -> Self {
        let keyed = is_keyed(job);
        let cursor = job.stream.cursor.as_ref().filter(|_| keyed).and_then(|cursor| match cursor.cursor_type {
            CursorType::Integer => Some(ColumnType::Decimal { precision: CURSOR_DIGITS, scale: 0 }),
            CursorType::String => Some(ColumnType::Text),
            // Nothing in a record says which of two versions is the newer one.
            CursorType::Token => None,
            _ => Some(ColumnType::Timestamp),
        });
        let deleted = job.mode == Mode::Merge && job.on_delete == OnDelete::Soft && job.stream.deleted.is_some();
        OwnColumns { metadata: job.metadata, set: job.metadata && job.is_for_each(), keyed, cursor, deleted }
    }

    pub fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        if self.metadata {
            fields.push(Field::new(COMMIT, ColumnType::Text));
            fields.push(Field::new(EXTRACTED_AT, ColumnType::Timestamp));
        }
        if self.set {
            fields.push(Field::new(SET, ColumnType::Text));
        }
        if self.keyed {
            fields.push(Field::new(KEY, ColumnType::Text));
            fields.push(Field::new(HASH, ColumnType::Int64));
        }
        if let Some(cursor) = &self.cursor {
            fields.push(Field::new(CURSOR, cursor.clone()));
        }
        if self.deleted {
            fields.push(Field::new(DELETED, ColumnType::Boolean));
        }
        fields
    }
}

/// Whether a job's rows carry their keys: where they are merged, and where an append may read them again.
pub fn is_keyed(job: &Job) -> bool {
    match job.mode {
        Mode::Merge => true,
        Mode::Append => !job.stream.primary_key.is_empty() && job.stream.cursor.is_some(),
        Mode::Replace => false,
    }
}

/// Rows' marks as columns of a batch.
pub fn mark_columns(marks: &RowMarks, own: &OwnColumns) -> Result<Vec<(Field, ArrayRef)>, SinkError> {
    let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
    if own.keyed {
        let keys = StringViewArray::from_iter_values(&marks.keys);
        let hashes = Int64Array::from_iter_values(marks.hashes.iter().copied());
        columns.push((Field::new(KEY, ColumnType::Text), Arc::new(keys)));
        columns.push((Field::new(HASH, ColumnType::Int64), Arc::new(hashes)));
    }
    if let Some(cursor) = &own.cursor {
        columns.push((Field::new(CURSOR, cursor.clone()), cursor_array(&marks.cursors, cursor)?));
    }
    if own.deleted {
        let alive = BooleanArray::from(vec![false; marks.keys.len()]);
        columns.push((Field::new(DELETED, ColumnType::Boolean), Arc::new(alive)));
    }
    Ok(columns)
}

/// Cursors as the column that files hold.
pub fn cursor_array(cursors: &[CursorKey], column_type: &ColumnType) -> Result<ArrayRef, SinkError> {
    let mixed = || SinkError::bug("cursors of two kinds in one column");
    if *column_type == ColumnType::Text {
        let texts = cursors.iter().map(|cursor| cursor.text().ok_or_else(mixed)).collect::<Result<Vec<&str>, _>>()?;
        return Ok(Arc::new(StringViewArray::from_iter_values(texts)));
    }
    let numbers = cursors.iter().map(|cursor| cursor.number().ok_or_else(mixed)).collect::<Result<Vec<i128>, _>>()?;
    if *column_type == ColumnType::Timestamp {
        let micros = numbers.into_iter().map(i64::try_from).collect::<Result<Vec<i64>, _>>();
        let micros = micros.map_err(|_| SinkError::bug("a cursor is beyond all time"))?;
        return Ok(Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC")));
    }
    let decimals = Decimal128Array::from_iter_values(numbers);
    let decimals = decimals.with_precision_and_scale(CURSOR_DIGITS, 0).map_err(|error| SinkError::bug(error.to_string()))?;
    Ok(Arc::new(decimals))
}

/// The cursors that a file's column holds; `None` for a column of another type.
pub fn read_cursors(array: &ArrayRef) -> Option<Vec<CursorKey>> {
    let numbers: Vec<i128> = match array.data_type() {
        DataType::Timestamp(_, _) => {
            let micros = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            micros.values().iter().map(|value| i128::from(*value)).collect()
        }
        DataType::Decimal128(_, _) => array.as_primitive_opt::<Decimal128Type>()?.values().to_vec(),
        DataType::Int64 => array.as_primitive_opt::<Int64Type>()?.values().iter().map(|value| i128::from(*value)).collect(),
        _ => return Some(read_keys(array)?.into_iter().map(CursorKey::from).collect()),
    };
    Some(numbers.into_iter().map(CursorKey::Number).collect())
}

/// The least and the greatest of a file's keys and cursors, so that files that cannot hold a row need not be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    /// Keys, byte by byte; long ones are cut, the upper one upwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursors: Option<(i128, i128)>,
}

/// Longest key in a range, characters.
const KEY_SHOWN_MAX: usize = 100;

impl Ranges {
    pub fn is_empty(&self) -> bool {
        self.keys.is_none() && self.cursors.is_none()
    }

    pub fn add_keys<'a>(&mut self, keys: impl Iterator<Item = &'a str>) {
        let mut found: Option<(&str, &str)> = None;
        for key in keys {
            found = Some(found.map_or((key, key), |(least, greatest)| (least.min(key), greatest.max(key))));
        }
        let Some((least, greatest)) = found else { return };
        let (least, greatest) = (lower(least), upper(greatest));
        self.keys = Some(match self.keys.take() {
            None => (least, greatest),
            Some((known_least, known_greatest)) => (known_least.min(least), known_greatest.max(greatest)),
        });
    }

    /// Of texts no range is kept: every file may hold what is looked for.
    pub fn add_cursors<'a>(&mut self, cursors: impl Iterator<Item = &'a CursorKey>) {
        for cursor in cursors.filter_map(CursorKey::number) {
            self.cursors =
                Some(self.cursors.map_or((cursor, cursor), |(least, greatest)| (least.min(cursor), greatest.max(cursor))));
        }
    }

    /// Whether a row of this key can be in the file, as far as the range tells.
    pub fn may_hold(&self, key: &str) -> bool {
        self.keys.as_ref().is_none_or(|(least, greatest)| least.as_str() <= key && key <= greatest.as_str())
    }
}

fn lower(key: &str) -> String {
    key.chars().take(KEY_SHOWN_MAX).collect()
}

fn upper(key: &str) -> String {
    let mut shown: String = key.chars().take(KEY_SHOWN_MAX).collect();
    if shown.len() < key.len() {
        // Above everything that begins like this.
        shown.push(char::MAX);
    }
    shown
}

/// The keys of a batch read from a file; `None` where it has no such column.
pub fn read_keys(array: &ArrayRef) -> Option<Vec<&str>> {
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().iter().map(Option::unwrap_or_default).collect()),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().iter().map(Option::unwrap_or_default).collect()),
        DataType::Utf8View => Some(array.as_string_view().iter().map(Option::unwrap_or_default).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_was_added_and_cut_long_keys_outwards() {
        let long = "x".repeat(300);
        let mut ranges = Ranges::default();
        assert!(ranges.may_hold("anything"), "nothing is known");
        ranges.add_keys(["12", "5"].into_iter());
        ranges.add_keys([long.as_str()].into_iter());
        ranges.add_cursors([CursorKey::Number(7), CursorKey::Number(-3)].iter());
        assert!(ranges.may_hold("12") && ranges.may_hold("13") && ranges.may_hold(&long));
        assert!(!ranges.may_hold("0") && !ranges.may_hold("y"));
        assert_eq!(ranges.cursors, Some((-3, 7)));
    }

    #[test]
    fn cursors_come_back_from_their_columns() {
        for (column_type, cursors) in [
            (ColumnType::Timestamp, [0i64, -5, 1_700_000_000_000_000].map(CursorKey::from).to_vec()),
            (ColumnType::Decimal { precision: 38, scale: 0 }, [i128::from(u64::MAX), -1].map(CursorKey::from).to_vec()),
            (ColumnType::Text, ["", "2024-01-01#17", "ü"].map(CursorKey::from).to_vec()),
        ] {
            let array = cursor_array(&cursors, &column_type).expect("in range");
            assert_eq!(read_cursors(&array), Some(cursors));
        }
    }
}
