//! Arrays of the type Null on their way out of polars.
//!
//! polars exports them with one buffer where the specification has none, and arrow-rs refuses that. So they travel as booleans
//! that are all null, and become what they were on the other side. Every other array passes untouched.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, LargeListArray, NullArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use polars_arrow::array as polars;
use polars_arrow::datatypes::{ArrowDataType, Field as PolarsField};

fn has_null_type(data_type: &ArrowDataType) -> bool {
    match data_type {
        ArrowDataType::Null => true,
        ArrowDataType::LargeList(item) => has_null_type(&item.dtype),
        ArrowDataType::Struct(fields) => fields.iter().any(|field| has_null_type(&field.dtype)),
        _ => false,
    }
}

/// The array with booleans in the place of Null arrays, at every depth.
pub(super) fn veil(array: Box<dyn polars::Array>) -> Box<dyn polars::Array> {
    if !has_null_type(array.dtype()) {
        return array;
    }
    if let Some(list) = array.as_any().downcast_ref::<polars::ListArray<i64>>() {
        let values = veil(list.values().clone());
        let data_type = polars::ListArray::<i64>::default_datatype(values.dtype().clone());
        return Box::new(polars::ListArray::<i64>::new(data_type, list.offsets().clone(), values, list.validity().cloned()));
    }
    if let (Some(array), ArrowDataType::Struct(fields)) = (array.as_any().downcast_ref::<polars::StructArray>(), array.dtype()) {
        let values: Vec<Box<dyn polars::Array>> = array.values().iter().map(|values| veil(values.clone())).collect();
        let veiled = fields.iter().zip(&values);
        let fields = veiled.map(|(field, values)| PolarsField::new(field.name.clone(), values.dtype().clone(), true)).collect();
        let data_type = ArrowDataType::Struct(fields);
        return Box::new(polars::StructArray::new(data_type, array.len(), values, array.validity().cloned()));
    }
    Box::new(polars::BooleanArray::new_null(ArrowDataType::Boolean, array.len()))
}

/// The array as it was before `veil`; `data_type` is its type from then.
pub(super) fn unveil(array: ArrayRef, data_type: &ArrowDataType) -> Result<ArrayRef, String> {
    if !has_null_type(data_type) {
        return Ok(array);
    }
    if let (Some(list), ArrowDataType::LargeList(item)) = (array.as_any().downcast_ref::<LargeListArray>(), data_type) {
        let values = unveil(Arc::clone(list.values()), &item.dtype)?;
        let field = Field::new(item.name.as_str(), values.data_type().clone(), true);
        let list = LargeListArray::try_new(Arc::new(field), list.offsets().clone(), values, list.nulls().cloned());
        return Ok(Arc::new(list.map_err(|error| error.to_string())?));
    }
    if let (Some(array), ArrowDataType::Struct(fields)) = (array.as_any().downcast_ref::<StructArray>(), data_type) {
        let mut columns = Vec::with_capacity(fields.len());
        for (field, column) in fields.iter().zip(array.columns()) {
            columns.push(unveil(Arc::clone(column), &field.dtype)?);
        }
        let named = fields.iter().zip(&columns);
        let fields: Fields =
            named.map(|(field, column)| Field::new(field.name.as_str(), column.data_type().clone(), true)).collect();
        let array = StructArray::try_new_with_length(fields, columns, array.nulls().cloned(), array.len());
        return Ok(Arc::new(array.map_err(|error| error.to_string())?));
    }
    debug_assert_eq!(array.data_type(), &DataType::Boolean, "only booleans stand in for the Null type");
    Ok(Arc::new(NullArray::new(array.len())))
}
