//! `flatten`: a struct's fields become columns `outer<separator>inner`, recursively, in the struct's place.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef};

use super::super::rows::{Fault, Rows};
use crate::schema::ColumnType;

pub(super) fn apply(mut rows: Rows, columns: &[String], separator: &str) -> Result<Rows, Fault> {
    rows.demand(columns.iter().map(String::as_str))?;
    let present = rows.columns();
    // With each column where it comes from, to be able to name both sides of a collision.
    let mut flat: Vec<(FieldRef, ArrayRef, String)> = Vec::with_capacity(present.len());
    for (field, array) in present {
        if !columns.contains(field.name()) {
            let origin = field.name().clone();
            flat.push((field, array, origin));
            continue;
        }
        match field.data_type() {
            DataType::Null => {
                // Never seen a value: it may become a struct yet, whose fields later steps may name.
                rows.expect_unseen(format!("{}{separator}", field.name()));
                let origin = field.name().clone();
                flat.push((field, array, origin));
            }
            DataType::Struct(_) => {
                let origin = field.name().clone();
                add_fields(&field, array.as_struct(), separator, &origin, &mut rows, &mut flat)?;
            }
            other => {
                let found = ColumnType::from_arrow(other).map_or_else(|other| other.to_string(), |found| found.to_string());
                let help = "only structs have fields to flatten; take it out of `columns`";
                return Err(Fault::config(format!("column `{}` is {found}: {help}", field.name())));
            }
        }
    }
    for (index, (field, _, origin)) in flat.iter().enumerate() {
        if let Some((_, _, other)) = flat[..index].iter().find(|(other, ..)| other.name() == field.name()) {
            let text = format!(
                "`{other}` and `{origin}` would both be the column `{}`: rename one before, or choose another separator",
                field.name()
            );
            return Err(Fault::config(text));
        }
    }
    rows.set_columns(flat.into_iter().map(|(field, array, _)| (field, array)).collect())
}

fn add_fields(
    outer: &FieldRef,
    array: &StructArray,
    separator: &str,
    origin: &str,
    rows: &mut Rows,
    flat: &mut Vec<(FieldRef, ArrayRef, String)>,
) -> Result<(), Fault> {
    for (inner, column) in array.fields().iter().zip(array.columns()) {
        let name = format!("{}{separator}{}", outer.name(), inner.name());
        let origin = format!("{origin}.{}", inner.name());
        let column = under_nulls(column, array.nulls())?;
        let field = Arc::new(inner.as_ref().clone().with_name(&name).with_nullable(true));
        match inner.data_type() {
            DataType::Struct(_) => add_fields(&field, column.as_struct(), separator, &origin, rows, flat)?,
            data_type => {
                if *data_type == DataType::Null {
                    rows.expect_unseen(format!("{name}{separator}"));
                }
                flat.push((field, column, origin));
            }
        }
    }
    Ok(())
}

/// The field's values where the struct itself is there, null elsewhere.
fn under_nulls(column: &ArrayRef, outer: Option<&NullBuffer>) -> Result<ArrayRef, Fault> {
    if outer.is_none_or(|nulls| nulls.null_count() == 0) || *column.data_type() == DataType::Null {
        return Ok(Arc::clone(column));
    }
    let nulls = NullBuffer::union(outer, column.nulls());
    let data = column.to_data().into_builder().nulls(nulls).build();
    Ok(make_array(data.map_err(|error| Fault::bug(format!("cannot lay nulls over a field: {error}")))?))
}
