//! `drop`: all columns but these, and those that hold values of theirs which are of another type.

use super::super::rows::{Fault, Rows, is_sibling};

pub(super) fn apply(mut rows: Rows, columns: &[String]) -> Result<Rows, Fault> {
    rows.demand(columns.iter().map(String::as_str))?;
    let mut left = rows.columns();
    left.retain(|(field, _)| !columns.iter().any(|column| column == field.name() || is_sibling(column, field)));
    rows.set_columns(left)
}
