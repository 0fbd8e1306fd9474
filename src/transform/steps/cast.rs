//! `cast`: columns to other types, without loss. A value that does not fit rejects its row; nothing is rounded, cut or made null.
//!
//! | to | from |
//! |---|---|
//! | whole numbers | whole numbers in range; floats, decimals and number text whose value is whole and in range; boolean as 0 and 1 |
//! | floats | what comes back with all its digits when the float is written with as many: `0.1` and `9007199254740992` fit float64, `9007199254740993` does not |
//! | decimal(p,s) | numbers and number text with at most s digits behind the point and p in all; a float counts as its shortest text |
//! | text | everything but lists and structs: instants as RFC 3339 in UTC, dates as `2026-01-31`, floats as the shortest text that reads back |
//! | boolean | `true` and `false` as text; 0 and 1 |
//! | timestamp | RFC 3339 text with an offset and at most microseconds; dates (midnight UTC); local timestamps (taken as UTC) |
//! | date | text of the form `2026-01-31`; instants at midnight UTC |
//!
//! A column that never had a value becomes one of the new type. Number text is ASCII digits with an optional sign, fraction and
//! exponent; what counts is the number, not how it is written. Epochs are declared under `[columns]`, where their unit is said.

mod number;
mod value;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanBuilder, Decimal128Builder, PrimitiveBuilder, StringViewBuilder, new_null_array};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Field as ArrowField, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::super::rows::{Fault, Rows, shorten};
use crate::schema::{ColumnType, Field};
use value::{Value, reader};

/// Whether a cast to this type exists at all; the error says what to do instead.
pub(super) fn check_target(target: &ColumnType) -> Result<(), String> {
    match target {
        ColumnType::Json => Err("declare it `json` under [columns]: the source's own text is then kept".to_owned()),
        ColumnType::Null | ColumnType::List(_) | ColumnType::Struct(_) => Err(format!("nothing can be cast to `{target}`")),
        ColumnType::LocalTimestamp | ColumnType::Time => Err(format!("no cast to `{target}`: derive it with STRPTIME or TIME")),
        _ => Ok(()),
    }
}

pub(super) fn apply(mut rows: Rows, columns: &[(String, ColumnType)]) -> Result<Rows, Fault> {
    rows.demand_values(columns.iter().map(|(column, _)| std::slice::from_ref(column)))?;
    let mut result = rows.columns();
    // One reason a row: that of the first column that does not fit.
    let mut misfits: Vec<(usize, String, String)> = Vec::new();
    for (name, target) in columns {
        let Some((field, array)) = result.iter_mut().find(|(field, _)| field.name() == name) else { continue };
        let source = Field::from_arrow(field).map_err(Fault::bug)?.column_type;
        if source == *target {
            continue;
        }
        if !is_possible(&source, target) {
            return Err(Fault::config(format!(
                "column `{name}` is {source} and cannot become {target}{}",
                instead(&source, target)
            )));
        }
        let (cast, bad) = cast_column(array, target)?;
        misfits.extend(bad.into_iter().map(|(index, value)| (index, name.clone(), format!("does not fit {target}: `{value}`"))));
        *field = Arc::new(ArrowField::new(name, cast.data_type().clone(), true));
        *array = cast;
    }
    misfits.sort_by_key(|(index, ..)| *index);
    misfits.dedup_by_key(|(index, ..)| *index);
    let mut rows = rows.set_columns(result)?;
    rows.reject(misfits)?;
    Ok(rows)
}

fn is_possible(source: &ColumnType, target: &ColumnType) -> bool {
    use ColumnType::*;
    let is_text = matches!(source, Text | Json | Null);
    match target {
        _ if matches!(source, Null) => true,
        Text => !matches!(source, List(_) | Struct(_)),
        Boolean => is_text || is_whole(source),
        Timestamp => is_text || matches!(source, Date | LocalTimestamp),
        Date => is_text || matches!(source, Timestamp | LocalTimestamp),
        target if is_whole(target) => is_text || is_number(source) || matches!(source, Boolean),
        target if is_number(target) => is_text || is_number(source),
        _ => false,
    }
}

fn instead(source: &ColumnType, target: &ColumnType) -> &'static str {
    match (source, target) {
        (ColumnType::List(_) | ColumnType::Struct(_), ColumnType::Text) => {
            ": declare it `json` under [columns] to keep the source's text, or flatten it"
        }
        (source, ColumnType::Timestamp) if is_number(source) => {
            ": declare it `epoch_s`, `epoch_ms` or `epoch_us` under [columns]"
        }
        (ColumnType::Timestamp, target) if is_number(target) => ": derive it with `EXTRACT(EPOCH FROM column)`",
        _ => "",
    }
}

fn is_whole(column_type: &ColumnType) -> bool {
    use ColumnType::*;
    matches!(column_type, Int8 | Int16 | Int32 | Int64 | Uint8 | Uint16 | Uint32 | Uint64)
}

