//! One value of a column, and what it is as another type. `None` always means: it does not fit.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::number::Number;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Boolean(bool),
    Whole(i128),
    Float32(f32),
    Float64(f64),
    /// A whole number times ten to the power of minus the scale.
    Decimal(i128, i8),
    Text(&'a str),
    /// Microseconds since 1970, UTC.
    Timestamp(i64),
    /// Microseconds since 1970 on a wall clock.
    Local(i64),
    /// Days since 1970.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
}

/// Reads the values of a column that are not null; `None` for lists, structs and what is no column of ours.
pub(super) fn reader<'a>(array: &'a ArrayRef) -> Option<Box<dyn Fn(usize) -> Value<'a> + 'a>> {
    macro_rules! of {
        ($kind:ty, $make:expr) => {{
            let values = array.as_primitive::<$kind>();
            Box::new(move |index| $make(values.value(index)))
        }};
    }
    Some(match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(move |index| Value::Boolean(values.value(index)))
        }
        DataType::Int8 => of!(Int8Type, |value| Value::Whole(i128::from(value))),
        DataType::Int16 => of!(Int16Type, |value| Value::Whole(i128::from(value))),
        DataType::Int32 => of!(Int32Type, |value| Value::Whole(i128::from(value))),
        DataType::Int64 => of!(Int64Type, |value| Value::Whole(i128::from(value))),
        DataType::UInt8 => of!(UInt8Type, |value| Value::Whole(i128::from(value))),
        DataType::UInt16 => of!(UInt16Type, |value| Value::Whole(i128::from(value))),
        DataType::UInt32 => of!(UInt32Type, |value| Value::Whole(i128::from(value))),
        DataType::UInt64 => of!(UInt64Type, |value| Value::Whole(i128::from(value))),
        DataType::Float32 => of!(Float32Type, Value::Float32),
        DataType::Float64 => of!(Float64Type, Value::Float64),
        DataType::Decimal128(_, scale) => {
            let (values, scale) = (array.as_primitive::<Decimal128Type>(), *scale);
            Box::new(move |index| Value::Decimal(values.value(index), scale))
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            Box::new(move |index| Value::Text(values.value(index)))
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            Box::new(move |index| Value::Text(values.value(index)))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            Box::new(move |index| Value::Text(values.value(index)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => of!(TimestampMicrosecondType, Value::Timestamp),
        DataType::Timestamp(TimeUnit::Microsecond, None) => of!(TimestampMicrosecondType, Value::Local),
        DataType::Date32 => of!(Date32Type, Value::Date),
        DataType::Time64(TimeUnit::Nanosecond) => of!(Time64NanosecondType, Value::Time),
        _ => return None,
    })
}

impl Value<'_> {
    pub fn boolean(&self) -> Option<bool> {
        match self {
            Value::Text("true") | Value::Whole(1) => Some(true),
            Value::Text("false") | Value::Whole(0) => Some(false),
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    pub fn whole(&self) -> Option<i128> {
        match self {
            Value::Boolean(value) => Some(i128::from(*value)),
            Value::Whole(value) => Some(*value),
            // What most casts read; the long way below knows fractions and exponents.
            Value::Text(text) => text.parse().ok().or_else(|| self.number()?.whole()),
            // A whole float's value is exact, however its shortest text would round it.
            Value::Float64(value) => whole_float(*value),
            Value::Float32(value) => whole_float(f64::from(*value)),
            _ => self.number()?.whole(),
        }
    }

    /// The exact number; for a float that of its shortest text.
    pub fn number(&self) -> Option<Number> {
        match self {
            Value::Boolean(_) | Value::Whole(_) => Some(Number::from_unscaled(self.whole()?, 0)),
            Value::Decimal(unscaled, scale) => Some(Number::from_unscaled(*unscaled, *scale)),
            Value::Float32(value) => Number::parse(&format!("{value:e}")),
            Value::Float64(value) => Number::parse(&format!("{value:e}")),
            Value::Text(text) => Number::parse(text),
            _ => None,
        }
    }

    pub fn float64(&self) -> Option<f64> {
        match self {
            Value::Float64(value) => Some(*value),
            Value::Float32(value) => Some(f64::from(*value)),
            _ => self.number()?.float64(),
        }
    }

    pub fn float32(&self) -> Option<f32> {
        match self {
            Value::Float32(value) => Some(*value),
            Value::Float64(value) if value.is_nan() => Some(f32::NAN),
            Value::Float64(value) => Some(*value as f32).filter(|narrow| f64::from(*narrow) == *value),
            _ => self.number()?.float32(),
        }
    }

    /// Microseconds since 1970, UTC.
    pub fn timestamp(&self) -> Option<i64> {
        match self {
            Value::Timestamp(value) | Value::Local(value) => Some(*value),
            Value::Date(days) => i64::from(*days).checked_mul(DAY),
            Value::Text(text) => {
                let instant: Timestamp = text.parse().ok()?;
                let is_exact = instant.as_nanosecond() % 1_000 == 0;
                is_exact.then(|| instant.as_microsecond())
            }
            _ => None,
        }
    }

    /// Days since 1970.
    pub fn date(&self) -> Option<i32> {
        match self {
            Value::Date(days) => Some(*days),
            Value::Timestamp(value) | Value::Local(value) if value % DAY == 0 => i32::try_from(value / DAY).ok(),
            Value::Text(text) => {
                // jiff would also take `2026-01-31T10:00`, and the time would be lost.
                let is_date = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
                let date: civil::Date = text.parse().ok().filter(|_| is_date)?;
                let since = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
                i32::try_from(since.as_second() / (DAY / 1_000_000)).ok()
            }
            _ => None,
        }
    }

    pub fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Value::Text(text) => Cow::Borrowed(*text),
            Value::Boolean(value) => Cow::Owned(value.to_string()),
            Value::Whole(value) => Cow::Owned(value.to_string()),
            Value::Float32(value) => Cow::Owned(format!("{value:?}")),
            Value::Float64(value) => Cow::Owned(format!("{value:?}")),
            Value::Decimal(unscaled, scale) => Cow::Owned(decimal_text(*unscaled, *scale)),
            Value::Timestamp(value) => Cow::Owned(Timestamp::from_microsecond(*value).ok()?.to_string()),
            Value::Local(value) => Cow::Owned(civil_of(*value)?.to_string()),
            Value::Date(days) => Cow::Owned(civil_of(i64::from(*days).checked_mul(DAY)?)?.date().to_string()),
            Value::Time(nanoseconds) => {
                let time = civil::Time::midnight().checked_add(SignedDuration::from_nanos(*nanoseconds)).ok()?;
                Cow::Owned(time.to_string())
            }
        })
    }
}

fn whole_float(value: f64) -> Option<i128> {
    // 2^126 is beyond every target and within i128.
    (value.fract() == 0.0 && value.abs() < 2_f64.powi(126)).then_some(value as i128)
}

fn civil_of(microseconds: i64) -> Option<civil::DateTime> {
    Some(Timestamp::from_microsecond(microseconds).ok()?.to_zoned(TimeZone::UTC).datetime())
}

/// All digits of the scale: `1.50`.
fn decimal_text(unscaled: i128, scale: i8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    let scale = usize::try_from(scale).unwrap_or(0);
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}
