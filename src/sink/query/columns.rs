//! A file's columns in the form of the table: older files lack columns, have narrower integers and structs with fewer fields;
//! columns of a plain partition stand in the path only.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeListArray, StringArray, StructArray, UInt32Array, new_null_array};
use arrow::compute::{CastOptions, cast, cast_with_options, take};
use arrow::datatypes::DataType;

use super::QueryError;
use crate::schema::{ColumnType, Field, TableSchema};

/// What can stand in a file: columns and fields that never had a value are in the schema, but in no file.
pub(super) fn written(schema: &TableSchema) -> Vec<Field> {
    schema.fields.iter().filter_map(written_field).collect()
}

fn written_field(field: &Field) -> Option<Field> {
    let column_type = match &field.column_type {
        ColumnType::Null => return None,
        ColumnType::List(item) => ColumnType::List(Box::new(written_field(item)?)),
        ColumnType::Struct(fields) => {
            let fields: Vec<Field> = fields.iter().filter_map(written_field).collect();
            if fields.is_empty() {
                return None;
            }
            ColumnType::Struct(fields)
        }
        other => other.clone(),
    };
    Some(Field { id: field.id, name: field.name.clone(), column_type })
}

/// The array as the table has it.
pub(super) fn conform(array: &ArrayRef, target: &ColumnType) -> Result<ArrayRef, QueryError> {
    let wanted = target.to_arrow();
    if *array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    let refused = |error: arrow::error::ArrowError| {
        QueryError::data(format!("a file has a column of {} that cannot be read as {target}: {error}", array.data_type()))
    };
    match (array.data_type(), target) {
        (DataType::Struct(_), ColumnType::Struct(fields)) => {
            let structs = array.as_struct();
            let mut columns = Vec::with_capacity(fields.len());
            for field in fields {
                columns.push(match structs.column_by_name(&field.name) {
                    Some(column) => conform(column, &field.column_type)?,
                    None => new_null_array(&field.column_type.to_arrow(), structs.len()),
                });
            }
            let fields = fields.iter().map(Field::to_arrow).collect();
            let structs = StructArray::try_new_with_length(fields, columns, structs.nulls().cloned(), structs.len());
            Ok(Arc::new(structs.map_err(refused)?))
        }
        (DataType::LargeList(_), ColumnType::List(item)) => {
            let list = array.as_list::<i64>();
            let values = conform(list.values(), &item.column_type)?;
            let list = LargeListArray::try_new(Arc::new(item.to_arrow()), list.offsets().clone(), values, list.nulls().cloned());
            Ok(Arc::new(list.map_err(refused)?))
        }
        (DataType::List(item), ColumnType::List(_)) => {
            conform(&cast(array, &DataType::LargeList(Arc::clone(item))).map_err(refused)?, target)
        }
        _ => cast_with_options(array, &wanted, &CastOptions { safe: false, ..Default::default() }).map_err(refused),
    }
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
