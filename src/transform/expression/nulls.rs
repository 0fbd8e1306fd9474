//! Columns that never had a value, in expressions.
//!
//! Such a column has no type, and polars' functions refuse it: `LENGTH(title)` would fail until the first title comes. SQL knows
//! the answer without a type: what is computed strictly from a null is null. So the column is replaced by `NULL` in the tree, and
//! every strict operation over a `NULL` by `NULL`; what makes something of nulls (`IS NULL`, `COALESCE`, `OR`, ...) stays for polars,
//! or for `standard`.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Schema};
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType as SqlType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, UnaryOperator,
    Value, VisitMut, VisitorMut,
};

use super::functions;
use super::{is_logical, is_null, null};

/// The expression without the columns of the Null type. The error names a struct's field that is not there.
pub(super) fn fold(tree: &Expr, schema: &Schema) -> Result<Expr, String> {
    let mut tree = tree.clone();
    match tree.visit(&mut Fold { schema }) {
        ControlFlow::Break(problem) => Err(problem),
        ControlFlow::Continue(()) => Ok(tree),
    }
}

struct Fold<'a> {
    schema: &'a Schema,
}

impl VisitorMut for Fold<'_> {
    type Break = String;

    /// Children come first: a null travels upwards.
    fn post_visit_expr(&mut self, part: &mut Expr) -> ControlFlow<String> {
        match self.folded(part) {
            Ok(Some(folded)) => {
                *part = folded;
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(problem) => ControlFlow::Break(problem),
        }
    }
}

impl Fold<'_> {
    fn folded(&self, part: &mut Expr) -> Result<Option<Expr>, String> {
        let strict = match part {
            Expr::Identifier(name) => self.is_untyped(std::slice::from_ref(name))?,
            Expr::CompoundIdentifier(names) => self.is_untyped(names)?,
            Expr::IsNull(inner) if is_null(inner) => return Ok(Some(boolean(true))),
            Expr::IsNotNull(inner) if is_null(inner) => return Ok(Some(boolean(false))),
            Expr::Nested(inner)
            | Expr::Extract { expr: inner, .. }
            | Expr::Ceil { expr: inner, .. }
            | Expr::Floor { expr: inner, .. }
            | Expr::InList { expr: inner, .. }
            | Expr::Between { expr: inner, .. }
            | Expr::CompoundFieldAccess { root: inner, .. } => is_null(inner),
            Expr::UnaryOp { op: UnaryOperator::Not | UnaryOperator::Plus | UnaryOperator::Minus, expr } => is_null(expr),
            Expr::BinaryOp { left, op, right } if is_logical(op) => {
                // Null beside a boolean is polars' to decide, but it wants to know that it is a boolean.
                let both = is_null(left) && is_null(right);
                for side in [left, right] {
                    if is_null(side) && !both {
                        **side = typed_null(SqlType::Boolean);
                    }
                }
                both
            }
            Expr::BinaryOp { left, op, right } => *op != BinaryOperator::Spaceship && (is_null(left) || is_null(right)),
            Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. } | Expr::RLike { expr, pattern, .. } => {
                is_null(expr) || is_null(pattern)
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                is_null(expr) || [substring_from, substring_for].into_iter().flatten().any(|part| is_null(part))
            }
            Expr::Trim { expr, .. } => is_null(expr),
            Expr::Position { expr, r#in } => is_null(expr) || is_null(r#in),
            Expr::Case { operand: None, conditions, .. } => {
                for when in conditions {
                    if is_null(&when.condition) {
                        when.condition = typed_null(SqlType::Boolean);
                    }
                }
                false
            }
            Expr::Function(function) => {
                let name = function.name.to_string().to_lowercase();
                let FunctionArguments::List(list) = &mut function.args else { return Ok(None) };
                fold_arguments(&name, &mut list.args)
            }
            _ => false,
        };
        Ok(strict.then(null))
    }

    /// Whether the column, or the field of a struct, never had a value. A column that is not there at all is the caller's to tell.
    fn is_untyped(&self, path: &[Ident]) -> Result<bool, String> {
        Ok(field_type(self.schema, path)? == Some(&DataType::Null))
    }
}

/// The type of a column or, down a path, of a struct's field; below a Null it is Null. `None` if there is no such column; the error
/// names a field that its struct lacks.
pub(super) fn field_type<'a>(schema: &'a Schema, path: &[Ident]) -> Result<Option<&'a DataType>, String> {
    let Some((_, field)) = path.first().and_then(|name| schema.column_with_name(&name.value)) else {
        return Ok(None);
    };
    let mut data_type = field.data_type();
    for (depth, name) in path.iter().enumerate().skip(1) {
        let outer = path[..depth].iter().map(|name| name.value.as_str()).collect::<Vec<_>>().join(".");
        data_type = match data_type {
            DataType::Null => return Ok(Some(&DataType::Null)),
            DataType::Struct(fields) => match fields.iter().find(|field| *field.name() == name.value) {
                Some(field) => field.data_type(),
                None => {
                    let known: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                    let problem = super::super::rows::unknown_column(&name.value, &known);
                    return Err(format!("in the struct `{outer}`: {problem}"));
                }
            },
            _ => return Err(format!("`{outer}` is no struct and has no field `{}`", name.value)),
        };
    }
    Ok(Some(data_type))
}

/// Whether the call's result is null; else types its nulls where the function wants that.
fn fold_arguments(name: &str, args: &mut [FunctionArg]) -> bool {
    let mut values = Vec::with_capacity(args.len());
    for arg in args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = arg {
            values.push(value);
        }
    }
    if !functions::takes_nulls(name) {
        return values.iter().any(|value| is_null(value));
    }
    match name {
        "nullif" => values.first().is_some_and(|value| is_null(value)),
        "if" => {
            if let Some(condition) = values.first_mut().filter(|value| is_null(value)) {
                **condition = typed_null(SqlType::Boolean);
            }
            false
        }
        _ => {
            for value in values {
                if is_null(value) && functions::takes_null_text(name) {
                    *value = typed_null(SqlType::Varchar(None));
                }
            }
            false
        }
    }
}

pub(super) fn boolean(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).with_empty_span())
}

fn typed_null(data_type: SqlType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(null()), data_type, array: false, format: None }
}
