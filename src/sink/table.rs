//! The table's columns: how they grow, and how a batch is brought into their form.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeListArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef};

use crate::schema::{ColumnType, Field, TableSchema, Widening, widen};

use super::{SinkError, own};

/// The table's schema after rows of `found` are added to it: new columns at the end, ids given to what has none.
///
/// Only what every reader can read together is legal; anything else names the column and both types.
pub fn evolve(committed: Option<&TableSchema>, found: &TableSchema) -> Result<TableSchema, SinkError> {
    let mut table = committed.cloned().unwrap_or_default();
    for field in &found.fields {
        if field.name.starts_with(own::PREFIX) {
            return Err(SinkError::data(format!(
                "the column `{}` begins with `{}`, which is ours: rename it in a step",
                field.name,
                own::PREFIX
            )));
        }
        match table.fields.iter_mut().find(|known| known.name == field.name) {
            Some(known) => {
                known.column_type = widen(&known.column_type, &field.column_type, Widening::Committed).ok_or_else(|| {
                    SinkError::data(format!(
                        "the column `{}` is {} in the table and {} in these rows: give it its type back with a cast step, or load into another table",
                        field.name, known.column_type, field.column_type
                    ))
                })?;
            }
            None => table.fields.push(field.clone()),
        }
    }
    let mut last = committed.map_or(0, TableSchema::last_id);
    for field in &mut table.fields {
        give_ids(field, &mut last);
    }
    Ok(table)
}

fn give_ids(field: &mut Field, last: &mut u32) {
    if field.id == 0 {
        *last += 1;
        field.id = *last;
    }
    match &mut field.column_type {
        ColumnType::List(item) => give_ids(item, last),
        ColumnType::Struct(fields) => fields.iter_mut().for_each(|field| give_ids(field, last)),
        _ => {}
    }
}

/// What of a schema can be written: columns that were always null wait, and so do structs and lists with nothing in them.
pub fn written(schema: &TableSchema) -> TableSchema {
    TableSchema { fields: schema.fields.iter().filter_map(written_field).collect() }
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

/// Brings a batch into the form of `target`: its columns by name, missing ones null, narrower integers widened.
pub fn conform(rows: &RecordBatch, target: &TableSchema, arrow: &SchemaRef) -> Result<RecordBatch, SinkError> {
    let mut columns = Vec::with_capacity(target.fields.len());
    for field in &target.fields {
        let column = match rows.column_by_name(&field.name) {
            Some(column) => conform_array(column, &field.column_type)?,
            None => new_null_array(&field.column_type.to_arrow(), rows.num_rows()),
        };
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(arrow.clone(), columns, &options)
        .map_err(|error| SinkError::bug(format!("rows do not take the table's form: {error}")))
}

/// One column in the form of the table; text or numbers that do not fit are an error, never a null.
pub(super) fn conform_array(array: &ArrayRef, target: &ColumnType) -> Result<ArrayRef, SinkError> {
    let wanted = target.to_arrow();
    if *array.data_type() == wanted {
        return Ok(array.clone());
    }
    match (array.data_type(), target) {
        (DataType::Null, _) => Ok(new_null_array(&wanted, array.len())),
        (DataType::Struct(_), ColumnType::Struct(fields)) => conform_struct(array.as_struct(), fields),
        (DataType::LargeList(_), ColumnType::List(item)) => {
            let list = array.as_list::<i64>();
            let values = conform_array(list.values(), &item.column_type)?;
            let conformed =
                LargeListArray::try_new(Arc::new(item.to_arrow()), list.offsets().clone(), values, list.nulls().cloned());
            Ok(Arc::new(conformed.map_err(|error| SinkError::bug(format!("a list does not take the table's form: {error}")))?))
        }
        (DataType::List(_), ColumnType::List(_)) => {
            let large = cast(array, &large_list_of(array)).map_err(|error| SinkError::bug(error.to_string()))?;
            conform_array(&large, target)
        }
        (DataType::Decimal128(..), ColumnType::Decimal { .. }) => exact(array, &wanted).map_err(|error| {
            SinkError::data(format!(
                "a number does not fit a column of {target}: {error}; a cast step puts the records of such numbers aside"
            ))
        }),
        _ => exact(array, &wanted)
            .map_err(|error| SinkError::bug(format!("a column of {} does not become {target}: {error}", array.data_type()))),
    }
}

/// Fails where a value does not fit.
fn exact(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
    cast_with_options(array, wanted, &CastOptions { safe: false, ..CastOptions::default() })
}

fn large_list_of(array: &ArrayRef) -> DataType {
    match array.data_type() {
        DataType::List(item) => DataType::LargeList(item.clone()),
        other => other.clone(),
    }
}

fn conform_struct(array: &StructArray, fields: &[Field]) -> Result<ArrayRef, SinkError> {
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        columns.push(match array.column_by_name(&field.name) {
            Some(column) => conform_array(column, &field.column_type)?,
            None => new_null_array(&field.column_type.to_arrow(), array.len()),
        });
    }
    let arrow_fields = fields.iter().map(Field::to_arrow).collect();
    let conformed = StructArray::try_new_with_length(arrow_fields, columns, array.nulls().cloned(), array.len())
        .map_err(|error| SinkError::bug(format!("a struct does not take the table's form: {error}")))?;
    Ok(Arc::new(conformed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &[(&str, ColumnType)]) -> TableSchema {
        TableSchema { fields: fields.iter().map(|(name, column_type)| Field::new(*name, column_type.clone())).collect() }
    }

    #[test]
    fn columns_keep_their_ids_and_new_ones_come_after() {
        // C-66
        let first = evolve(None, &schema(&[("a", ColumnType::Int64), ("b", ColumnType::Null)])).expect("legal");
        let inner = ColumnType::Struct(vec![Field::new("x", ColumnType::Text)]);
        let second = evolve(Some(&first), &schema(&[("c", inner), ("b", ColumnType::Text)])).expect("legal");
        let ids: Vec<_> = second.fields.iter().map(|field| (field.name.as_str(), field.id)).collect();
        assert_eq!(ids, [("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(second.last_id(), 4, "the nested field has an id of its own");
        assert_eq!(second.field("b").map(|field| &field.column_type), Some(&ColumnType::Text));
    }

    #[test]
    fn a_type_that_readers_cannot_read_together_is_refused() {
        let table = evolve(None, &schema(&[("a", ColumnType::Int64)])).expect("legal");
        let error = evolve(Some(&table), &schema(&[("a", ColumnType::Text)])).expect_err("int and text");
        assert!(error.to_string().contains("`a` is int64 in the table and text"), "{error}");
    }

    #[test]
    fn what_was_never_seen_waits() {
        let nothing = ColumnType::Struct(vec![Field::new("x", ColumnType::Null)]);
        let list = ColumnType::List(Box::new(Field::new("item", ColumnType::Null)));
        let schema = schema(&[("a", ColumnType::Null), ("b", nothing), ("c", list), ("d", ColumnType::Date)]);
        assert_eq!(written(&schema).fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["d"]);
    }
}
