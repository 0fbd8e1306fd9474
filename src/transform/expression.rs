//! SQL expressions over the columns of a batch: what derive, filter and sql are made of.
//!
//! An expression is read by the parser that polars itself uses, looked through (only what works row by row passes), and handed to
//! polars as text again, with the types of the batch at hand.

mod decimals;
mod digits;
mod evaluate;
mod functions;
mod nulls;
mod standard;
mod times;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType as SqlType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    UnaryOperator, Value, VisitMut, VisitorMut, visit_expressions,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserOptions};
use sqlparser::tokenizer::Token;

pub(super) use evaluate::evaluate;

/// The one table that steps see.
pub(super) const TABLE: &str = "batch";

/// A row-wise SQL expression.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    tree: Box<Expr>,
    /// Names of columns, and paths to fields of structs.
    paths: BTreeSet<Vec<String>>,
}

impl Expression {
    /// The error says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = parser(text)?;
        let tree = parser.parse_expr().map_err(|error| syntax_error(&error.to_string()))?;
        match parser.peek_token().token {
            Token::EOF => Expression::new(tree, TABLE),
            token => Err(format!("the expression goes on after its end, at `{token}`")),
        }
    }

    /// Takes a part of a query over the table `table` (its alias, if it has one).
    pub fn new(mut tree: Expr, table: &str) -> Result<Self, String> {
        if let ControlFlow::Break(problem) = tree.visit(&mut StripTable { table }) {
            return Err(problem);
        }
        let mut paths = BTreeSet::new();
        let outcome = visit_expressions(&tree, |part| match vet(part) {
            Ok(()) => {
                paths.extend(column_path(part));
                ControlFlow::Continue(())
            }
            Err(problem) => ControlFlow::Break(problem),
        });
        if let ControlFlow::Break(problem) = outcome {
            return Err(problem);
        }
        let mut settled = tree.clone();
        standard::settle(&mut settled)?;
        // polars knows how many arguments a function takes, and which operators and types there are.
        match polars::sql::sql_expr(tree.to_string()).and_then(|_| polars::sql::sql_expr(settled.to_string())) {
            Ok(_) => Ok(Expression { tree: Box::new(tree), paths }),
            Err(error) => Err(polars_text(&error)),
        }
    }

    /// The columns that it names, outermost names of structs.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let mut before = None;
        let roots = self.paths.iter().filter_map(|path| path.first()).map(String::as_str);
        roots.filter(move |root| before.replace(*root) != Some(*root))
    }

    /// The same with the fields of structs that it names.
    pub fn paths(&self) -> impl Iterator<Item = &[String]> {
        self.paths.iter().map(Vec::as_slice)
    }

    /// The column, if the expression is nothing but a column's name.
    pub fn plain_column(&self) -> Option<&str> {
        match self.tree.as_ref() {
            Expr::Identifier(name) => Some(&name.value),
            _ => None,
        }
    }
}

/// A parser with the options that polars' own has.
pub(super) fn parser(text: &str) -> Result<Parser<'_>, String> {
    let options = ParserOptions { trailing_commas: true, ..Default::default() };
    let parser = Parser::new(&GenericDialect).with_options(options);
    parser.try_with_sql(text).map_err(|error| syntax_error(&error.to_string()))
}

/// The parser's message without its own prefix.
pub(super) fn syntax_error(message: &str) -> String {
    let message = message.trim_start_matches("sql parser error: ");
    format!("not SQL: {message}")
}

/// What polars says, in one line, without the query plans and hints for its own users that it appends, and at most 300 characters.
fn polars_text(error: &polars::error::PolarsError) -> String {
    let text = error.to_string();
    let text = text.trim().split("\n\n").next().unwrap_or(&text).replace('\n', " ");
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn column_path(part: &Expr) -> Option<Vec<String>> {
    match part {
        Expr::Identifier(name) => Some(vec![name.value.clone()]),
        Expr::CompoundIdentifier(names) => Some(names.iter().map(|name| name.value.clone()).collect()),
        _ => None,
    }
}

/// `batch.title` is `title`: there is one table only. And `user` is a column: the parser takes it for SQL's function USER.
struct StripTable<'a> {
    table: &'a str,
}

impl VisitorMut for StripTable<'_> {
    type Break = String;

    fn post_visit_expr(&mut self, part: &mut Expr) -> ControlFlow<String> {
        let path = match part {
            Expr::Function(function) => word(function).map(|name| vec![name]),
            Expr::CompoundIdentifier(names) => Some(std::mem::take(names)),
            Expr::CompoundFieldAccess { root, access_chain } => {
                let names = dotted(root, access_chain);
                if names.is_some() {
                    access_chain.clear();
                }
                names
            }
            _ => None,
        };
        if let Some(mut names) = path {
            if names.len() > 1 && names[0].value == self.table {
                names.remove(0);
            }
            *part = match <[Ident; 1]>::try_from(names) {
                Ok([name]) => Expr::Identifier(name),
                Err(names) => Expr::CompoundIdentifier(names),
            };
        }
        ControlFlow::Continue(())
    }
}

