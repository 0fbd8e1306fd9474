//! `drop`: all columns but these.

use super::super::rows::{Fault, Rows};

pub(super) fn apply(mut rows: Rows, columns: &[String]) -> Result<Rows, Fault> {
    rows.demand(columns.iter().map(String::as_str))?;
    let mut left = rows.columns();
    left.retain(|(field, _)| !columns.contains(field.name()));
    rows.set_columns(left)
}
