use arrow::array::{AsArray, Date32Array, Float32Array, Float64Array, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};

use super::*;

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringViewArray::from(values.to_vec()))
}

fn cast_to(array: ArrayRef, target: &ColumnType) -> (ArrayRef, Vec<usize>) {
    let (array, misfits) = cast_column(&array, target).unwrap();
    assert_eq!(*array.data_type(), target.to_arrow());
    (array, misfits.into_iter().map(|(index, _)| index).collect())
}

#[test]
fn text_to_whole_numbers() {
    let values = [
        "0",
        "-7",
        "+3",
        "9223372036854775807",
        "9223372036854775808",
        "1e3",
        "12.0",
        "1.5",
        "abc",
        "",
        " 1",
        "1_0",
        "0x1",
        "1e400",
    ];
    let (array, misfits) = cast_to(texts(&values), &ColumnType::Int64);
    assert_eq!(misfits, [4, 7, 8, 9, 10, 11, 12, 13]);
    let found: Vec<Option<i64>> = array.as_primitive::<Int64Type>().iter().take(7).collect();
    assert_eq!(found, [Some(0), Some(-7), Some(3), Some(i64::MAX), None, Some(1000), Some(12)]);
    assert_eq!(cast_to(texts(&["255", "256", "-1"]), &ColumnType::Uint8).1, [1, 2]);
    assert_eq!(cast_to(texts(&["18446744073709551615", "18446744073709551616"]), &ColumnType::Uint64).1, [1]);
}

#[test]
fn floats_to_whole_numbers_are_never_rounded() {
    let values = Float64Array::from(vec![
        Some(1.0),
        Some(1.5),
        None,
        Some(1e300),
        Some(f64::NAN),
        Some(f64::INFINITY),
        Some(-0.0),
        Some(9_223_372_036_854_775_808.0),
    ]);
    let (array, misfits) = cast_to(Arc::new(values), &ColumnType::Int64);
    assert_eq!(misfits, [1, 3, 4, 5, 7]);
    assert!(array.is_null(2));
    assert_eq!(array.as_primitive::<Int64Type>().value(6), 0);
}

#[test]
fn numbers_to_floats_come_back_whole() {
    let values = Int64Array::from(vec![0, 1 << 53, (1 << 53) + 1, i64::MAX, -3]);
    assert_eq!(cast_to(Arc::new(values), &ColumnType::Float64).1, [2, 3]);
    let values = [
        "0.1",
        "0.10000000000000001",
        "9007199254740993",
        "1e400",
        "NaN",
        "inf",
        "0.10000000000000000001",
        "-0",
        "1.",
        ".5",
        ".",
    ];
    let (array, misfits) = cast_to(texts(&values), &ColumnType::Float64);
    assert_eq!(misfits, [2, 3, 4, 5, 6, 10]);
    assert_eq!(array.as_primitive::<Float64Type>().value(1), 0.1);
    let values = Float64Array::from(vec![0.5, 0.1, f64::NAN, 1e300]);
    assert_eq!(cast_to(Arc::new(values), &ColumnType::Float32).1, [1, 3]);
}

#[test]
fn decimals_are_exact() {
    let target = ColumnType::Decimal { precision: 5, scale: 2 };
    let (array, misfits) = cast_to(texts(&["1.5", "-999.99", "1000", "0.005", "0.010", "1e2", "x"]), &target);
    assert_eq!(misfits, [2, 3, 6]);
    let found: Vec<Option<i128>> = array.as_primitive::<Decimal128Type>().iter().collect();
    assert_eq!(found, [Some(150), Some(-99_999), None, None, Some(1), Some(10_000), None]);
    let (array, misfits) = cast_to(Arc::new(Float64Array::from(vec![1.1, 0.125, 2.0])), &target);
    assert_eq!((misfits, array.as_primitive::<Decimal128Type>().value(0)), (vec![1], 110));
    let back = cast_to(Arc::clone(&array), &ColumnType::Text).0;
    assert_eq!((back.as_string_view().value(0), back.as_string_view().value(2)), ("1.10", "2.00"));
    assert_eq!(cast_to(array, &ColumnType::Int64).1, [0]);
}

#[test]
fn text_to_instants_and_dates() {
    let values = [
        "1970-01-01T00:00:01Z",
        "1970-01-01T02:00:01.5+02:00",
        "1970-01-01T00:00:01",
        "1970-01-01",
        "yesterday",
        "1970-01-01T00:00:00.0000001Z",
        "2024-02-30T00:00:00Z",
    ];
    let (array, misfits) = cast_to(texts(&values), &ColumnType::Timestamp);
    assert_eq!(misfits, [2, 3, 4, 5, 6]);
    assert_eq!(array.as_primitive::<TimestampMicrosecondType>().values()[..2], [1_000_000, 1_500_000]);
    let (array, misfits) =
        cast_to(texts(&["1969-12-31", "2024-02-29", "2023-02-29", "1970-01-01T00:00:00Z", "19700101"]), &ColumnType::Date);
    assert_eq!(misfits, [2, 3, 4]);
    assert_eq!(array.as_primitive::<Date32Type>().values()[..2], [-1, 19_782]);
    let instants = TimestampMicrosecondArray::from(vec![-86_400_000_000, 1]).with_timezone("UTC");
    let (array, misfits) = cast_to(Arc::new(instants), &ColumnType::Date);
    assert_eq!((misfits, array.as_primitive::<Date32Type>().value(0)), (vec![1], -1));
}

#[test]
fn everything_flat_becomes_text_that_reads_back() {
    let text = |array: ArrayRef| {
        let (array, misfits) = cast_to(array, &ColumnType::Text);
        assert!(misfits.is_empty());
        array.as_string_view().iter().map(|text| text.unwrap_or("null").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(text(Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))), ["-9223372036854775808", "null"]);
    assert_eq!(text(Arc::new(Float64Array::from(vec![0.1, 1e300, 3.0]))), ["0.1", "1e300", "3.0"]);
    assert_eq!(text(Arc::new(Float32Array::from(vec![0.1]))), ["0.1"]);
    assert_eq!(text(Arc::new(Date32Array::from(vec![-1]))), ["1969-12-31"]);
    let instants = TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC");
    assert_eq!(text(Arc::new(instants)), ["1970-01-01T00:00:01.5Z"]);
    assert_eq!(cast_to(texts(&["true", "false", "TRUE", "1"]), &ColumnType::Boolean).1, [2, 3]);
}
