//! A file's columns in the form of the table: older files lack columns, have narrower integers and structs with fewer fields;
//! columns of a plain partition stand in the path only.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt32Array, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, take};

use crate::schema::ColumnType;

use super::super::table;
use super::QueryError;

/// The array as the table has it.
pub(super) fn conform(array: &ArrayRef, target: &ColumnType) -> Result<ArrayRef, QueryError> {
    table::conform_array(array, target).map_err(|error| QueryError::data(format!("a file cannot be read as its table: {error}")))
}

/// A column that is the same in every row of a file: the value of its directory.
pub(super) fn constant(value: Option<&str>, target: &ColumnType, rows: usize) -> Result<ArrayRef, QueryError> {
    let wanted = target.to_arrow();
    let Some(value) = value else { return Ok(new_null_array(&wanted, rows)) };
    let one: ArrayRef = Arc::new(StringArray::from(vec![value]));
    let options = CastOptions { safe: false, ..Default::default() };
    let one = cast_with_options(&one, &wanted, &options);
    let column = one.and_then(|one| take(&one, &UInt32Array::from(vec![0; rows]), None));
    column.map_err(|error| QueryError::data(format!("the directory's value `{value}` is no {target}: {error}")))
}
