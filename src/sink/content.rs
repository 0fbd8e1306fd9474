//! A row's content as one number, to tell a version of it from another.
//!
//! XXH3 with 64 bits (<https://github.com/Cyan4973/xxHash>) over the row's columns by name. It stands in files and is compared by
//! later versions of the program, so it hangs on values alone: not on the order of columns, on nulls, on how wide a number's type
//! is, or on how a batch happens to be laid out. Two versions of one key that are taken for the same by chance: once in 2^64.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit, UInt64Type};
use twox_hash::XxHash3_64;

use crate::cursor::CursorKey;

use super::SinkError;

/// Signs before a value, so that values of different kinds never look alike.
const NULL: u8 = 0;
const NUMBER: u8 = 1;
const FLOAT: u8 = 2;
const DECIMAL: u8 = 3;
const TEXT: u8 = 4;
const BOOLEAN: u8 = 5;
const LIST: u8 = 6;
const STRUCT: u8 = 7;

/// The content of many rows, in whatever order they come: how many, and two sums over their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    rows: u64,
    sum: u64,
    mixed: u64,
}

impl Digest {
    pub fn add(&mut self, hashes: &[i64]) {
        for hash in hashes {
            let hash = hash.cast_unsigned();
            self.rows += 1;
            self.sum = self.sum.wrapping_add(hash);
            self.mixed = self.mixed.wrapping_add(XxHash3_64::oneshot(&hash.to_le_bytes()));
        }
    }

    /// Takes in texts that are no rows but part of what was read.
    pub fn add_bytes<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>) {
        for text in texts {
            self.add(&[bytes_hash(text)]);
        }
    }

    /// As it stands in records.
    pub fn text(&self) -> String {
        format!("{}-{:016x}{:016x}", self.rows, self.sum, self.mixed)
    }
}

/// The number of a text that is no row.
pub fn bytes_hash(text: &[u8]) -> i64 {
    XxHash3_64::oneshot(text).cast_signed()
}

