//! A batch on its way through the steps, with the place that each row had at the start.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, NullArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};

use super::{RejectedRow, Transformed};
use crate::error::ErrorKind;

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