/// A column that has the name of one of SQL's functions without parentheses.
fn word(function: &Function) -> Option<Ident> {
    let name = function.name.to_string();
    let is_word = matches!(function.args, FunctionArguments::None) && matches!(name.to_lowercase().as_str(), "user");
    is_word.then(|| Ident::with_quote('"', name))
}

/// The names of `root.a.b`, if there is nothing but names.
fn dotted(root: &Expr, chain: &[AccessExpr]) -> Option<Vec<Ident>> {
    let mut names = match root {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(names) => names.clone(),
        _ => return None,
    };
    for access in chain {
        match access {
            AccessExpr::Dot(Expr::Identifier(name)) => names.push(name.clone()),
            _ => return None,
        }
    }
    Some(names)
}

/// Looks at one node; its children are visited by the caller.
fn vet(part: &Expr) -> Result<(), String> {
    match part {
        Expr::Function(function) => vet_function(function),
        Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
            Err("a step sees the rows of one batch only: subqueries are not possible".to_owned())
        }
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => Err("`*` is no value: name a column".to_owned()),
        // polars compares with the smallest or largest value of the whole column.
        Expr::AnyOp { .. } | Expr::AllOp { .. } => {
            Err("ANY and ALL are not possible in a step: write `x IN (...)` or `ARRAY_CONTAINS(list, x)`".to_owned())
        }
        // The parser takes all that follows for the other side.
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) if is_open(right) => Err(format!(
            "`{}` would be one value to compare with: write the comparison in parentheses, as in `(a IS DISTINCT FROM b) AND c`",
            super::rows::shorten(&right.to_string())
        )),
        Expr::Identifier(name) if name.value.starts_with(super::rows::RESERVED) => {
            Err(format!("the column `{name}` is added after the steps; a step cannot see it"))
        }
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::CompoundFieldAccess { .. }
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InList { .. }
        | Expr::Between { .. }
        | Expr::BinaryOp { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::RLike { .. }
        | Expr::UnaryOp { .. }
        | Expr::Cast { .. }
        | Expr::Extract { .. }
        | Expr::Ceil { .. }
        | Expr::Floor { .. }
        | Expr::Position { .. }
        | Expr::Substring { .. }
        | Expr::Trim { .. }
        | Expr::Nested(_)
        | Expr::Value(_)
        | Expr::TypedString(_)
        | Expr::Case { .. }
        | Expr::Array(_)
        | Expr::Interval(_) => Ok(()),
        other => Err(format!("`{}` is not possible in a step", super::rows::shorten(&other.to_string()))),
    }
}

fn vet_function(function: &Function) -> Result<(), String> {
    let name = function.name.to_string().to_lowercase();
    if function.over.is_some() {
        return Err(format!(
            "`{name}` with OVER looks at other rows: its result would depend on the batch; compute it at query time"
        ));
    }
    functions::allowed(&name)?;
    let plain = function.filter.is_none() && function.null_treatment.is_none() && function.within_group.is_empty();
    let FunctionArguments::List(list) = &function.args else {
        return Err(format!("`{name}` takes its arguments in parentheses"));
    };
    if !plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return Err(format!("`{name}` with FILTER, DISTINCT or ORDER BY is an aggregate: its result would depend on the batch"));
    }
    if let Some(other) = list.args.iter().find(|arg| !matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)))) {
        return Err(format!("`{name}` cannot take `{other}`"));
    }
    // Without a format polars guesses one from the first text of the batch.
    if functions::guesses_format(&name) && list.args.len() == 1 && !is_literal(&list.args[0]) {
        return Err(format!(
            "`{name}` without a format guesses it from the batch: give it, as in `{name}(x, '%Y-%m-%d')`, or use a cast step"
        ));
    }
    Ok(())
}

fn is_literal(arg: &FunctionArg) -> bool {
    matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(_))))
}

fn is_temporal(data_type: &SqlType) -> bool {
    use SqlType::*;
    matches!(data_type, Date | Date32 | Time(..) | Datetime(_) | Datetime64(..) | Timestamp(..) | TimestampNtz(_))
}

fn null() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

fn is_null(part: &Expr) -> bool {
    match part {
        Expr::Value(value) => matches!(value.value, Value::Null),
        Expr::Nested(inner) => is_null(inner),
        _ => false,
    }
}

/// AND or OR without parentheses around it.
fn is_open(part: &Expr) -> bool {
    matches!(part, Expr::BinaryOp { op, .. } if is_logical(op))
}

fn is_logical(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::And | BinaryOperator::Or)
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::*;
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | Spaceship)
}

/// `x IN (a, b)` as `(x = a OR x = b)`. Nothing of an empty list.
fn spell_out(expr: &Expr, list: &[Expr], negated: bool) -> Option<Expr> {
    let binary = |left: Expr, op, right: Expr| Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
    let equal = list.iter().map(|item| binary(expr.clone(), BinaryOperator::Eq, item.clone()));
    let any = Expr::Nested(Box::new(equal.reduce(|any, next| binary(any, BinaryOperator::Or, next))?));
    Some(match negated {
        true => Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) })),
        false => any,
    })
}
