//! `select`: these columns, in this order.

use super::super::rows::{Fault, Rows};

pub(super) fn apply(mut rows: Rows, columns: &[String]) -> Result<Rows, Fault> {
    rows.demand(columns.iter().map(String::as_str))?;
    let present = rows.columns();
    let mut chosen = Vec::with_capacity(columns.len());
    for name in columns {
        chosen.extend(present.iter().find(|(field, _)| field.name() == name).cloned());
    }
    rows.set_columns(chosen)
}
