//! Arrays back to something that can be compared: JSON text with sorted fields, absent where null.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};

use crate::decode::fixture::page;
use crate::decode::{DecodeSpec, Decoded, Decoder};

/// Decodes pages the way a run does: once each, and all again at the end if something changed on the way.
pub fn decode_all(decoder: &mut Decoder, bodies: &[String]) -> Vec<Decoded> {
    for body in bodies {
        decoder.decode(&page(body.as_str())).unwrap();
    }
    let again = |body: &String| {
        let decoded = decoder.decode(&page(body.as_str())).unwrap();
        assert_eq!(decoded.changes, Vec::<String>::new(), "a second reading changes nothing");
        assert_eq!(decoded.rows.schema(), decoder.schema().to_arrow());
        assert_eq!(decoded.rows.num_rows(), decoded.places.len());
        assert_eq!(decoded.envelope.records as usize, decoded.places.len() + decoded.rejects.len());
        decoded
    };
    bodies.iter().map(again).collect()
}

/// One page of a fresh decoder: its columns' types and its rows.
pub fn decode_one(spec: DecodeSpec, body: &str) -> (Vec<String>, Vec<String>) {
    let mut decoder = Decoder::new(spec, None).unwrap();
    let decoded = decode_all(&mut decoder, &[body.to_owned()]).remove(0);
    (columns(&decoder), rows(&decoded.rows))
}

pub fn columns(decoder: &Decoder) -> Vec<String> {
    decoder.schema().fields.iter().map(|field| format!("{} {}", field.name, field.column_type)).collect()
}

pub fn rows(batch: &RecordBatch) -> Vec<String> {
    (0..batch.num_rows()).map(|row| record(batch, row)).collect()
}

fn record(batch: &RecordBatch, row: usize) -> String {
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(batch.columns());
    object(fields.map(|(field, column)| (field.name().as_str(), value(column, row))))
}

pub fn object<'n>(fields: impl Iterator<Item = (&'n str, Option<String>)>) -> String {
    let mut parts: Vec<String> = fields.filter_map(|(name, value)| Some(format!("{name:?}:{}", value?))).collect();
    parts.sort();
    format!("{{{}}}", parts.join(","))
}

/// `None` for null.
pub fn value(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => format!("{:?}f", array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => format!("{}d", array.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Timestamp(..) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            jiff::Timestamp::from_microsecond(micros).map_or_else(|_| format!("{micros}us"), |instant| instant.to_string())
        }
        DataType::Date32 => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            let epoch = jiff::civil::Date::new(1970, 1, 1).unwrap();
            epoch.checked_add(jiff::Span::new().days(days)).unwrap().to_string()
        }
        DataType::Utf8View => format!("{:?}", array.as_string_view().value(row)),
        DataType::LargeList(_) => {
            let items = array.as_list::<i64>().value(row);
            let shown = |item| value(&items, item).unwrap_or_else(|| "null".to_owned());
            format!("[{}]", (0..items.len()).map(shown).collect::<Vec<_>>().join(","))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            object(fields.iter().zip(columns).map(|(field, column)| (field.name().as_str(), value(column, row))))
        }
        other => panic!("a column of type {other}"),
    })
}
