//! Arrow's record batches to polars' frames and back, without copying a value.
//!
//! Both sides speak the Arrow C Data Interface, whose two structs are fixed by its specification
//! (<https://arrow.apache.org/docs/format/CDataInterface.html>). Each library has its own Rust type for them; an exported array
//! moves from the one type into the other, and with it the duty to release it. This is the only unsafe code of the room.
//!
//! Whole numbers of 8 and 16 bits come back with 32 (our polars is built without them: its code grows with every type).
//! polars knows no field metadata and no names of list items: a batch that comes back has neither. Who needs them keeps the
//! columns that did not change on the Arrow side (see `rows`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, LargeListArray, NullArray, RecordBatch, RecordBatchOptions, StructArray, make_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use polars::prelude::{Column, CompatLevel, DataFrame, Series};
use polars_arrow::array::Array as PolarsArray;
use polars_arrow::datatypes::{ArrowDataType, Field as PolarsField};
use polars_arrow::ffi::{ArrowArray, ArrowSchema, export_array_to_c, export_field_to_c};
use polars_arrow::ffi::{import_array_from_c, import_field_from_c};

// The specification fixes nine and ten fields of 64 bits on a 64-bit machine; both libraries declare them `#[repr(C)]`. A release
// of either that adds a field of its own stops the build here, rather than corrupting memory.
const _: () = assert!(size_of::<FFI_ArrowArray>() == size_of::<ArrowArray>());
const _: () = assert!(align_of::<FFI_ArrowArray>() == align_of::<ArrowArray>());
const _: () = assert!(size_of::<FFI_ArrowSchema>() == size_of::<ArrowSchema>());
const _: () = assert!(align_of::<FFI_ArrowSchema>() == align_of::<ArrowSchema>());
const _: () = assert!(size_of::<ArrowArray>() == 5 * 8 + 5 * size_of::<usize>());
const _: () = assert!(size_of::<ArrowSchema>() == 2 * 8 + 7 * size_of::<usize>());

/// A frame over the batch's own buffers. Types that polars lacks (maps, unions) are an error that names the column.
pub fn to_frame(batch: &RecordBatch) -> Result<DataFrame, String> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let series = to_series(field, array).map_err(|reason| format!("column `{}`: {reason}", field.name()))?;
        columns.push(Column::from(series));
    }
    DataFrame::new(batch.num_rows(), columns).map_err(|error| error.to_string())
}

/// A batch over the frame's own buffers; columns of several chunks are joined first, which copies them. Text comes as Utf8View,
/// lists as LargeList.
pub fn to_batch(frame: DataFrame) -> Result<RecordBatch, String> {
    let rows = frame.height();
    let mut fields = Vec::with_capacity(frame.width());
    let mut arrays = Vec::with_capacity(frame.width());
    for column in frame.into_columns() {
        let name = column.name().to_string();
        let array = to_array(column).map_err(|reason| format!("column `{name}`: {reason}"))?;
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(|error| error.to_string())
}

fn to_series(field: &Field, array: &ArrayRef) -> Result<Series, String> {
    let widened = known_type(field.data_type());
    let array = &if widened == *field.data_type() {
        Arc::clone(array)
    } else {
        cast(array, &widened).map_err(|error| error.to_string())?
    };
    let schema = FFI_ArrowSchema::try_from(array.data_type()).map_err(|error| error.to_string())?;
    let exported = FFI_ArrowArray::new(&array.to_data());
    let imported = import_array(exported, schema)?;
    let field = PolarsField::new(field.name().as_str().into(), imported.dtype().clone(), true);
    Series::try_from((&field, imported)).map_err(|error| error.to_string())
}

/// The type as which polars knows this one: narrow integers are widened, at every depth.
fn known_type(data_type: &DataType) -> DataType {
    let known_field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(known_type(field.data_type())));
    match data_type {
        DataType::Int8 | DataType::Int16 => DataType::Int32,
        DataType::UInt8 | DataType::UInt16 => DataType::UInt32,
        DataType::List(item) => DataType::List(known_field(item)),
        DataType::LargeList(item) => DataType::LargeList(known_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(known_field).collect()),
        other => other.clone(),
    }
}

