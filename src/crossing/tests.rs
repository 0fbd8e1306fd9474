use std::sync::Arc;

use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    LargeListArray, NullArray, StringViewArray, StructArray, Time64NanosecondArray, TimestampMicrosecondArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array, new_empty_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Fields};

use super::*;
use crate::schema::{ColumnType, Field as OurField};

fn list_type(item: ColumnType) -> ColumnType {
    ColumnType::List(Box::new(OurField::new("item", item)))
}

fn inner_type() -> ColumnType {
    ColumnType::Struct(vec![OurField::new("n", ColumnType::Int64), OurField::new("tags", list_type(ColumnType::Text))])
}

/// Every type of ours, nulls at each level of the nested ones.
fn all_types() -> RecordBatch {
    let long = "a text that is too long to stand in a view itself";
    let texts = StringViewArray::from(vec![Some("short"), None, Some(long), Some("")]);
    let tags = LargeListArray::new(
        Arc::new(OurField::new("item", ColumnType::Text).to_arrow()),
        OffsetBuffer::new(vec![0, 2, 2, 2, 3].into()),
        Arc::new(StringViewArray::from(vec![Some("x"), None, Some(long)])),
        Some(NullBuffer::from(vec![true, false, true, true])),
    );
    let DataType::Struct(fields) = inner_type().to_arrow() else { unreachable!("a struct") };
    let inner = StructArray::new(
        fields,
        vec![Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(i64::MAX)])), Arc::new(tags)],
        Some(NullBuffer::from(vec![true, true, false, true])),
    );
    let outer_fields: Fields = vec![OurField::new("inner", inner_type()).to_arrow()].into();
    let outer =
        StructArray::new(outer_fields, vec![Arc::new(inner.clone())], Some(NullBuffer::from(vec![false, true, true, true])));
    let structs = LargeListArray::new(
        Arc::new(OurField::new("item", inner_type()).to_arrow()),
        OffsetBuffer::new(vec![0, 0, 1, 4, 4].into()),
        Arc::new(inner),
        Some(NullBuffer::from(vec![true, true, true, false])),
    );
    let decimals = Decimal128Array::from(vec![Some(12_345), None, Some(-1), Some(10_i128.pow(37))]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("null", Arc::new(NullArray::new(4))),
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]))),
        ("int8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(0), Some(i8::MAX)]))),
        ("int16", Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(0), Some(i16::MAX)]))),
        ("int32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(0), Some(i32::MAX)]))),
        ("int64", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(0), Some(i64::MAX)]))),
        ("uint8", Arc::new(UInt8Array::from(vec![Some(0), None, Some(1), Some(u8::MAX)]))),
        ("uint16", Arc::new(UInt16Array::from(vec![Some(0), None, Some(1), Some(u16::MAX)]))),
        ("uint32", Arc::new(UInt32Array::from(vec![Some(0), None, Some(1), Some(u32::MAX)]))),
        ("uint64", Arc::new(UInt64Array::from(vec![Some(0), None, Some(1), Some(u64::MAX)]))),
        ("float32", Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::INFINITY), Some(-0.0)]))),
        ("float64", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(f64::MAX), Some(-0.0)]))),
        ("decimal", Arc::new(decimals.with_precision_and_scale(38, 4).unwrap())),
        ("text", Arc::new(texts)),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(0), Some(1)]).with_timezone("UTC"))),
        ("local", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(0), Some(1)]))),
        ("date", Arc::new(Date32Array::from(vec![Some(-1), None, Some(0), Some(20_000)]))),
        ("time", Arc::new(Time64NanosecondArray::from(vec![Some(0), None, Some(1), Some(86_399_999_999_999)]))),
        ("struct", Arc::new(outer)),
        ("list", Arc::new(structs)),
    ];
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

fn round_trip(batch: &RecordBatch) -> RecordBatch {
    to_batch(to_frame(batch).unwrap()).unwrap()
}

