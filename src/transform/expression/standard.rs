//! Where polars' SQL says something else than SQL, without a word: what was meant, in words that polars has.
//!
//! | written | polars alone |
//! |---|---|
//! | `x IS TRUE`, `IS NOT TRUE`, `IS FALSE`, `IS NOT FALSE` | null for a null, so that a filter drops the row |
//! | `POSITION(a IN x)`, `STRPOS(x, a)` | takes `a` for a regular expression, counts bytes, and gives 0 for a null |
//! | `RIGHT(x, n)` | of a text shorter than `n` only the end |
//! | `SUBSTR(x, n)` | where `n` is a column and 0 or less: counts from the end |
//! | `EXTRACT(EPOCH FROM t)` | null before 1677 and behind 2262: it counts nanoseconds |

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value, VisitMut, VisitorMut};

use super::digits::part_name;
use super::nulls::boolean;
use super::{is_null, parser, syntax_error};

/// Puts what was meant in the place of what was written. Comes behind `nulls::fold`: a column without a type is `NULL` by then.
pub(super) fn settle(tree: &mut Expr) -> Result<(), String> {
    match tree.visit(&mut Settle) {
        ControlFlow::Break(problem) => Err(problem),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Settle;

impl VisitorMut for Settle {
    type Break = String;

    fn post_visit_expr(&mut self, part: &mut Expr) -> ControlFlow<String> {
        match settled(part) {
            Ok(Some(settled)) => {
                *part = settled;
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(problem) => ControlFlow::Break(problem),
        }
    }
}

/// Longest text of one that was put in another's place: what stands in it several times may be such a one itself.
const SETTLED_MAX: usize = 64 * 1024;

fn settled(part: &mut Expr) -> Result<Option<Expr>, String> {
    match part {
        Expr::IsTrue(inner) => Ok(Some(is_value(inner, true, true))),
        Expr::IsNotTrue(inner) => Ok(Some(is_value(inner, true, false))),
        Expr::IsFalse(inner) => Ok(Some(is_value(inner, false, true))),
        Expr::IsNotFalse(inner) => Ok(Some(is_value(inner, false, false))),
        Expr::Position { expr, r#in } => position(r#in, expr).map(Some),
        Expr::Extract { field, expr, .. } if part_name(field) == "epoch" => epoch(expr).map(Some),
        Expr::Substring { substring_from: Some(from), substring_for: None, .. } if !is_literal(from) => {
            **from = parse(format!("CASE WHEN ({from}) < 1 THEN 1 ELSE {from} END"))?;
            Ok(None)
        }
        Expr::Function(function) => call(function),
        _ => Ok(None),
    }
}

fn call(function: &Function) -> Result<Option<Expr>, String> {
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    let mut values = Vec::with_capacity(list.args.len());
    for arg in &list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = arg {
            values.push(value);
        }
    }
    let name = function.name.to_string().to_lowercase();
    match (name.as_str(), values.as_slice()) {
        ("strpos", [text, sought]) => position(text, sought).map(Some),
        ("right", [text, count]) => {
            parse(format!("(CASE WHEN ({count}) >= LENGTH({text}) THEN {text} ELSE RIGHT({text}, {count}) END)")).map(Some)
        }
        ("date_part", [Expr::Value(part), time]) if is_epoch(&part.value) => epoch(time).map(Some),
        _ => Ok(None),
    }
}

/// True or false, for a null too.
fn is_value(inner: &Expr, value: bool, is: bool) -> Expr {
    if is_null(inner) {
        return boolean(!is);
    }
    let inner = Box::new(Expr::Nested(Box::new(inner.clone())));
    let value = Box::new(boolean(value));
    let compared = if is { Expr::IsNotDistinctFrom(inner, value) } else { Expr::IsDistinctFrom(inner, value) };
    Expr::Nested(Box::new(compared))
}

/// Where `sought` begins in `text`, counted in characters from 1: behind what stands before it. 0 if it is not there.
fn position(text: &Expr, sought: &Expr) -> Result<Expr, String> {
    let before = format!("LENGTH(SPLIT_PART({text}, {sought}, 1))");
    parse(format!(
        "(CASE WHEN ({sought}) IS NULL THEN NULL WHEN STARTS_WITH({text}, {sought}) THEN 1 \
         WHEN {before} = LENGTH({text}) THEN 0 ELSE {before} + 1 END)"
    ))
}

/// Seconds since 1970, by way of microseconds, which go as far as years do. Whole seconds stay whole.
fn epoch(time: &Expr) -> Result<Expr, String> {
    let microseconds = format!("CAST(CAST({time} AS TIMESTAMP) AS BIGINT)");
    parse(format!("(DIV({microseconds}, 1000000) + ({microseconds} % 1000000) / 1000000)"))
}

fn is_epoch(part: &Value) -> bool {
    matches!(part, Value::SingleQuotedString(part) if part.eq_ignore_ascii_case("epoch"))
}

fn is_literal(part: &Expr) -> bool {
    match part {
        Expr::Value(_) => true,
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => is_literal(expr),
        _ => false,
    }
}

fn parse(text: String) -> Result<Expr, String> {
    if text.len() > SETTLED_MAX {
        return Err("POSITION, STRPOS, RIGHT and SUBSTR stand too deep in one another: compute the inner ones in a step before"
            .to_owned());
    }
    parser(&text)?.parse_expr().map_err(|error| syntax_error(&error.to_string()))
}
