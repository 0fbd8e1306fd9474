//! The kinds of steps, one file each.

mod cast;
mod derive;
mod drop;
mod filter;
mod flatten;
mod rename;
mod select;
mod sql;

use std::collections::HashSet;

use super::expression::Expression;
use super::rows::{Fault, RESERVED, Rows, reserved};
use crate::config::catalog::{Step, StepKind};
use crate::schema::ColumnType;

pub(super) use sql::{Query, Target};

/// A step whose text was read and found good.
#[derive(Debug)]
pub(super) struct Compiled {
    pub number: usize,
    pub line: usize,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Select(Vec<String>),
    Drop(Vec<String>),
    Rename(Vec<(String, String)>),
    Cast(Vec<(String, ColumnType)>),
    Derive(Vec<(String, Expression)>),
    Filter(Expression),
    Flatten { columns: Vec<String>, separator: String },
    Sql(Query),
}

impl Compiled {
    /// Everything that can be said without data. The error is what is wrong and what to write instead.
    pub fn new(step: &Step) -> Result<Self, String> {
        let kind = match &step.kind {
            StepKind::Select(columns) => {
                if columns.is_empty() {
                    return Err("no column would be left: name at least one".to_owned());
                }
                refuse_repeats(columns)?;
                Kind::Select(columns.clone())
            }
            StepKind::Drop(columns) => {
                refuse_repeats(columns)?;
                Kind::Drop(columns.clone())
            }
            StepKind::Rename(pairs) => {
                refuse_repeats(pairs.iter().map(|(old, _)| old))?;
                check_new_names(pairs.iter().map(|(_, new)| new))?;
                Kind::Rename(pairs.clone())
            }
            StepKind::Cast(columns) => {
                refuse_repeats(columns.iter().map(|(column, _)| column))?;
                for (column, target) in columns {
                    cast::check_target(target).map_err(|problem| format!("column `{column}`: {problem}"))?;
                }
                Kind::Cast(columns.clone())
            }
            StepKind::Derive(columns) => {
                check_new_names(columns.iter().map(|(column, _)| column))?;
                let mut derived = Vec::with_capacity(columns.len());
                for (column, text) in columns {
                    let expression = Expression::parse(text).map_err(|problem| format!("column `{column}`: {problem}"))?;
                    derived.push((column.clone(), expression));
                }
                Kind::Derive(derived)
            }
            StepKind::Filter(text) => Kind::Filter(Expression::parse(text)?),
            StepKind::Flatten { columns, separator } => {
                refuse_repeats(columns)?;
                Kind::Flatten { columns: columns.clone(), separator: separator.clone() }
            }
            StepKind::Sql(text) => Kind::Sql(Query::parse(text)?),
        };
        Ok(Compiled { number: step.number, line: step.line, kind })
    }

    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Select(_) => "select",
            Kind::Drop(_) => "drop",
            Kind::Rename(_) => "rename",
            Kind::Cast(_) => "cast",
            Kind::Derive(_) => "derive",
            Kind::Filter(_) => "filter",
            Kind::Flatten { .. } => "flatten",
            Kind::Sql(_) => "sql",
        }
    }

    pub fn apply(&self, rows: Rows) -> Result<Rows, Fault> {
        match &self.kind {
            Kind::Select(columns) => select::apply(rows, columns),
            Kind::Drop(columns) => drop::apply(rows, columns),
            Kind::Rename(pairs) => rename::apply(rows, pairs),
            Kind::Cast(columns) => cast::apply(rows, columns),
            Kind::Derive(columns) => derive::apply(rows, columns),
            Kind::Filter(predicate) => filter::apply(rows, predicate),
            Kind::Flatten { columns, separator } => flatten::apply(rows, columns, separator),
            Kind::Sql(query) => sql::apply(rows, query),
        }
    }
}

fn refuse_repeats<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = HashSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(format!("column `{name}` is named twice")),
        None => Ok(()),
    }
}

/// Names that a step gives: each once, none of the sink's own.
fn check_new_names<'a>(names: impl IntoIterator<Item = &'a String> + Clone) -> Result<(), String> {
    for name in names.clone() {
        if name.is_empty() {
            return Err("a column needs a name".to_owned());
        }
        if name.starts_with(RESERVED) {
            return Err(reserved(name));
        }
    }
    refuse_repeats(names)
}
