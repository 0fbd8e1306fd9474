//! A batch on its way through the steps, with the place that each row had at the start.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, NullArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::NullBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};

use super::{RejectedRow, TransformError, Transformed};
use crate::error::ErrorKind;
use crate::schema;

/// Columns with this beginning are the sink's own.
pub(super) const RESERVED: &str = "_hw_";

/// Why a step cannot work on a batch; job, step and line are added by the caller.
#[derive(Debug)]
pub(super) struct Fault {
    pub kind: ErrorKind,
    pub text: String,
}

impl Fault {
    pub fn config(text: impl Into<String>) -> Self {
        Fault { kind: ErrorKind::Config, text: text.into() }
    }

    pub fn bug(text: impl Into<String>) -> Self {
        Fault { kind: ErrorKind::Bug, text: text.into() }
    }
}

#[derive(Debug)]
pub(super) struct Rows {
    pub batch: RecordBatch,
    /// For each row its index in the batch that came in; `None` while no row has left.
    places: Option<Vec<usize>>,
    filtered: u64,
    rejected: Vec<RejectedRow>,
    /// Beginnings of the names of columns that a struct would have given if it had ever had a value: a column that was always
    /// null until now can be flattened all the same, and later steps may name what will come of it.
    unseen: Vec<String>,
}

impl Rows {
    pub fn new(batch: RecordBatch) -> Self {
        Rows { batch, places: None, filtered: 0, rejected: Vec::new(), unseen: Vec::new() }
    }

    pub fn finish(mut self) -> Transformed {
        self.rejected.sort_by_key(|rejected| rejected.row);
        Transformed { rows: self.batch, places: self.places, filtered: self.filtered, rejected: self.rejected }
    }

    /// The fields and arrays, to be put back by `set_columns`.
    pub fn columns(&self) -> Vec<(FieldRef, ArrayRef)> {
        self.batch.schema().fields().iter().cloned().zip(self.batch.columns().iter().cloned()).collect()
    }

    /// Replaces the columns; the number of rows stays. Two columns of one name and names of the sink are refused.
    pub fn set_columns(mut self, columns: Vec<(FieldRef, ArrayRef)>) -> Result<Self, Fault> {
        let mut seen = std::collections::HashSet::new();
        for (field, _) in &columns {
            if field.name().starts_with(RESERVED) {
                return Err(Fault::config(reserved(field.name())));
            }
            if !seen.insert(field.name()) {
                return Err(Fault::config(format!("two columns would have the name `{}`", field.name())));
            }
        }
        let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let options = RecordBatchOptions::new().with_row_count(Some(self.batch.num_rows()));
        self.batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|error| Fault::bug(format!("the step's columns make no batch: {error}")))?;
        Ok(self)
    }

    /// Keeps the rows for which `mask` is true; the others count as filtered.
    pub fn keep(mut self, mask: &BooleanArray) -> Result<Self, Fault> {
        let before = self.batch.num_rows();
        self.cut(mask)?;
        self.filtered += (before - self.batch.num_rows()) as u64;
        Ok(self)
    }

    /// Takes rows out as rejected: index in the present batch, field, reason. At most one entry a row, in any order.
    pub fn reject(&mut self, misfits: Vec<(usize, String, String)>) -> Result<(), Fault> {
        if misfits.is_empty() {
            return Ok(());
        }
        let mut fits = vec![true; self.batch.num_rows()];
        for (index, field, reason) in misfits {
            let row = self.places.as_ref().map_or(index, |places| places[index]);
            fits[index] = false;
            self.rejected.push(RejectedRow { row, field, reason });
        }
        self.cut(&BooleanArray::from(fits))
    }

    fn cut(&mut self, mask: &BooleanArray) -> Result<(), Fault> {
        let is_kept = |index: usize| mask.is_valid(index) && mask.value(index);
        let kept = (0..mask.len()).filter(|index| is_kept(*index)).count();
        if kept == mask.len() {
            return Ok(());
        }
        self.batch =
            filter_record_batch(&self.batch, mask).map_err(|error| Fault::bug(format!("cannot take rows out: {error}")))?;
        let mut places = Vec::with_capacity(kept);
        for index in (0..mask.len()).filter(|index| is_kept(*index)) {
            places.push(self.places.as_ref().map_or(index, |places| places[index]));
        }
        self.places = Some(places);
        Ok(())
    }

    /// Notes that columns with this beginning may still come.
    pub fn expect_unseen(&mut self, prefix: String) {
        self.unseen.push(prefix);
    }

    /// Makes sure that the named columns exist: those that a never seen struct would have given appear with the Null type.
    pub fn demand<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Result<(), Fault> {
        let schema = self.batch.schema();
        let mut missing: Vec<&str> = Vec::new();
        for name in names {
            if schema.column_with_name(name).is_some() || missing.contains(&name) {
                continue;
            }
            if !self.unseen.iter().any(|prefix| name.starts_with(prefix.as_str())) {
                let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                return Err(Fault::config(unknown_column(name, &known)));
            }
            missing.push(name);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let mut columns = self.columns();
        for name in missing {
            let nulls: ArrayRef = Arc::new(NullArray::new(self.batch.num_rows()));
            columns.push((Arc::new(Field::new(name, DataType::Null, true)), nulls));
        }
        let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        self.batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|error| Fault::bug(format!("cannot add a column: {error}")))?;
        Ok(())
    }
}