fn is_number(column_type: &ColumnType) -> bool {
    is_whole(column_type) || matches!(column_type, ColumnType::Float32 | ColumnType::Float64 | ColumnType::Decimal { .. })
}

type Misfits = Vec<(usize, String)>;

/// The column in its new type, null where a value does not fit, and those places with the value as text.
fn cast_column(array: &ArrayRef, target: &ColumnType) -> Result<(ArrayRef, Misfits), Fault> {
    use ColumnType::*;
    if *array.data_type() == arrow::datatypes::DataType::Null {
        return Ok((new_null_array(&target.to_arrow(), array.len()), Vec::new()));
    }
    let Some(values) = reader(array) else {
        return Err(Fault::bug(format!("no reader for columns of the type {}", array.data_type())));
    };
    Ok(match target {
        Int8 => primitive::<Int8Type>(&values, array, |value| value.whole()?.try_into().ok()),
        Int16 => primitive::<Int16Type>(&values, array, |value| value.whole()?.try_into().ok()),
        Int32 => primitive::<Int32Type>(&values, array, |value| value.whole()?.try_into().ok()),
        Int64 => primitive::<Int64Type>(&values, array, |value| value.whole()?.try_into().ok()),
        Uint8 => primitive::<UInt8Type>(&values, array, |value| value.whole()?.try_into().ok()),
        Uint16 => primitive::<UInt16Type>(&values, array, |value| value.whole()?.try_into().ok()),
        Uint32 => primitive::<UInt32Type>(&values, array, |value| value.whole()?.try_into().ok()),
        Uint64 => primitive::<UInt64Type>(&values, array, |value| value.whole()?.try_into().ok()),
        Float32 => primitive::<Float32Type>(&values, array, |value| value.float32()),
        Float64 => primitive::<Float64Type>(&values, array, |value| value.float64()),
        Date => primitive::<Date32Type>(&values, array, |value| value.date()),
        Timestamp => {
            let (instants, misfits) = primitive::<TimestampMicrosecondType>(&values, array, |value| value.timestamp());
            // The builder knows no zone; the values are UTC already, only the type is said anew.
            let data = instants.to_data().into_builder().data_type(target.to_arrow()).build();
            let data = data.map_err(|error| Fault::bug(format!("cannot name the zone: {error}")))?;
            (arrow::array::make_array(data), misfits)
        }
        Decimal { precision, scale } => decimal(&values, array, *precision, *scale)?,
        Boolean => boolean(&values, array),
        Text => text(&values, array),
        other => return Err(Fault::bug(format!("no cast to `{other}`"))),
    })
}

type Reader<'a> = dyn Fn(usize) -> Value<'a> + 'a;

/// Goes over the rows: `take` gets each value that is not null and says whether it fits.
fn each<'a>(values: &Reader<'a>, array: &ArrayRef, mut take: impl FnMut(Option<&Value<'a>>) -> bool) -> Misfits {
    let mut misfits = Vec::new();
    for index in 0..array.len() {
        if array.is_null(index) {
            take(None);
            continue;
        }
        let value = values(index);
        if !take(Some(&value)) {
            misfits.push((index, shorten(value.text().as_deref().unwrap_or("beyond the calendar"))));
        }
    }
    misfits
}

fn primitive<T: ArrowPrimitiveType>(
    values: &Reader<'_>,
    array: &ArrayRef,
    convert: impl Fn(&Value<'_>) -> Option<T::Native>,
) -> (ArrayRef, Misfits) {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(array.len());
    let misfits = each(values, array, |value| {
        let converted = value.and_then(&convert);
        builder.append_option(converted);
        value.is_none() || converted.is_some()
    });
    (Arc::new(builder.finish()), misfits)
}

fn decimal(values: &Reader<'_>, array: &ArrayRef, precision: u8, scale: i8) -> Result<(ArrayRef, Misfits), Fault> {
    let builder = Decimal128Builder::with_capacity(array.len()).with_precision_and_scale(precision, scale);
    let mut builder = builder.map_err(|error| Fault::config(error.to_string()))?;
    let misfits = each(values, array, |value| {
        let converted = value.and_then(|value| value.number()?.unscaled(precision, scale));
        builder.append_option(converted);
        value.is_none() || converted.is_some()
    });
    Ok((Arc::new(builder.finish()), misfits))
}

fn boolean(values: &Reader<'_>, array: &ArrayRef) -> (ArrayRef, Misfits) {
    let mut builder = BooleanBuilder::with_capacity(array.len());
    let misfits = each(values, array, |value| {
        let converted = value.and_then(Value::boolean);
        builder.append_option(converted);
        value.is_none() || converted.is_some()
    });
    (Arc::new(builder.finish()), misfits)
}

fn text(values: &Reader<'_>, array: &ArrayRef) -> (ArrayRef, Misfits) {
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let misfits = each(values, array, |value| {
        let converted = value.and_then(Value::text);
        builder.append_option(converted.as_deref());
        value.is_none() || converted.is_some()
    });
    (Arc::new(builder.finish()), misfits)
}

#[cfg(test)]
mod tests;
