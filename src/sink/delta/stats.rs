//! What a Delta log says of a file's rows, so that readers can pass over it: taken from the footer of the file itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StructArray, TimestampMicrosecondArray};
use arrow::compute::{SortOptions, sort_limit, sum};
use arrow::datatypes::{DataType, Field, Fields, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::ParquetMetaData;

use crate::sink::SinkError;

/// Columns of a file that statistics are given of, as Delta's own writers do unless told otherwise.
const COLUMNS_MAX: usize = 32;
/// Delta keeps instants in statistics to the millisecond; in microseconds.
const MILLISECOND: i64 = 1_000;

/// Rows, nulls, smallest and largest values of a file, one row in the form of the kernel's statistics.
///
/// Only columns of whole numbers, text, dates and instants have a smallest and a largest value here: of floats the footer leaves
/// NaN out, which Delta's readers do not expect.
pub(super) fn of_file(metadata: &ParquetMetaData) -> Result<StructArray, SinkError> {
    let failed = |error: String| SinkError::bug(format!("a file's statistics cannot be told: {error}"));
    let file = metadata.file_metadata();
    let schema =
        parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata()).map_err(|error| failed(error.to_string()))?;
    let mut nulls = Section::default();
    let (mut smallest, mut largest) = (Section::default(), Section::default());
    for field in schema.fields().iter().take(COLUMNS_MAX) {
        if !is_told(field.data_type()) {
            continue;
        }
        let converter = StatisticsConverter::try_new(field.name(), &schema, file.schema_descr())
            .map_err(|error| failed(error.to_string()))?;
        let groups = metadata.row_groups();
        let counts = converter.row_group_null_counts(groups).map_err(|error| failed(error.to_string()))?;
        if counts.null_count() > 0 {
            continue;
        }
        let missing = sum(&counts).unwrap_or(0);
        let missing = i64::try_from(missing).map_err(|error| failed(error.to_string()))?;
        nulls.push(field.name(), Arc::new(Int64Array::from(vec![missing])));
        let least = converter.row_group_mins(groups).map_err(|error| failed(error.to_string()))?;
        let most = converter.row_group_maxes(groups).map_err(|error| failed(error.to_string()))?;
        // A row group without a bound may hold anything, unless it holds nothing.
        let open = |bounds: &ArrayRef| {
            groups.iter().enumerate().any(|(index, group)| {
                bounds.is_null(index) && i64::try_from(counts.value(index)).is_ok_and(|count| count < group.num_rows())
            })
        };
        if open(&least) || open(&most) || least.null_count() == least.len() {
            continue;
        }
        let first = |bounds: &ArrayRef, descending: bool| {
            sort_limit(bounds, Some(SortOptions { descending, nulls_first: false }), Some(1))
                .map_err(|error| failed(error.to_string()))
        };
        smallest.push(field.name(), to_milliseconds(first(&least, false)?, false));
        largest.push(field.name(), to_milliseconds(first(&most, true)?, true));
    }
    let rows: ArrayRef = Arc::new(Int64Array::from(vec![file.num_rows()]));
    let mut whole = Section::default();
    whole.push("numRecords", rows);
    for (name, section) in [("nullCount", nulls), ("minValues", smallest), ("maxValues", largest)] {
        if !section.columns.is_empty() {
            whole.push(name, Arc::new(section.end()?));
        }
    }
    whole.push("tightBounds", Arc::new(BooleanArray::from(vec![true])));
    whole.end()
}

fn is_told(data_type: &DataType) -> bool {
    data_type.is_signed_integer()
        || matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::Date32 | DataType::Timestamp(_, Some(_)))
}

/// An instant's bound, moved outwards to a whole millisecond.
fn to_milliseconds(bound: ArrayRef, up: bool) -> ArrayRef {
    let DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, zone) = bound.data_type() else { return bound };
    let moved = bound.as_primitive::<TimestampMicrosecondType>().iter().map(|at| {
        let at = at?;
        let floor = at.div_euclid(MILLISECOND).saturating_mul(MILLISECOND);
        Some(if up && floor < at { floor.saturating_add(MILLISECOND) } else { floor })
    });
    let moved = moved.collect::<TimestampMicrosecondArray>();
    match zone {
        Some(zone) => Arc::new(moved.with_timezone(Arc::clone(zone))),
        None => Arc::new(moved),
    }
}

#[derive(Default)]
struct Section {
    fields: Vec<Arc<Field>>,
    columns: Vec<ArrayRef>,
}

impl Section {
    fn push(&mut self, name: &str, column: ArrayRef) {
        self.fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
        self.columns.push(column);
    }

    fn end(self) -> Result<StructArray, SinkError> {
        StructArray::try_new(Fields::from(self.fields), self.columns, None).map_err(|error| SinkError::bug(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, RecordBatch, StringViewArray};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::ParquetMetaDataReader;

    use super::*;

    #[test]
    fn bounds_lie_outside_of_what_is_there() {
        let at = TimestampMicrosecondArray::from(vec![Some(1_500), None, Some(2_001)]).with_timezone("UTC");
        let long = "ü".repeat(300);
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(Int64Array::from(vec![3, 1, 2])) as ArrayRef, true),
            ("at", Arc::new(at) as ArrayRef, true),
            ("name", Arc::new(StringViewArray::from(vec![Some("b"), Some(long.as_str()), None])) as ArrayRef, true),
            ("empty", Arc::new(Int64Array::from(vec![None, None, None])) as ArrayRef, true),
            ("share", Arc::new(Float64Array::from(vec![f64::NAN, 1.0, 2.0])) as ArrayRef, true),
        ])
        .unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
        writer.write(&rows.slice(0, 2)).unwrap();
        writer.flush().unwrap();
        writer.write(&rows.slice(2, 1)).unwrap();
        writer.close().unwrap();
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(bytes)).unwrap();

        let stats = of_file(&metadata).unwrap();
        let number = |section: &str, name: &str| {
            let section = stats.column_by_name(section).unwrap().as_struct().clone();
            section.column_by_name(name).map(|column| arrow::compute::cast(column, &DataType::Int64).unwrap())
        };
        let value =
            |section, name| number(section, name).map(|column| column.as_primitive::<arrow::datatypes::Int64Type>().value(0));
        assert_eq!(stats.column_by_name("numRecords").unwrap().as_primitive::<arrow::datatypes::Int64Type>().value(0), 3);
        assert_eq!((value("minValues", "id"), value("maxValues", "id")), (Some(1), Some(3)));
        assert_eq!((value("minValues", "at"), value("maxValues", "at")), (Some(1_000), Some(3_000)));
        assert_eq!((value("nullCount", "at"), value("nullCount", "empty")), (Some(1), Some(3)));
        assert_eq!((value("minValues", "empty"), value("minValues", "share")), (None, None));
        let most = stats.column_by_name("maxValues").unwrap().as_struct().column_by_name("name").unwrap().clone();
        let most = arrow::compute::cast(&most, &DataType::Utf8).unwrap();
        let most = most.as_string::<i32>().value(0).to_owned();
        assert!(most.len() < long.len() && most.as_str() > long.as_str(), "{most}");
    }
}
