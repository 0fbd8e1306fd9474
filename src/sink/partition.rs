//! Rows to hive directories: `created_at_month=2026-01`.

use std::collections::HashMap;
use std::hash::Hash;

use ahash::RandomState;
use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, TimestampMicrosecondType};
use jiff::Timestamp;
use jiff::civil::{Date, Time, date};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::catalog::{PartitionColumn, PartitionUnit};

use super::SinkError;

/// What readers of hive directories take for null.
const NULL_DIRECTORY: &str = "__HIVE_DEFAULT_PARTITION__";
/// Longest encoded value of a directory, bytes: file systems allow 255 for a name, and the key stands before it.
const VALUE_MAX: usize = 180;
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Directory values of some rows: one a partition column; `None` is null.
pub type Values = Vec<Option<String>>;

/// A row whose value makes no directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit<'a> {
    pub row: usize,
    pub column: &'a str,
    pub reason: String,
}

/// The rows whose texts make no directory; at most one entry a row, in order.
pub fn unfit<'a>(rows: &RecordBatch, columns: &'a [PartitionColumn]) -> Vec<Unfit<'a>> {
    let mut found = Vec::new();
    for column in columns.iter().filter(|column| column.unit == PartitionUnit::Value) {
        let Some(texts) = rows.column_by_name(&column.column).and_then(|array| array.as_string_view_opt()) else { continue };
        let reasons = texts.iter().enumerate().filter_map(|(row, text)| Some((row, why_unfit(text?)?)));
        found.extend(reasons.map(|(row, reason)| Unfit { row, column: &column.column, reason }));
    }
    found.sort_by_key(|unfit| unfit.row);
    found.dedup_by_key(|unfit| unfit.row);
    found
}

/// Why a text is no name of a directory, if it is none.
fn why_unfit(text: &str) -> Option<String> {
    match text {
        // Some would read it back as null, others as text.
        "" => Some("an empty text names no partition".to_owned()),
        NULL_DIRECTORY => Some(format!("the name of the partition of rows without a value: `{text}`")),
        // Three bytes stand for one that is encoded.
        text if text.len() <= VALUE_MAX / 3 => None,
        text => match utf8_percent_encode(text, PLAIN).map(str::len).sum::<usize>() {
            length if length > VALUE_MAX => {
                Some(format!("too long for the name of a partition, which takes {VALUE_MAX} bytes, encoded: `{length}`"))
            }
            _ => None,
        },
    }
}

/// The numbers of the rows of each partition, in order of first appearance. Rows keep their order.
pub fn split(rows: &RecordBatch, columns: &[PartitionColumn]) -> Result<Vec<(Values, Vec<u32>)>, SinkError> {
    let count = u32::try_from(rows.num_rows()).map_err(|_| SinkError::bug("a page of more than 2^32 rows"))?;
    if columns.is_empty() || count == 0 {
        return Ok(if count == 0 { Vec::new() } else { vec![(Vec::new(), (0..count).collect())] });
    }
    let columns = columns.iter().map(|column| Ok((column.unit, bucket(rows, column)?))).collect::<Result<Vec<_>, SinkError>>()?;
    let mut order: Vec<(Values, Vec<u32>)> = Vec::new();
    let mut groups: HashMap<Vec<u32>, usize, RandomState> = HashMap::default();
    let mut numbers = Vec::with_capacity(columns.len());
    for row in 0..count {
        numbers.clear();
        numbers.extend(columns.iter().map(|(_, buckets)| buckets.of_rows[row as usize]));
        let group = match groups.get(&numbers) {
            Some(group) => *group,
            None => {
                let values = columns.iter().zip(&numbers).map(|((unit, buckets), number)| buckets.value(*number, *unit));
                order.push((values.collect::<Result<_, _>>()?, Vec::new()));
                groups.insert(numbers.clone(), order.len() - 1);
                order.len() - 1
            }
        };
        order[group].1.push(row);
    }
    Ok(order)
}

/// These rows of a batch; all of them are the batch itself.
pub fn pick(rows: &RecordBatch, numbers: Vec<u32>) -> Result<RecordBatch, SinkError> {
    if numbers.len() == rows.num_rows() {
        return Ok(rows.clone());
    }
    take_record_batch(rows, &UInt32Array::from(numbers)).map_err(|error| SinkError::bug(error.to_string()))
}