impl Rows {
    /// Makes sure that columns exist whose values a step works with, by the paths to them. A row whose value is of another type than
    /// the column, and so stands in a [sibling](is_sibling), is rejected: the step would take it for null.
    pub fn demand_values<'a, S: AsRef<str> + 'a>(&mut self, paths: impl IntoIterator<Item = &'a [S]>) -> Result<(), Fault> {
        let mut strays: BTreeMap<usize, (String, String)> = BTreeMap::new();
        for path in paths {
            self.demand(path.first().map(AsRef::as_ref))?;
            let schema = self.batch.schema();
            find_strays(schema.fields(), self.batch.columns(), None, path, &mut |row, found| {
                strays.entry(row).or_insert_with(|| {
                    let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
                    let reason = format!(
                        "a step works with this column, and the value is {found}: declare the field's type under [columns]"
                    );
                    (path.join("."), reason)
                });
            });
        }
        self.reject(strays.into_iter().map(|(row, (field, reason))| (row, field, reason)).collect())
    }
}

impl Transformed {
    /// Without some of its rows, which count as rejected. They are told by their number among `rows`, in order.
    ///
    /// # Errors
    /// `Bug` for a row that is not there.
    pub fn without(self, unfit: Vec<RejectedRow>) -> Result<Transformed, TransformError> {
        if unfit.is_empty() {
            return Ok(self);
        }
        let bug = |message: String| TransformError { kind: ErrorKind::Bug, message };
        let Transformed { rows, places, filtered, mut rejected } = self;
        let places = places.unwrap_or_else(|| (0..rows.num_rows()).collect());
        let mut stays = vec![true; rows.num_rows()];
        for unfit in unfit {
            let (Some(stays), Some(place)) = (stays.get_mut(unfit.row), places.get(unfit.row)) else {
                return Err(bug(format!("row {} of {} was to be rejected", unfit.row, rows.num_rows())));
            };
            *stays = false;
            rejected.push(RejectedRow { row: *place, ..unfit });
        }
        rejected.sort_by_key(|rejected| rejected.row);
        let places = places.into_iter().zip(&stays).filter(|(_, stays)| **stays).map(|(place, _)| place).collect();
        let rows = filter_record_batch(&rows, &BooleanArray::from(stays)).map_err(|error| bug(error.to_string()))?;
        Ok(Transformed { rows, places: Some(places), filtered, rejected })
    }
}

/// The rows that have a value in a sibling of what a path leads to, with its type; of a struct's, those where it is there.
fn find_strays<S: AsRef<str>>(
    fields: &Fields,
    columns: &[ArrayRef],
    there: Option<&NullBuffer>,
    path: &[S],
    found: &mut impl FnMut(usize, &str),
) {
    let Some((name, inner)) = path.split_first() else { return };
    for (field, column) in fields.iter().zip(columns) {
        let there = NullBuffer::union(there, column.nulls());
        if is_sibling(name.as_ref(), field) {
            let data_type = field.name()[name.as_ref().len() + 2..].trim_end_matches('_');
            let has_value = |row: &usize| there.as_ref().is_none_or(|there| there.is_valid(*row));
            (0..column.len()).filter(has_value).for_each(|row| found(row, data_type));
        } else if field.name() == name.as_ref()
            && !inner.is_empty()
            && let Some(column) = column.as_struct_opt()
        {
            find_strays(column.fields(), column.columns(), there.as_ref(), inner, found);
        }
    }
}

/// Whether a column holds the values of another one that are not of its type: `amount__float64` those of `amount`.
pub(super) fn is_sibling(base: &str, field: &Field) -> bool {
    let begins_so = field.name().strip_prefix(base).is_some_and(|rest| rest.starts_with("__"));
    begins_so && schema::Field::from_arrow(field).is_ok_and(|found| schema::is_sibling(base, &found.name, &found.column_type))
}

pub(super) fn reserved(name: &str) -> String {
    format!("names that begin with `{RESERVED}` are the table's own; choose another name for the column `{name}`")
}

/// The sentence about a column that is not there: what is near, and what to write.
pub(super) fn unknown_column(name: &str, known: &[&str]) -> String {
    let hint = match nearest(name, known) {
        Some(near) => format!("nearest is `{near}`"),
        None => format!("there are `{}`", shorten(&known.join(", "))),
    };
    format!("no column `{name}` ({hint}); if the source leaves it out at times, declare it under [columns] with its type")
}

/// The name in `known` that is most probably meant.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|other| (strsim::jaro_winkler(name, other), *other));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}

/// A value for a message: at most 100 characters.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