fn to_array(column: Column) -> Result<ArrayRef, String> {
    let array = column.rechunk_to_arrow(CompatLevel::newest());
    let data_type = array.dtype().clone();
    let array = veil(array);
    let field = PolarsField::new("".into(), array.dtype().clone(), true);
    let exported = export_array(export_array_to_c(array), export_field_to_c(&field))?;
    unveil(exported, &data_type)
}

fn import_array(array: FFI_ArrowArray, schema: FFI_ArrowSchema) -> Result<Box<dyn PolarsArray>, String> {
    // SAFETY: (1) Layout: both types are `#[repr(C)]` mirrors of the same struct of the C Data Interface, asserted above.
    // (2) Ownership: transmute moves the value, so exactly one of the two types' `Drop` runs, and it calls the `release` that
    // the exporter put in, once. (3) Threads: the exporter's private data are `Arc`s of immutable buffers.
    let (array, schema) = unsafe {
        (std::mem::transmute::<FFI_ArrowArray, ArrowArray>(array), std::mem::transmute::<FFI_ArrowSchema, ArrowSchema>(schema))
    };
    // SAFETY: the struct was exported by arrow-rs just now, which fills it as the specification demands.
    let field = unsafe { import_field_from_c(&schema) }.map_err(|error| error.to_string())?;
    // SAFETY: as above, and `field` is the type that the same column was exported with. The buffers are never written to: the
    // importer keeps the struct alive as their owner and treats them as shared.
    unsafe { import_array_from_c(array, field.dtype) }.map_err(|error| error.to_string())
}

fn export_array(array: ArrowArray, schema: ArrowSchema) -> Result<ArrayRef, String> {
    // SAFETY: layout, ownership and threads as in `import_array`, the other way round.
    let (array, schema) = unsafe {
        (std::mem::transmute::<ArrowArray, FFI_ArrowArray>(array), std::mem::transmute::<ArrowSchema, FFI_ArrowSchema>(schema))
    };
    // SAFETY: both structs were exported by polars-arrow just now, from one and the same array.
    let data = unsafe { from_ffi(array, &schema) }.map_err(|error| error.to_string())?;
    Ok(make_array(data))
}

// Arrays of the type Null on their way out of polars: it exports them with one buffer where the specification has none, and arrow-rs
// refuses that. So they travel as booleans that are all null, and become what they were on the other side. Every other array passes
// untouched.

fn has_null_type(data_type: &ArrowDataType) -> bool {
    match data_type {
        ArrowDataType::Null => true,
        ArrowDataType::LargeList(item) => has_null_type(&item.dtype),
        ArrowDataType::Struct(fields) => fields.iter().any(|field| has_null_type(&field.dtype)),
        _ => false,
    }
}

/// The array with booleans in the place of Null arrays, at every depth.
fn veil(array: Box<dyn PolarsArray>) -> Box<dyn PolarsArray> {
    if !has_null_type(array.dtype()) {
        return array;
    }
    if let Some(list) = array.as_any().downcast_ref::<polars_arrow::array::ListArray<i64>>() {
        let values = veil(list.values().clone());
        let data_type = polars_arrow::array::ListArray::<i64>::default_datatype(values.dtype().clone());
        return Box::new(polars_arrow::array::ListArray::<i64>::new(
            data_type,
            list.offsets().clone(),
            values,
            list.validity().cloned(),
        ));
    }
    if let (Some(array), ArrowDataType::Struct(fields)) =
        (array.as_any().downcast_ref::<polars_arrow::array::StructArray>(), array.dtype())
    {
        let values: Vec<Box<dyn PolarsArray>> = array.values().iter().map(|values| veil(values.clone())).collect();
        let veiled = fields.iter().zip(&values);
        let fields = veiled.map(|(field, values)| PolarsField::new(field.name.clone(), values.dtype().clone(), true)).collect();
        let data_type = ArrowDataType::Struct(fields);
        return Box::new(polars_arrow::array::StructArray::new(data_type, array.len(), values, array.validity().cloned()));
    }
    Box::new(polars_arrow::array::BooleanArray::new_null(ArrowDataType::Boolean, array.len()))
}

/// The array as it was before `veil`; `data_type` is its type from then.
fn unveil(array: ArrayRef, data_type: &ArrowDataType) -> Result<ArrayRef, String> {
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

#[cfg(test)]
mod tests;
