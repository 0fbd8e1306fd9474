//! Whole numbers in expressions have 64 bits. polars gives `EXTRACT(DAY ...)` 8 of them and `LENGTH` 32 without a sign, and what is
//! computed with such numbers stays as narrow and begins anew behind its end: 31 days by 24 would be -24 hours, and a length of 3
//! less 10 some four billions.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use sqlparser::ast::{
    CastKind, DataType as SqlType, DateTimeField, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value, VisitMut,
    VisitorMut,
};

/// Functions whose result is a whole number of fewer bits.
const NARROW: &[&str] = &[
    "array_length",
    "array_lower",
    "array_upper",
    "bit_length",
    "char_length",
    "character_length",
    "length",
    "octet_length",
    "strpos",
];

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

/// A column of whole numbers with 64 bits; any other as it is.
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
        if is_narrow(part) {
            let inner = std::mem::replace(part, super::null());
            *part = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(inner),
                data_type: SqlType::BigInt(None),
                array: false,
                format: None,
            };
        }
        ControlFlow::Continue(())
    }
}

fn is_narrow(part: &Expr) -> bool {
    match part {
        Expr::Extract { field, .. } => is_narrow_part(&part_name(field)),
        Expr::Position { .. } => true,
        Expr::Cast { data_type, .. } => is_narrow_type(data_type),
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
                (name, _) => NARROW.contains(&name),
            }
        }
        _ => false,
    }
}

fn part_name(field: &DateTimeField) -> String {
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