/// `key=value/key=value`, percent-encoded; empty without partitions.
pub fn directory(columns: &[PartitionColumn], values: &Values) -> Result<String, SinkError> {
    let mut parts = Vec::with_capacity(columns.len());
    for (column, value) in columns.iter().zip(values) {
        let value = match value {
            // DuckDB takes the word for null before it decodes what is encoded.
            Some(value) if value.eq_ignore_ascii_case("null") => format!("%{:02X}{}", value.as_bytes()[0], &value[1..]),
            Some(value) => utf8_percent_encode(value, PLAIN).to_string(),
            None => NULL_DIRECTORY.to_owned(),
        };
        if value.len() > VALUE_MAX {
            return Err(SinkError::bug(format!(
                "a value of the partition column `{}` was let through though it has {} bytes encoded",
                column.column,
                value.len()
            )));
        }
        parts.push(format!("{}={value}", utf8_percent_encode(&column.key(), PLAIN)));
    }
    Ok(parts.join("/"))
}

/// The first moment behind a partition of time, by the value in its directory's name; `None` for one that is no time.
pub fn end_of(unit: PartitionUnit, value: &str) -> Option<Timestamp> {
    let (day, hour) = value.split_once('T').map_or((value, "0"), |(day, hour)| (day, hour));
    let mut parts = day.splitn(3, '-').map(str::parse::<i16>);
    let year = parts.next()?.ok()?;
    let mut part = || parts.next().map_or(Ok(1), |part| part).ok().and_then(|part| i8::try_from(part).ok());
    let hour = Time::new(hour.parse().ok()?, 0, 0, 0).ok()?;
    let begin = Date::new(year, part()?, part()?).ok()?.to_datetime(hour);
    let length = match unit {
        PartitionUnit::Year => jiff::Span::new().years(1),
        PartitionUnit::Month => jiff::Span::new().months(1),
        PartitionUnit::Day => jiff::Span::new().days(1),
        PartitionUnit::Hour => jiff::Span::new().hours(1),
        PartitionUnit::Value => return None,
    };
    let end = begin.checked_add(length).ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(end.timestamp())
}

/// The values of one partition column: a number for each that is different.
#[derive(Default)]
struct Buckets {
    values: Vec<Option<Key>>,
    /// The number of each row's value.
    of_rows: Vec<u32>,
}

impl Buckets {
    /// `known` has the numbers of the values so far, and is told those that come new. At most a number a row.
    fn push<T: Hash + Eq>(
        &mut self,
        value: T,
        known: &mut HashMap<T, u32, RandomState>,
        key: impl FnOnce(&T) -> Result<Option<Key>, SinkError>,
    ) -> Result<(), SinkError> {
        let number = match known.get(&value) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.values.len()).map_err(|_| SinkError::bug("a page of more than 2^32 rows"))?;
                self.values.push(key(&value)?);
                known.insert(value, number);
                number
            }
        };
        self.of_rows.push(number);
        Ok(())
    }

    fn value(&self, number: u32, unit: PartitionUnit) -> Result<Option<String>, SinkError> {
        self.values[number as usize].as_ref().map(|key| key.text(unit)).transpose()
    }
}

enum Key {
    /// Whole hours since 1970 for every unit of time but day and above, which are cut further when written.
    Hours(i64),
    Text(String),
}

impl Key {
    fn text(&self, unit: PartitionUnit) -> Result<String, SinkError> {
        let hours = match self {
            Key::Text(text) => return Ok(text.clone()),
            Key::Hours(hours) => *hours,
        };
        let date = date_of(hours)?;
        Ok(match unit {
            PartitionUnit::Year => date.strftime("%Y").to_string(),
            PartitionUnit::Month => date.strftime("%Y-%m").to_string(),
            PartitionUnit::Day | PartitionUnit::Value => date.to_string(),
            PartitionUnit::Hour => format!("{date}T{:02}", hours.rem_euclid(24)),
        })
    }
}

/// The UTC date of an hour since 1970. Dates reach as far as the year 9999 has days, which instants do not.
fn date_of(hours: i64) -> Result<Date, SinkError> {
    let days = jiff::Span::new().try_days(hours.div_euclid(24));
    let date = days.and_then(|days| date(1970, 1, 1).checked_add(days));
    date.map_err(|error| SinkError::data(format!("a partition's time is out of range, `{hours}` hours since 1970: {error}")))
}

