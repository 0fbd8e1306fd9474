//! Decimals that meet other numbers.
//!
//! polars brings both sides of an operator to one type, and what does not fit it is null without a word. So the CAST to the larger
//! scale is written into the tree: there a value that does not fit fails, and its row is rejected. A number with a point is a float64
//! to polars, which a decimal is rounded to; compared with decimals it is one itself. Text is refused, as beside any other number.
//! And `/` divides as float64 here too.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Schema};
use polars::prelude::DataType as PolarsType;
use sqlparser::ast::{
    BinaryOperator, DataType as SqlType, ExactNumberInfo, Expr, Ident, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
    visit_expressions,
};

use super::digits::{DIGITS_MAX, cast_in_place, has_decimals};
use super::nulls::field_type;
use super::{is_comparison, spell_out};

/// 64 bits are at most 20 digits, and fit beside a scale of up to as many as this.
const SCALE_BESIDE_WHOLE: u8 = 18;

/// `type_of` tells the type of an expression over the batch, if it has one. The error names a text that a decimal meets.
pub(super) fn settle(tree: &mut Expr, schema: &Schema, type_of: &dyn Fn(&Expr) -> Option<PolarsType>) -> Result<(), String> {
    match tree.visit(&mut Settle { schema, type_of }) {
        ControlFlow::Break(problem) => Err(problem),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Settle<'a> {
    schema: &'a Schema,
    type_of: &'a dyn Fn(&Expr) -> Option<PolarsType>,
}

enum Kind {
    Decimal {
        scale: u8,
    },
    Whole,
    /// A number with a point, as it is written, and its digits before and behind the point.
    Point {
        text: String,
        before: usize,
        scale: u8,
    },
    Text,
    Other,
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
    fn settled(&self, part: &mut Expr) -> Result<(), String> {
        use BinaryOperator::{Divide, Minus, Multiply, Plus};
        match part {
            Expr::BinaryOp { left, op: Divide, right } => {
                for side in [left, right] {
                    if self.has_decimals(side) && matches!(self.kind(side), Kind::Decimal { .. }) {
                        cast_in_place(side, SqlType::Double(ExactNumberInfo::None));
                    }
                }
            }
            Expr::BinaryOp { left, op: Plus | Minus | Multiply, right } => {
                self.bring_together([left.as_mut(), right.as_mut()], false)?;
            }
            Expr::BinaryOp { left, op, right } if is_comparison(op) => {
                self.bring_together([left.as_mut(), right.as_mut()], true)?;
            }
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.bring_together([left.as_mut(), right.as_mut()], true)?;
            }
            Expr::Between { expr, low, high, .. } => {
                self.bring_together([expr.as_mut(), low.as_mut(), high.as_mut()], true)?;
            }
            // polars rounds what is in the list to the column's scale.
            Expr::InList { expr, list, negated }
                if list.iter().any(|item| point(item).is_some())
                    && self.has_decimals(expr)
                    && matches!(self.kind(expr), Kind::Decimal { .. }) =>
            {
                if let Some(mut spelled) = spell_out(expr, list, *negated) {
                    settle(&mut spelled, self.schema, self.type_of)?;
                    *part = spelled;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives all sides the largest scale among them, if one is a decimal.
    fn bring_together<const N: usize>(&self, sides: [&mut Expr; N], compares: bool) -> Result<(), String> {
        if !sides.iter().any(|side| self.has_decimals(side)) {
            return Ok(());
        }
        let kinds: Vec<Kind> = sides.iter().map(|side| self.kind(side)).collect();
        let mut scale: Option<u8> = None;
        for kind in &kinds {
            if let Kind::Decimal { scale: own } = kind {
                scale = scale.max(Some(*own));
            }
        }
        let Some(mut scale) = scale else { return Ok(()) };
        // polars would write the decimal as text: `100.00` comes before `5`.
        if let Some((text, _)) = sides.iter().zip(&kinds).find(|(_, kind)| matches!(kind, Kind::Text)) {
            return Err(format!("`{text}` is text beside a decimal: write a number without quotes, or CAST one of the two"));
        }
        if compares {
            for kind in &kinds {
                if let Kind::Point { before, scale: own, .. } = kind
                    && before + usize::from(scale.max(*own)) <= usize::from(DIGITS_MAX)
                {
                    scale = scale.max(*own);
                }
            }
        }
        let wanted = SqlType::Decimal(ExactNumberInfo::PrecisionAndScale(u64::from(DIGITS_MAX), i64::from(scale)));
        for (side, kind) in sides.into_iter().zip(kinds) {
            match kind {
                Kind::Decimal { scale: own } if own < scale => cast_in_place(side, wanted.clone()),
                Kind::Whole if scale > SCALE_BESIDE_WHOLE => cast_in_place(side, wanted.clone()),
                Kind::Point { text, before, scale: own }
                    if compares && own <= scale && before + usize::from(scale) <= usize::from(DIGITS_MAX) =>
                {
                    *side = Expr::Value(Value::SingleQuotedString(text).with_empty_span());
                    cast_in_place(side, wanted.clone());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn kind(&self, part: &Expr) -> Kind {
        match part {
            Expr::Nested(inner) => self.kind(inner),
            Expr::Identifier(name) => self.kind_of_column(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(names) => self.kind_of_column(names),
            Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) if !digits.contains('.') => Kind::Whole,
            _ => match point(part) {
                Some(point) => point,
                None => match (self.type_of)(part) {
                    Some(PolarsType::Decimal(_, scale)) => {
                        u8::try_from(scale).map_or(Kind::Other, |scale| Kind::Decimal { scale })
                    }
                    Some(PolarsType::String) => Kind::Text,
                    Some(found) if found.is_integer() => Kind::Whole,
                    _ => Kind::Other,
                },
            },
        }
    }

    fn kind_of_column(&self, path: &[Ident]) -> Kind {
        match field_type(self.schema, path).ok().flatten() {
            Some(DataType::Decimal128(_, scale)) => u8::try_from(*scale).map_or(Kind::Other, |scale| Kind::Decimal { scale }),
            Some(DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8) => Kind::Text,
            Some(found) if found.is_integer() => Kind::Whole,
            _ => Kind::Other,
        }
    }

    /// Whether a decimal stands anywhere in the expression: nothing else can make one.
    fn has_decimals(&self, part: &Expr) -> bool {
        let holds = |path: &[Ident]| field_type(self.schema, path).ok().flatten().is_some_and(has_decimals);
        let found = visit_expressions(part, |part| {
            let is_decimal = match part {
                Expr::Identifier(name) => holds(std::slice::from_ref(name)),
                Expr::CompoundIdentifier(names) => holds(names),
                Expr::Cast { data_type, .. } => is_decimal(data_type),
                _ => false,
            };
            if is_decimal { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found.is_break()
    }
}

fn is_decimal(data_type: &SqlType) -> bool {
    matches!(data_type, SqlType::Decimal(_) | SqlType::Numeric(_) | SqlType::Dec(_) | SqlType::BigDecimal(_))
}

/// A literal with a point and no exponent.
fn point(part: &Expr) -> Option<Kind> {
    let text = literal(part)?;
    let (before, behind) = text.trim_start_matches('-').split_once('.')?;
    let is_plain = [before, behind].iter().all(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let (before, scale) = (before.len(), u8::try_from(behind.len()).ok()?);
    is_plain.then_some(Kind::Point { text, before, scale })
}

fn literal(part: &Expr) -> Option<String> {
    match part {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => Some(digits.clone()),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => Some(format!("-{digits}")),
            _ => None,
        },
        Expr::Nested(inner) => literal(inner),
        _ => None,
    }
}
