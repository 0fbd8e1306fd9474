//! Numbers in expressions have all their digits: whole numbers 64 bits, decimals 38 digits.
//!
//! polars gives `EXTRACT(DAY ...)` 8 bits, `LENGTH` 32 without a sign and literals 32, and what is computed with such numbers stays
//! as narrow and begins anew behind its end: 31 days by 24 would be -24 hours, and a length of 3 less 10 some four billions. Of two
//! decimals it takes the wider precision and the larger scale, and what then has no room before the point is null: 100 of a
//! decimal(12,2) beside a decimal(12,10).

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType as SqlType, DateTimeField, Expr, FunctionArg, FunctionArgExpr, FunctionArguments,
    UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use super::is_null;

/// As many digits as a decimal can have.
pub(super) const DIGITS_MAX: u8 = 38;

/// Functions whose result is a whole number of fewer bits.
const NARROW: &[&str] =
    &["array_length", "array_lower", "array_upper", "bit_length", "char_length", "character_length", "length", "octet_length"];

/// Functions that hand on what they are given: a whole number of 32 bits where that is literals alone.
const CHOOSING: &[&str] = &["abs", "coalesce", "greatest", "ifnull", "least", "nullif"];

/// Parts of a time that are no whole numbers, or have 64 bits.
const OTHER_PARTS: &[&str] = &[
    "epoch",
    "millisecond",
    "milliseconds",
    "ms",
    "microsecond",
    "microseconds",
    "us",
    "nanosecond",
    "nanoseconds",
    "ns",
    "time",
    "timezone",
];

/// A column as expressions see it, with lists and structs of such numbers.
pub(super) fn wide(array: &ArrayRef) -> Result<ArrayRef, String> {
    let wanted = wide_type(array.data_type());
    if wanted == *array.data_type() {
        return Ok(Arc::clone(array));
    }
    cast(array, &wanted).map_err(|error| error.to_string())
}

fn wide_type(data_type: &DataType) -> DataType {
    use DataType::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32};
    let wide_field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(wide_type(field.data_type())));
    match data_type {
        Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 => Int64,
        DataType::Decimal128(_, scale) => DataType::Decimal128(DIGITS_MAX, *scale),
        DataType::List(item) => DataType::List(wide_field(item)),
        DataType::LargeList(item) => DataType::LargeList(wide_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(wide_field).collect()),
        other => other.clone(),
    }
}

/// A column that went through as it was: its decimals have their own precision again. `own` is the type that it came with.
pub(super) fn restore(array: ArrayRef, own: &DataType) -> Result<ArrayRef, String> {
    if has_decimals(own) { cast(&array, own).map_err(|error| error.to_string()) } else { Ok(array) }
}

/// Whether values of this type are decimals, or hold some.
pub(super) fn has_decimals(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(..) => true,
        DataType::List(item) | DataType::LargeList(item) => has_decimals(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_decimals(field.data_type())),
        _ => false,
    }
}

/// What was computed: whole numbers with 64 bits; any other as it is.
pub(super) fn whole(array: &ArrayRef) -> Result<ArrayRef, String> {
    use DataType::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32};
    match array.data_type() {
        Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 => cast(array, &Int64).map_err(|error| error.to_string()),
        _ => Ok(Arc::clone(array)),
    }
}

/// Puts a cast to 64 bits around whatever gives fewer.
pub(super) fn widen(tree: &mut Expr) {
    let through = tree.visit(&mut Widen);
    debug_assert!(through.is_continue());
}

struct Widen;

impl VisitorMut for Widen {
    type Break = ();

    fn post_visit_expr(&mut self, part: &mut Expr) -> ControlFlow<()> {
        if let Some(base) = power_base(part).filter(|base| is_whole_literal(base)) {
            cast_in_place(base, SqlType::BigInt(None));
        }
        if is_narrow(part) {
            cast_in_place(part, SqlType::BigInt(None));
        }
        ControlFlow::Continue(())
    }
}

/// Puts a CAST around an expression. A value that does not fit the type then fails on its row.
pub(super) fn cast_in_place(part: &mut Expr, data_type: SqlType) {
    let inner = std::mem::replace(part, super::null());
    *part = Expr::Cast { kind: CastKind::Cast, expr: Box::new(inner), data_type, array: false, format: None };
}

/// What is raised to a power: the result has its type.
fn power_base(part: &mut Expr) -> Option<&mut Expr> {
    let Expr::Function(function) = part else { return None };
    let name = function.name.to_string().to_lowercase();
    match (name.as_str(), &mut function.args) {
        ("pow" | "power", FunctionArguments::List(list)) => match list.args.first_mut() {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(base))) => Some(base),
            _ => None,
        },
        _ => None,
    }
}

fn is_whole_literal(part: &Expr) -> bool {
    match part {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => !digits.contains('.'),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } | Expr::Nested(expr) => is_whole_literal(expr),
        Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply, right } => {
            is_whole_literal(left) && is_whole_literal(right)
        }
        _ => false,
    }
}

/// Whether all of these are whole literals, or null.
fn are_whole_literals<'a>(values: impl Iterator<Item = &'a Expr>) -> bool {
    let mut has_some = false;
    for value in values {
        let is_literal = is_whole_literal(value);
        if !is_literal && !is_null(value) {
            return false;
        }
        has_some |= is_literal;
    }
    has_some
}

fn is_narrow(part: &Expr) -> bool {
    match part {
        Expr::Extract { field, .. } => is_narrow_part(&part_name(field)),
        Expr::Cast { data_type, .. } => is_narrow_type(data_type),
        Expr::Case { conditions, else_result, .. } => {
            are_whole_literals(conditions.iter().map(|when| &when.result).chain(else_result.as_deref()))
        }
        Expr::Function(function) => {
            let name = function.name.to_string().to_lowercase();
            match (name.as_str(), &function.args) {
                ("date_part", FunctionArguments::List(list)) => list.args.first().is_some_and(|first| match first {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
                        Value::SingleQuotedString(part) => is_narrow_part(&part.to_lowercase()),
                        _ => false,
                    },
                    _ => false,
                }),
                ("if", FunctionArguments::List(list)) => are_whole_literals(values(list.args.iter().skip(1))),
                (name, FunctionArguments::List(list)) if CHOOSING.contains(&name) => are_whole_literals(values(list.args.iter())),
                (name, _) => NARROW.contains(&name),
            }
        }
        _ => false,
    }
}

/// The arguments that are values; `vet` lets no others pass.
fn values<'a>(args: impl Iterator<Item = &'a FunctionArg>) -> impl Iterator<Item = &'a Expr> {
    args.filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    })
}

pub(super) fn part_name(field: &DateTimeField) -> String {
    field.to_string().trim_matches(['"', '\'']).to_lowercase()
}

fn is_narrow_part(name: &str) -> bool {
    !OTHER_PARTS.contains(&name)
}

fn is_narrow_type(data_type: &SqlType) -> bool {
    use SqlType::*;
    matches!(
        data_type,
        TinyInt(_)
            | TinyIntUnsigned(_)
            | UTinyInt
            | Int2(_)
            | Int2Unsigned(_)
            | SmallInt(_)
            | SmallIntUnsigned(_)
            | USmallInt
            | MediumInt(_)
            | MediumIntUnsigned(_)
            | Int(_)
            | Int4(_)
            | Int16
            | Int32
            | Integer(_)
            | IntUnsigned(_)
            | Int4Unsigned(_)
            | IntegerUnsigned(_)
            | UInt8
            | UInt16
            | UInt32
    )
}