/// polars names list items as it likes; a cast puts our names back and changes nothing else.
fn assert_same(before: &RecordBatch, after: &RecordBatch) {
    assert_eq!(before.num_rows(), after.num_rows());
    for (field, (left, right)) in before.schema().fields().iter().zip(before.columns().iter().zip(after.columns())) {
        let right = cast(right, field.data_type()).unwrap();
        assert_eq!(left, &right, "column {}", field.name());
    }
}

#[test]
fn every_type_comes_back_as_it_went() {
    let batch = all_types();
    let back = round_trip(&batch);
    assert_same(&batch, &back);
    for (field, other) in batch.schema().fields().iter().zip(back.schema().fields()) {
        let narrow = field.data_type().is_integer() && !matches!(field.name().as_str(), "int32" | "int64" | "uint32" | "uint64");
        if !field.data_type().is_nested() && !narrow {
            assert_eq!(field.data_type(), other.data_type(), "column {}", field.name());
        }
    }
}

/// What a decoder makes of `[]` and of `{"a": null}` before it has seen a value.
#[test]
fn the_null_type_crosses_at_every_depth() {
    let lists = LargeListArray::new(
        Arc::new(Field::new("item", DataType::Null, true)),
        OffsetBuffer::new(vec![0, 2, 2, 3].into()),
        Arc::new(NullArray::new(3)),
        Some(NullBuffer::from(vec![true, false, true])),
    );
    let fields: Fields =
        vec![Field::new("never", DataType::Null, true), Field::new("lists", lists.data_type().clone(), true)].into();
    let columns: Vec<ArrayRef> = vec![Arc::new(NullArray::new(3)), Arc::new(lists)];
    let structs: ArrayRef = Arc::new(StructArray::new(fields, columns, Some(NullBuffer::from(vec![false, true, true]))));
    let batch = RecordBatch::try_from_iter([("s", structs)]).unwrap();
    assert_same(&batch, &round_trip(&batch));
    assert_same(&batch.slice(1, 2), &round_trip(&batch.slice(1, 2)));
}

#[test]
fn slices_and_empty_batches_cross() {
    let batch = all_types();
    for (start, length) in [(0, 0), (0, 1), (1, 1), (1, 3), (2, 2), (3, 1), (4, 0)] {
        let part = batch.slice(start, length);
        assert_same(&part, &round_trip(&part));
    }
    let schema = batch.schema();
    let empty: Vec<ArrayRef> = schema.fields().iter().map(|field| new_empty_array(field.data_type())).collect();
    let empty = RecordBatch::try_new(schema, empty).unwrap();
    assert_same(&empty, &round_trip(&empty));
}

#[test]
fn a_batch_without_columns_keeps_its_rows() {
    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    assert_eq!(round_trip(&batch).num_rows(), 3);
}

#[test]
fn numbers_and_texts_keep_their_buffers() {
    let numbers = Int64Array::from((0..1000).collect::<Vec<i64>>());
    let texts: StringViewArray = (0..1000).map(|n| Some(format!("a text of more than twelve bytes, {n}"))).collect();
    let batch =
        RecordBatch::try_from_iter([("n", Arc::new(numbers.clone()) as ArrayRef), ("t", Arc::new(texts.clone()))]).unwrap();
    let back = round_trip(&batch);
    let back_numbers = back.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
    let back_texts = back.column(1).as_any().downcast_ref::<StringViewArray>().unwrap();
    assert_eq!(numbers.values().as_ptr(), back_numbers.values().as_ptr());
    assert_eq!(texts.views().as_ptr(), back_texts.views().as_ptr());
    assert_eq!(texts.data_buffers()[0].as_ptr(), back_texts.data_buffers()[0].as_ptr());
}

#[test]
fn a_batch_outlives_the_frame_and_the_other_way_round() {
    let batch = all_types();
    let frame = to_frame(&batch).unwrap();
    let copy = all_types();
    drop(batch);
    assert_eq!(frame.height(), 4);
    let back = to_batch(frame.clone()).unwrap();
    drop(frame);
    assert_same(&copy, &back);
}