fn bucket(rows: &RecordBatch, column: &PartitionColumn) -> Result<Buckets, SinkError> {
    let array = rows.column_by_name(&column.column).ok_or_else(|| {
        let known: Vec<String> = rows.schema().fields().iter().map(|field| format!("`{}`", field.name())).collect();
        let message = format!(
            "partition_by names the column `{}`, which the rows do not have; they have {}",
            column.column,
            known.join(", ")
        );
        SinkError::new(crate::error::ErrorKind::Config, message)
    })?;
    if *array.data_type() == DataType::Null {
        return Ok(Buckets { values: vec![None], of_rows: vec![0; rows.num_rows()] });
    }
    if column.unit == PartitionUnit::Value {
        return plain_values(array, column);
    }
    let hours: Vec<Option<i64>> = match array.data_type() {
        DataType::Timestamp(_, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>();
            micros.iter().map(|value| value.map(|value| value.div_euclid(3_600_000_000))).collect()
        }
        DataType::Date32 => {
            array.as_primitive::<Date32Type>().iter().map(|value| value.map(|days| i64::from(days) * 24)).collect()
        }
        other => {
            let message = format!(
                "partition_by cuts `{}` by time, but it is of type {other}: declare it under [columns], such as \"{}\" = \"epoch_ms\"",
                column.column, column.column
            );
            return Err(SinkError::new(crate::error::ErrorKind::Config, message));
        }
    };
    // The start of the unit stands for all its hours; the same few starts come again and again.
    let (mut buckets, mut known, mut starts) =
        (Buckets::default(), HashMap::default(), HashMap::<i64, i64, RandomState>::default());
    for hour in hours {
        let start = match hour {
            None => None,
            Some(hour) => {
                let coarse = match column.unit {
                    PartitionUnit::Hour => hour,
                    _ => hour.div_euclid(24) * 24,
                };
                Some(match starts.get(&coarse) {
                    Some(start) => *start,
                    None => {
                        let start = unit_start(coarse, column.unit)?;
                        starts.insert(coarse, start);
                        start
                    }
                })
            }
        };
        buckets.push(start, &mut known, |start| Ok(start.map(Key::Hours)))?;
    }
    Ok(buckets)
}

fn unit_start(hours: i64, unit: PartitionUnit) -> Result<i64, SinkError> {
    let first = match unit {
        PartitionUnit::Year => date_of(hours)?.first_of_year(),
        PartitionUnit::Month => date_of(hours)?.first_of_month(),
        _ => return Ok(hours),
    };
    Ok(first.duration_since(date(1970, 1, 1)).as_hours())
}

