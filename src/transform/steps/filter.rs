//! `filter`: the rows for which a predicate is true; false and null are filtered.

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::DataType;

use super::super::expression::{Expression, evaluate};
use super::super::rows::{Fault, Rows};
use crate::schema::ColumnType;

/// The field that a row is rejected for when the predicate fails on it.
const FIELD: &str = "";

pub(super) fn apply(mut rows: Rows, predicate: &Expression) -> Result<Rows, Fault> {
    rows.demand_values(predicate.paths())?;
    let evaluated = evaluate(&rows.batch, &[predicate])?;
    let failed = evaluated.failed.into_iter();
    rows.reject(failed.map(|(index, reason)| (index, FIELD.to_owned(), format!("the filter fails: {reason}"))).collect())?;
    let mask = &evaluated.columns[0];
    match mask.data_type() {
        DataType::Boolean => rows.keep(mask.as_boolean()),
        // `NULL` and nothing else: a comparison with a column that never had a value is true for no row.
        DataType::Null => rows.keep(&BooleanArray::from(vec![false; mask.len()])),
        other => {
            let found = ColumnType::from_arrow(other).map_or_else(|other| other.to_string(), |found| found.to_string());
            Err(Fault::config(format!("the predicate is {found}, not boolean: compare it with something, as in `x > 0`")))
        }
    }
}
