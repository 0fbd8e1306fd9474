//! Times written as text beside columns that hold times: `at >= '2026-01-31T00:00:00Z'`.
//!
//! polars reads such text only behind an outermost column, and without an offset. Here the text is read as the column's type
//! wherever a comparison, BETWEEN or IN has it, and handed over as a column that is the same in every row.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema};
use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use sqlparser::ast::{Expr, Ident, TypedString, Value, ValueWithSpan, VisitMut, VisitorMut};

use super::nulls::field_type;
use super::{is_comparison, spell_out};

/// A time that stands in an expression: the name of its column, and the value.
pub(super) struct Constant {
    pub name: String,
    data_type: DataType,
    /// Microseconds, or days of a date.
    value: i64,
}

impl Constant {
    pub fn column(&self, rows: usize) -> ArrayRef {
        match &self.data_type {
            // The value came from a date, whose days fit.
            DataType::Date32 => Arc::new(Date32Array::from_value(i32::try_from(self.value).unwrap_or(i32::MAX), rows)),
            other => {
                let zone = if let DataType::Timestamp(_, zone) = other { zone.clone() } else { None };
                Arc::new(TimestampMicrosecondArray::from_value(self.value, rows).with_timezone_opt(zone))
            }
        }
    }
}

/// Replaces texts by constants, which are added to `constants`. The error names a text that is no time.
pub(super) fn settle(tree: &mut Expr, schema: &Schema, constants: &mut Vec<Constant>) -> Result<(), String> {
    match tree.visit(&mut Settle { schema, constants }) {
        ControlFlow::Break(problem) => Err(problem),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Settle<'a> {
    schema: &'a Schema,
    constants: &'a mut Vec<Constant>,
}

impl VisitorMut for Settle<'_> {
    type Break = String;

    fn post_visit_expr(&mut self, part: &mut Expr) -> ControlFlow<String> {
        match self.settled(part) {
            Ok(()) => ControlFlow::Continue(()),
            Err(problem) => ControlFlow::Break(problem),
        }
    }
}

impl Settle<'_> {
    fn settled(&mut self, part: &mut Expr) -> Result<(), String> {
        match part {
            Expr::BinaryOp { left, op, right } if is_comparison(op) => {
                if let Some(data_type) = self.time_type(left) {
                    self.replace(right, &data_type)?;
                } else if let Some(data_type) = self.time_type(right) {
                    self.replace(left, &data_type)?;
                }
            }
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                if let Some(data_type) = self.time_type(left) {
                    self.replace(right, &data_type)?;
                }
            }
            Expr::Between { expr, low, high, .. } => {
                if let Some(data_type) = self.time_type(expr) {
                    self.replace(low, &data_type)?;
                    self.replace(high, &data_type)?;
                }
            }
            Expr::InList { expr, list, negated } => {
                if let Some(data_type) = self.time_type(expr) {
                    for item in list.iter_mut() {
                        self.replace(item, &data_type)?;
                    }
                    if let Some(spelled) = spell_out(expr, list, *negated) {
                        *part = spelled;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The type of a column or struct field that holds times.
    fn time_type(&self, part: &Expr) -> Option<DataType> {
        let path = match part {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            _ => return None,
        };
        let data_type = field_type(self.schema, path).ok().flatten()?;
        matches!(data_type, DataType::Timestamp(..) | DataType::Date32).then(|| data_type.clone())
    }

    fn replace(&mut self, part: &mut Expr, data_type: &DataType) -> Result<(), String> {
        let value = match part {
            Expr::Value(value) | Expr::TypedString(TypedString { value, .. }) => value,
            _ => return Ok(()),
        };
        let ValueWithSpan { value: Value::SingleQuotedString(text), .. } = value else { return Ok(()) };
        let value = match data_type {
            DataType::Date32 => read_date(text),
            _ => read_instant(text),
        };
        let Some(value) = value else {
            let example = if *data_type == DataType::Date32 { "'2026-01-31'" } else { "'2026-01-31T00:00:00Z'" };
            return Err(format!("`{text}` is compared with a time and is none: write it as {example}"));
        };
        let name = format!("_hw_time_{}", self.constants.len());
        *part = Expr::Identifier(Ident::with_quote('"', &name));
        self.constants.push(Constant { name, data_type: data_type.clone(), value });
        Ok(())
    }
}

/// RFC 3339, or without an offset, or a date alone: both mean UTC.
fn read_instant(text: &str) -> Option<i64> {
    let instant: Option<Timestamp> = text.parse().ok();
    let instant = match instant {
        Some(instant) => instant,
        None => text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
    };
    // Microseconds are all that a column has; a bound of finer digits is cut like the values were.
    Some(instant.as_microsecond())
}

fn read_date(text: &str) -> Option<i64> {
    let is_date = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let date: civil::Date = text.parse().ok().filter(|_| is_date)?;
    let span = civil::date(1970, 1, 1).until((Unit::Day, date)).ok()?;
    Some(i64::from(span.get_days()))
}
