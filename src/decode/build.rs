//! The fast way over a page: columns of places to arrays, every value checked against its type.
//!
//! A few rows of all columns are built before the next: what stands in a record is near then, however many columns read of it. A whole
//! column of a page at once would have to wait for nearly every value, which lie a record apart.

use std::ops::Range;

use arrow::array::{ArrayRef, PrimitiveBuilder, StringViewBuilder};
use arrow::datatypes::{ArrowPrimitiveType, Fields};
use arrow::error::ArrowError;

use super::column::{Column, Form};
use super::document::{Document, Item, MISSING};
use super::kind::{Hold, Object};
use super::observe::sibling_for;
use super::split::{Columns, SplitError, check_cells, split};
use super::values::is_wide;

/// Records that are built before the next ones: with their tape and the ends of all columns they stay in a processor's own memory.
const ROWS: usize = 64;

/// Why no arrays came out.
#[derive(Debug)]
pub enum Halt {
    /// A value or field that the tree does not know yet: the page is observed, then built again.
    New,
    /// Rows times fields go beyond all measure.
    TooLarge,
    /// Ours.
    Arrow(ArrowError),
}

impl From<ArrowError> for Halt {
    fn from(error: ArrowError) -> Self {
        Halt::Arrow(error)
    }
}

impl From<SplitError> for Halt {
    fn from(error: SplitError) -> Self {
        match error {
            SplitError::Unknown | SplitError::NoObject => Halt::New,
            SplitError::TooLarge => Halt::TooLarge,
        }
    }
}

/// Builds arrays of a document's values.
pub struct Builder<'a, 'd> {
    pub doc: &'a Document<'d>,
    /// Values that do not fit a committed field go to their siblings; otherwise they are a reason to halt.
    pub route: bool,
}

impl Builder<'_, '_> {
    /// The columns of the records at `rows`, which are already split into `places`; `fields` are those of the tree as it stands.
    pub fn columns(&self, object: &Object, fields: &Fields, rows: &[u32], mut places: Columns) -> Result<Vec<ArrayRef>, Halt> {
        self.route_misfits(object, &mut places);
        let mut columns = Column::of_members(object, fields, rows.len())?;
        for from in (0..rows.len()).step_by(ROWS) {
            let some = from..rows.len().min(from + ROWS);
            self.doc.fetch(&rows[some.clone()]);
            self.extend_each(&mut columns, &places, some)?;
        }
        columns.into_iter().map(|column| Ok(column.finish()?)).collect()
    }

    fn route_misfits(&self, object: &Object, columns: &mut Columns) {
        if !self.route {
            return;
        }
        let misfit_columns: Vec<usize> = object.with_misfits().collect();
        for (place, node) in object.nodes.iter().enumerate() {
            if node.hold != Hold::Committed {
                continue;
            }
            for row in 0..columns[place].len() {
                let at = columns[place][row];
                if self.doc.fits_as_field(node, at) {
                    continue;
                }
                let own_column = || misfit_columns.iter().position(|of| *of == place).map(|index| object.nodes.len() + index);
                // Without a place it stays, and building the column halts: nothing is dropped.
                if let Some(target) = sibling_for(self.doc, object, place, at).or_else(own_column) {
                    columns[target][row] = at;
                    columns[place][row] = MISSING;
                }
            }
        }
    }

    /// Takes some rows of each column.
    fn extend_each(&self, columns: &mut [Column<'_>], places: &Columns, rows: Range<usize>) -> Result<(), Halt> {
        columns.iter_mut().zip(places).try_for_each(|(column, places)| self.extend(column, &places[rows.clone()]))
    }

    fn extend(&self, column: &mut Column<'_>, places: &[u32]) -> Result<(), Halt> {
        let (doc, hold) = (self.doc, column.hold);
        match &mut column.form {
            Form::Null(rows) => {
                if !places.iter().all(|at| doc.is_null(*at)) {
                    return Err(Halt::New);
                }
                *rows += places.len();
            }
            Form::Boolean(values) => {
                for at in places {
                    match doc.is_null(*at) {
                        true => values.append_null(),
                        false => values.append_value(doc.boolean(*at, hold).ok_or(Halt::New)?),
                    }
                }
            }
            Form::Int { wide, values } => {
                let known = |value: &i64| *wide || !is_wide(*value);
                self.primitives(values, places, |at| doc.int(at, hold).filter(known))?;
            }
            Form::Float(values) => self.primitives(values, places, |at| doc.float(at, hold))?,
            Form::Decimal { precision, scale, values } => {
                self.primitives(values, places, |at| doc.decimal(at, *precision, *scale))?;
            }
            Form::Epoch(unit, values) => self.primitives(values, places, |at| doc.epoch(at, *unit))?,
            Form::Timestamp(values) => self.primitives(values, places, |at| doc.timestamp(at, hold))?,
            Form::Date(values) => self.primitives(values, places, |at| doc.date(at))?,
            Form::Text(values) => self.texts(values, places, |at| doc.text(at, hold))?,
            Form::Json(values) => self.texts(values, places, |at| Some(doc.raw(at)))?,
            // An object with a field, or no object at all, would change what the column is.
            Form::Empty(values) => {
                let is_empty = |at: &u32| matches!(doc.item(*at), Item::Object(end) if end == at + 1);
                self.texts(values, places, |at| Some(at).filter(is_empty).map(|at| doc.raw(at)))?;
            }
            Form::List { item, lengths, nulls, .. } => {
                let mut items = Vec::new();
                for at in places {
                    let before = items.len();
                    match doc.item(*at) {
                        Item::List(_) => items.extend(doc.items(*at)),
                        Item::Null => {}
                        _ => return Err(Halt::New),
                    }
                    lengths.push(items.len() - before);
                    nulls.append(!doc.is_null(*at));
                }
                self.extend(item, &items)?;
            }
            Form::Object { object, columns, nulls, .. } => {
                check_cells(object, nulls.len() + places.len())?;
                let mut members = split(doc, object, places)?;
                self.route_misfits(object, &mut members);
                self.extend_each(columns, &members, 0..places.len())?;
                places.iter().for_each(|at| nulls.append(!doc.is_null(*at)));
            }
        }
        Ok(())
    }

    fn primitives<T: ArrowPrimitiveType>(
        &self,
        values: &mut PrimitiveBuilder<T>,
        places: &[u32],
        read: impl Fn(u32) -> Option<T::Native>,
    ) -> Result<(), Halt> {
        for at in places {
            match self.doc.is_null(*at) {
                true => values.append_null(),
                false => values.append_value(read(*at).ok_or(Halt::New)?),
            }
        }
        Ok(())
    }

    fn texts<'t>(
        &self,
        values: &mut StringViewBuilder,
        places: &[u32],
        read: impl Fn(u32) -> Option<&'t str>,
    ) -> Result<(), Halt> {
        for at in places {
            match self.doc.is_null(*at) {
                true => values.append_null(),
                false => values.try_append_value(read(*at).ok_or(Halt::New)?)?,
            }
        }
        Ok(())
    }
}
