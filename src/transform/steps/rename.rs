//! `rename`: old names to new ones, all at once, so that two columns can change places. What holds values of a column which are of
//! another type goes with it.

use std::sync::Arc;

use super::super::rows::{Fault, Rows, is_sibling};

pub(super) fn apply(mut rows: Rows, pairs: &[(String, String)]) -> Result<Rows, Fault> {
    rows.demand(pairs.iter().map(|(old, _)| old.as_str()))?;
    let mut columns = rows.columns();
    for (field, _) in &mut columns {
        if let Some((_, new)) = pairs.iter().find(|(old, _)| old == field.name()) {
            *field = Arc::new(field.as_ref().clone().with_name(new));
        } else if let Some((old, new)) = pairs.iter().find(|(old, _)| is_sibling(old, field)) {
            let name = format!("{new}{}", &field.name()[old.len()..]);
            *field = Arc::new(field.as_ref().clone().with_name(name));
        }
    }
    for (old, new) in pairs {
        let same = columns.iter().filter(|(field, _)| field.name() == new).count();
        if same > 1 {
            return Err(Fault::config(format!("`{old}` cannot become `{new}`: there is a column `{new}` already")));
        }
    }
    rows.set_columns(columns)
}
