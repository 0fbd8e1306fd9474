//! `derive`: new columns from expressions, all of which see the step's input. A column of the same name is replaced in its place.

use std::sync::Arc;

use arrow::datatypes::Field;

use super::super::expression::{Expression, evaluate};
use super::super::rows::{Fault, Rows};

pub(super) fn apply(mut rows: Rows, columns: &[(String, Expression)]) -> Result<Rows, Fault> {
    rows.demand_values(columns.iter().flat_map(|(_, expression)| expression.paths()))?;
    let mut failures = Vec::new();
    let mut computed = Vec::with_capacity(columns.len());
    for (name, expression) in columns {
        // One by one, so that a failure names its column; the frame is made of shared buffers and costs little.
        let evaluated = evaluate(&rows.batch, &[expression])
            .map_err(|fault| Fault { kind: fault.kind, text: format!("column `{name}`: {}", fault.text) })?;
        if evaluated.failed.is_empty() {
            computed.push(evaluated.columns.into_iter().next());
        }
        failures.extend(evaluated.failed.into_iter().map(|(index, reason)| (index, name.clone(), reason)));
    }
    if !failures.is_empty() {
        // The bad rows leave, and the rest is computed again: rare, and every column is then of one length.
        failures.sort_by_key(|(index, ..)| *index);
        failures.dedup_by_key(|(index, ..)| *index);
        rows.reject(failures)?;
        return apply(rows, columns);
    }
    let mut result = rows.columns();
    for ((name, _), array) in columns.iter().zip(computed) {
        let Some(array) = array else { return Err(Fault::bug(format!("column `{name}` was not computed"))) };
        let field = Arc::new(Field::new(name, array.data_type().clone(), true));
        match result.iter_mut().find(|(other, _)| other.name() == name) {
            Some(place) => *place = (field, array),
            None => result.push((field, array)),
        }
    }
    rows.set_columns(result)
}
