//! `select`: these columns, in this order, each with those that hold values of its own which are of another type.

use super::super::rows::{Fault, Rows, is_sibling};

pub(super) fn apply(mut rows: Rows, columns: &[String]) -> Result<Rows, Fault> {
    rows.demand(columns.iter().map(String::as_str))?;
    let present = rows.columns();
    let mut chosen = Vec::with_capacity(columns.len());
    for name in columns {
        chosen.extend(present.iter().find(|(field, _)| field.name() == name).cloned());
        chosen.extend(present.iter().filter(|(field, _)| is_sibling(name, field) && !columns.contains(field.name())).cloned());
    }
    rows.set_columns(chosen)
}
