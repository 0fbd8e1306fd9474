//! Which columns of a file have next to no value twice: a dictionary of them would hold every value, be given up after a megabyte, and
//! cost a look-up a value until then. Judged by the first rows that a file gets.

use std::collections::HashSet;

use ahash::RandomState;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use parquet::schema::types::ColumnPath;

/// Fewer values say nothing.
const VALUES_MIN: usize = 64;
/// One of so many may come twice. Of a thousand values drawn from thirty thousand as many do, and a dictionary of these is still small.
const TWICE_MAX: usize = 64;

/// The columns that are written without a dictionary, fields of structs included; lists keep theirs.
pub fn without_dictionary(rows: &RecordBatch) -> Vec<ColumnPath> {
    let mut found = Vec::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        judge(column, &mut vec![field.name().clone()], &mut found);
    }
    found
}

fn judge(column: &ArrayRef, path: &mut Vec<String>, found: &mut Vec<ColumnPath>) {
    if let DataType::Struct(fields) = column.data_type() {
        for (field, column) in fields.iter().zip(column.as_struct().columns()) {
            path.push(field.name().clone());
            judge(column, path, found);
            path.pop();
        }
    } else if are_distinct(column) {
        found.push(ColumnPath::new(path.clone()));
    }
}

fn are_distinct(column: &ArrayRef) -> bool {
    let distinct = |values: &mut dyn Iterator<Item = u64>| {
        let (mut seen, mut count) = (HashSet::with_hasher(RandomState::new()), 0);
        for value in values {
            seen.insert(value);
            count += 1;
        }
        count >= VALUES_MIN && (count - seen.len()) * TWICE_MAX <= count
    };
    let keyed = RandomState::new();
    match column.data_type() {
        DataType::Int64 => distinct(&mut column.as_primitive::<Int64Type>().iter().flatten().map(i64::cast_unsigned)),
        DataType::Float64 => distinct(&mut column.as_primitive::<Float64Type>().iter().flatten().map(f64::to_bits)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            distinct(&mut column.as_primitive::<TimestampMicrosecondType>().iter().flatten().map(i64::cast_unsigned))
        }
        DataType::Date32 => {
            distinct(&mut column.as_primitive::<Date32Type>().iter().flatten().map(|day| u64::from(day.cast_unsigned())))
        }
        DataType::Decimal128(..) => {
            distinct(&mut column.as_primitive::<Decimal128Type>().iter().flatten().map(|value| keyed.hash_one(value)))
        }
        DataType::Utf8View => distinct(&mut column.as_string_view().iter().flatten().map(|text| keyed.hash_one(text))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Int64Array, StringViewArray, StructArray};
    use arrow::datatypes::Field;

    use super::*;

    fn paths(columns: Vec<(&str, ArrayRef)>) -> Vec<String> {
        let rows = RecordBatch::try_from_iter(columns).expect("rows");
        without_dictionary(&rows).iter().map(ColumnPath::string).collect()
    }

    #[test]
    fn only_columns_of_distinct_values_go_without() {
        let numbers = |most: i64| Arc::new(Int64Array::from_iter_values((0..1000).map(|row| row % most))) as ArrayRef;
        let texts = |most: usize| {
            Arc::new(StringViewArray::from_iter_values((0..1000).map(|row| format!("text {}", row % most)))) as ArrayRef
        };
        let inner = StructArray::from(vec![
            (Arc::new(Field::new("login", DataType::Utf8View, true)), texts(1000)),
            (Arc::new(Field::new("kind", DataType::Utf8View, true)), texts(3)),
        ]);
        let columns = vec![
            ("id", numbers(1000)),
            ("nearly", numbers(990)),
            ("group", numbers(900)),
            ("url", texts(1000)),
            ("state", texts(3)),
            ("open", Arc::new(BooleanArray::from(vec![true; 1000])) as ArrayRef),
            ("user", Arc::new(inner) as ArrayRef),
            ("none", Arc::new(Int64Array::from(vec![None; 1000])) as ArrayRef),
        ];
        assert_eq!(paths(columns), ["id", "nearly", "url", "user.login"]);
    }

    #[test]
    fn a_few_rows_say_nothing() {
        let few = Arc::new(Int64Array::from_iter_values(0..60)) as ArrayRef;
        assert!(paths(vec![("id", few)]).is_empty());
    }
}