/// One number a row. `cursors` is part of the content: a record that moved is another version even if no column shows it.
pub fn content_hashes(rows: &RecordBatch, cursors: &[CursorKey]) -> Result<Vec<i64>, SinkError> {
    let schema = rows.schema();
    let mut columns: Vec<(&str, Column)> = Vec::with_capacity(rows.num_columns());
    for (field, array) in schema.fields().iter().zip(rows.columns()) {
        if *array.data_type() != DataType::Null {
            columns.push((field.name(), Column::of(array)?));
        }
    }
    columns.sort_by_key(|(name, _)| *name);
    let mut hashes = Vec::with_capacity(rows.num_rows());
    let mut bytes = Vec::new();
    for row in 0..rows.num_rows() {
        bytes.clear();
        if let Some(cursor) = cursors.get(row) {
            match cursor {
                CursorKey::Number(value) => bytes.extend(value.to_le_bytes()),
                CursorKey::Text(text) => {
                    bytes.extend((text.len() as u64).to_le_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        for (name, column) in columns.iter().filter(|(_, column)| column.is_there(row)) {
            put_text(&mut bytes, name);
            column.put(row, &mut bytes);
        }
        hashes.push(XxHash3_64::oneshot(&bytes).cast_signed());
    }
    Ok(hashes)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// A column in the one form that its kind of values is hashed in.
enum Column {
    Integer(ArrayRef),
    Unsigned(ArrayRef),
    Float(ArrayRef),
    Decimal(ArrayRef, i8),
    Text(ArrayRef),
    Boolean(ArrayRef),
    List(ArrayRef, Box<Column>),
    Struct(ArrayRef, Vec<(String, Column)>),
    Null,
}

impl Column {
    fn of(array: &ArrayRef) -> Result<Self, SinkError> {
        let as_type = |to: &DataType| cast(array, to).map_err(|error| SinkError::bug(error.to_string()));
        Ok(match array.data_type() {
            DataType::Null => Column::Null,
            DataType::Boolean => Column::Boolean(array.clone()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Column::Integer(as_type(&DataType::Int64)?),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => Column::Integer(as_type(&DataType::Int64)?),
            DataType::UInt64 => Column::Unsigned(array.clone()),
            DataType::Float32 | DataType::Float64 => Column::Float(as_type(&DataType::Float64)?),
            DataType::Decimal128(_, scale) => Column::Decimal(array.clone(), *scale),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Column::Text(as_type(&DataType::Utf8View)?),
            DataType::Date32 => {
                let days = as_type(&DataType::Int32)?;
                Column::Integer(cast(&days, &DataType::Int64).map_err(|error| SinkError::bug(error.to_string()))?)
            }
            DataType::Timestamp(_, zone) => {
                let micros = as_type(&DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
                Column::Integer(cast(&micros, &DataType::Int64).map_err(|error| SinkError::bug(error.to_string()))?)
            }
            DataType::Time64(_) | DataType::Duration(_) => Column::Integer(as_type(&DataType::Int64)?),
            DataType::LargeList(_) => Column::List(array.clone(), Box::new(Column::of(array.as_list::<i64>().values())?)),
            DataType::List(item) => {
                let large = as_type(&DataType::LargeList(item.clone()))?;
                let values = Column::of(large.as_list::<i64>().values())?;
                Column::List(large, Box::new(values))
            }
            DataType::Struct(fields) => {
                let inner = array.as_struct();
                let mut columns = Vec::with_capacity(fields.len());
                for (field, array) in fields.iter().zip(inner.columns()) {
                    columns.push((field.name().clone(), Column::of(array)?));
                }
                columns.sort_by(|(a, _), (b, _)| a.cmp(b));
                Column::Struct(array.clone(), columns)
            }
            other => return Err(SinkError::bug(format!("a column of {other} cannot be compared"))),
        })
    }

    fn is_there(&self, row: usize) -> bool {
        match self {
            Column::Null => false,
            Column::Integer(array) | Column::Unsigned(array) | Column::Float(array) | Column::Decimal(array, _) => {
                array.is_valid(row)
            }
            Column::Text(array) | Column::Boolean(array) | Column::List(array, _) | Column::Struct(array, _) => {
                array.is_valid(row)
            }
        }
    }

    fn put(&self, row: usize, bytes: &mut Vec<u8>) {
        if !self.is_there(row) {
            bytes.push(NULL);
            return;
        }
        match self {
            Column::Null => bytes.push(NULL),
            Column::Integer(array) => put_number(bytes, i128::from(array.as_primitive::<Int64Type>().value(row))),
            Column::Unsigned(array) => put_number(bytes, i128::from(array.as_primitive::<UInt64Type>().value(row))),
            Column::Float(array) => {
                bytes.push(FLOAT);
                bytes.extend(array.as_primitive::<Float64Type>().value(row).to_bits().to_le_bytes());
            }
            Column::Decimal(array, scale) => {
                bytes.push(DECIMAL);
                let (value, scale) = shortest(array.as_primitive::<Decimal128Type>().value(row), *scale);
                bytes.extend(value.to_le_bytes());
                bytes.extend(scale.to_le_bytes());
            }
            Column::Text(array) => {
                bytes.push(TEXT);
                put_text(bytes, array.as_string_view().value(row));
            }
            Column::Boolean(array) => bytes.extend([BOOLEAN, u8::from(array.as_boolean().value(row))]),
            Column::List(array, items) => {
                let offsets = array.as_list::<i64>().value_offsets();
                let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
                bytes.push(LIST);
                bytes.extend(((to - from) as u64).to_le_bytes());
                (from..to).for_each(|item| items.put(item, bytes));
            }
            Column::Struct(_, fields) => {
                bytes.push(STRUCT);
                // A field that is null says as much as one that is not there: which of them it is changes with the schema.
                let there = fields.iter().filter(|(_, field)| field.is_there(row));
                bytes.extend((there.clone().count() as u64).to_le_bytes());
                for (name, field) in there {
                    put_text(bytes, name);
                    field.put(row, bytes);
                }
            }
        }
    }
}

fn put_number(bytes: &mut Vec<u8>, value: i128) {
    bytes.push(NUMBER);
    bytes.extend(value.to_le_bytes());
}

/// 1.50 is 1.5: a declared scale may change.
fn shortest(mut value: i128, mut scale: i8) -> (i128, i8) {
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    (value, scale)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray, NullArray, StringArray, StructArray};
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    fn hash(columns: Vec<(&str, ArrayRef)>) -> i64 {
        let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
        content_hashes(&rows.expect("a batch"), &[CursorKey::Number(7)]).expect("hashed")[0]
    }

    #[test]
    fn the_same_values_in_another_form_are_the_same_content() {
        let id: ArrayRef = Arc::new(Int64Array::from(vec![5]));
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![5]));
        let name: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let nothing: ArrayRef = Arc::new(NullArray::new(1));
        let no_name: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        let plain = hash(vec![("id", id.clone()), ("name", name.clone())]);
        assert_eq!(plain, hash(vec![("name", name.clone()), ("id", narrow)]));
        assert_eq!(plain, hash(vec![("id", id.clone()), ("new", nothing), ("name", name.clone()), ("other", no_name)]));
        let price = |value: i128, scale: i8| -> ArrayRef {
            Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(9, scale).expect("fits"))
        };
        assert_eq!(hash(vec![("p", price(150, 2))]), hash(vec![("p", price(15, 1))]));
    }

    #[test]
    fn other_values_are_other_content() {
        let list = |values: Vec<Option<i32>>| -> ArrayRef {
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(values)]))
        };
        let inner = |name: &str, value: i32| -> ArrayRef {
            let field = Arc::new(Field::new(name, DataType::Int32, true));
            Arc::new(StructArray::from(vec![(field, Arc::new(Int32Array::from(vec![value])) as ArrayRef)]))
        };
        let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let all = [
            vec![("a", number.clone())],
            vec![("b", number)],
            vec![("a", float)],
            vec![("a", text("1"))],
            vec![("a", text("1")), ("b", text(""))],
            vec![("a", list(vec![Some(1), Some(2)]))],
            vec![("a", list(vec![Some(1), None]))],
            vec![("a", list(vec![]))],
            vec![("a", inner("x", 1))],
            vec![("a", inner("y", 1))],
            vec![("a", inner("x", 2))],
        ];
        let hashes: std::collections::BTreeSet<i64> = all.iter().map(|columns| hash(columns.clone())).collect();
        assert_eq!(hashes.len(), all.len());
    }

    #[test]
    fn a_digest_hangs_on_the_rows_and_not_on_their_order() {
        let digest = |parts: &[&[i64]]| {
            let mut digest = Digest::default();
            parts.iter().for_each(|part| digest.add(part));
            digest.text()
        };
        assert_eq!(digest(&[&[1, 2, 3]]), digest(&[&[3], &[2, 1]]));
        assert_ne!(digest(&[&[1, 2, 3]]), digest(&[&[1, 2, 3, 3]]));
        assert_ne!(digest(&[&[1, 4]]), digest(&[&[2, 3]]));
    }

    #[test]
    fn the_number_is_the_same_for_ever() {
        // It stands in files: a change of it makes every row look new.
        let id: ArrayRef = Arc::new(Int64Array::from(vec![5]));
        let name: ArrayRef = Arc::new(StringArray::from(vec!["Zürich"]));
        assert_eq!(hash(vec![("id", id), ("name", name)]), -2_618_553_262_427_004_656);
    }
}