fn plain_values(array: &arrow::array::ArrayRef, column: &PartitionColumn) -> Result<Buckets, SinkError> {
    match array.data_type() {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Date32
        | DataType::Utf8View => {}
        other => {
            let message = format!("partition_by names `{}` of type {other}, which makes no directories", column.column);
            return Err(SinkError::new(crate::error::ErrorKind::Config, message));
        }
    }
    let text = cast(array, &DataType::Utf8View).map_err(|error| SinkError::bug(error.to_string()))?;
    let text = text.as_string_view();
    let (mut buckets, mut known) = (Buckets::default(), HashMap::default());
    for value in text {
        buckets.push(value, &mut known, |value| match value {
            Some("") => {
                Err(SinkError::bug(format!("an empty value of the partition column `{}` was let through", column.column)))
            }
            value => Ok(value.map(|text| Key::Text(text.to_owned()))),
        })?;
    }
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};

    use super::*;

    fn month(column: &str) -> PartitionColumn {
        PartitionColumn { column: column.into(), unit: PartitionUnit::Month }
    }

    fn micros(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().expect("a timestamp").as_microsecond()
    }

    #[test]
    fn rows_go_where_their_month_is() {
        let at = [
            Some(micros("2026-01-31T23:59:59.999999Z")),
            None,
            Some(micros("2026-02-01T00:00:00Z")),
            Some(micros("1969-12-31T23:00:00Z")),
        ];
        let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(at.to_vec()).with_timezone("UTC"));
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let rows = RecordBatch::try_from_iter_with_nullable([("at", at, true), ("id", id, true)]).expect("a batch");
        let parts = split(&rows, &[month("at")]).expect("splits");
        let names: Vec<String> = parts.iter().map(|(values, _)| directory(&[month("at")], values).expect("short")).collect();
        assert_eq!(names, ["at_month=2026-01", "at_month=__HIVE_DEFAULT_PARTITION__", "at_month=2026-02", "at_month=1969-12"]);
        assert_eq!(parts.iter().map(|(_, rows)| rows.as_slice()).collect::<Vec<_>>(), [[0], [1], [2], [3]]);
    }

    #[test]
    fn the_last_day_that_people_write_has_a_partition() {
        let ends: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![253_402_300_799_000_000]).with_timezone("UTC"));
        let rows = RecordBatch::try_from_iter_with_nullable([("ends", ends, true)]).expect("a batch");
        for (unit, expected) in
            [(PartitionUnit::Hour, "9999-12-31T23"), (PartitionUnit::Day, "9999-12-31"), (PartitionUnit::Year, "9999")]
        {
            let column = PartitionColumn { column: "ends".into(), unit };
            let parts = split(&rows, &[column]).expect("splits");
            assert_eq!(parts[0].0, [Some(expected.to_owned())]);
        }
    }

    #[test]
    fn a_partition_ends_where_the_next_one_begins() {
        for (unit, value, end) in [
            (PartitionUnit::Year, "2024", Some("2025-01-01T00:00:00Z")),
            (PartitionUnit::Month, "2024-12", Some("2025-01-01T00:00:00Z")),
            (PartitionUnit::Day, "2024-02-28", Some("2024-02-29T00:00:00Z")),
            (PartitionUnit::Hour, "2024-02-29T23", Some("2024-03-01T00:00:00Z")),
            (PartitionUnit::Year, "9999", None),
            (PartitionUnit::Day, "2024-02-30", None),
            (PartitionUnit::Hour, "2024-02-29T24", None),
            (PartitionUnit::Day, "yesterday", None),
            (PartitionUnit::Value, "2024-02-28", None),
        ] {
            let end = end.map(|end| end.parse::<jiff::Timestamp>().expect("an instant"));
            assert_eq!(end_of(unit, value), end, "{value}");
        }
    }

    #[test]
    fn values_are_encoded_and_bounded() {
        let column = PartitionColumn { column: "name".into(), unit: PartitionUnit::Value };
        let names: ArrayRef =
            Arc::new(StringViewArray::from(vec!["a/b=c é", "..", &"x".repeat(300), "NULL", "null", "nullable"]));
        let rows = RecordBatch::try_from_iter_with_nullable([("name", names, true)]).expect("a batch");
        let parts = split(&rows, std::slice::from_ref(&column)).expect("splits");
        let made: Vec<_> = parts.iter().map(|(values, _)| directory(std::slice::from_ref(&column), values)).collect();
        assert_eq!(made[0].as_deref().ok(), Some("name=a%2Fb%3Dc%20%C3%A9"));
        assert_eq!(made[1].as_deref().ok(), Some("name=.."));
        assert!(made[2].is_err());
        let nulls: Vec<_> = made[3..].iter().map(|made| made.as_deref().ok()).collect();
        assert_eq!(nulls, [Some("name=%4EULL"), Some("name=%6Eull"), Some("name=nullable")]);
    }

    #[test]
    fn rows_that_have_no_partition_are_named() {
        let column = |name: &str| PartitionColumn { column: name.into(), unit: PartitionUnit::Value };
        // A byte that is encoded takes three.
        let (fits, long) = ("é".repeat(30), "é".repeat(31));
        let one: ArrayRef = Arc::new(StringViewArray::from(vec![Some(""), None, Some("x"), Some(&fits), Some(&long), Some("")]));
        let other: ArrayRef = Arc::new(StringViewArray::from(vec![Some("x"), Some(""), None, Some("x"), Some("x"), Some("")]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1; 6]));
        let rows = RecordBatch::try_from_iter_with_nullable([("one", one, true), ("other", other, true), ("n", number, true)]);
        let (rows, columns) = (rows.expect("a batch"), [column("n"), column("one"), column("other"), column("away")]);
        let found = unfit(&rows, &columns);
        let places: Vec<_> = found.iter().map(|unfit| (unfit.row, unfit.column)).collect();
        assert_eq!(places, [(0, "one"), (1, "other"), (4, "one"), (5, "one")]);
        assert_eq!(found[2].reason, "too long for the name of a partition, which takes 180 bytes, encoded: `186`");
        let unplaced = (0..rows.num_rows()).filter(|row| {
            let split = split(&rows.slice(*row, 1), &columns[..3]);
            split.and_then(|parts| directory(&columns[..3], &parts[0].0)).is_err()
        });
        assert_eq!(unplaced.collect::<Vec<_>>(), [0, 1, 4, 5]);
        assert!(why_unfit(NULL_DIRECTORY).is_some() && why_unfit("__HIVE__").is_none());
    }

    #[test]
    fn a_number_is_no_time() {
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let rows = RecordBatch::try_from_iter_with_nullable([("id", id, true)]).expect("a batch");
        let error = split(&rows, &[month("id")]).expect_err("no time");
        assert!(error.to_string().contains("declare it under [columns]"), "{error}");
    }
}
