//! The fast way over a page: columns of places to arrays, a column at a time, every value checked against its type.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, LargeListArray, NullArray, NullBufferBuilder,
    PrimitiveArray, StringViewBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Fields};
use arrow::error::ArrowError;

use super::document::{Document, Item, MISSING};
use super::kind::{Hold, Kind, Node, Object};
use super::observe::sibling_for;
use super::split::{Columns, SplitError, split};
use super::values::is_wide;

/// Values of a column that are fetched at once.
const FETCHED: usize = 32;

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
    /// The columns of objects that are already split; `fields` are those of the tree as it stands.
    pub fn columns(&self, object: &Object, fields: &Fields, mut columns: Columns) -> Result<Vec<ArrayRef>, Halt> {
        if self.route {
            self.route_misfits(object, &mut columns);
        }
        let own = object.nodes.iter().map(|node| (&node.kind, node.hold));
        let misfits = object.with_misfits().map(|place| (&object.nodes[place].misfits, Hold::Open));
        let mut arrays = Vec::with_capacity(fields.len());
        for (((kind, hold), field), column) in own.chain(misfits).zip(fields).zip(columns) {
            arrays.push(self.column(kind, hold, field.data_type(), &column)?);
        }
        Ok(arrays)
    }

    fn route_misfits(&self, object: &Object, columns: &mut Columns) {
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

    fn column(&self, kind: &Kind, hold: Hold, data_type: &DataType, column: &[u32]) -> Result<ArrayRef, Halt> {
        let doc = self.doc;
        Ok(match kind {
            Kind::Null => self.nulls(column)?,
            Kind::Boolean => self.booleans(hold, column)?,
            Kind::Int { wide } => {
                let known = |value: &i64| *wide || !is_wide(*value);
                Arc::new(self.primitives(column, |at| doc.int(at, hold).filter(known))? as Int64Array)
            }
            Kind::Float => Arc::new(self.primitives(column, |at| doc.float(at, hold))? as Float64Array),
            Kind::Decimal { precision, scale } => {
                let array: Decimal128Array = self.primitives(column, |at| doc.decimal(at, *precision, *scale))?;
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            Kind::Epoch(unit) => self.timestamps(column, |at| doc.epoch(at, *unit))?,
            Kind::Timestamp => self.timestamps(column, |at| doc.timestamp(at, hold))?,
            Kind::Date => Arc::new(self.primitives(column, |at| doc.date(at))? as Date32Array),
            Kind::Text => self.texts(column, |at| doc.text(at, hold))?,
            Kind::Json => self.texts(column, |at| Some(doc.raw(at)))?,
            Kind::List(item) => self.lists(item, data_type, column)?,
            Kind::Object(object) if object.nodes.is_empty() => {
                // An object with a field, or no object at all, would change what the column is.
                let is_empty = |at: &u32| matches!(doc.item(*at), Item::Object(end) if end == at + 1);
                self.texts(column, |at| Some(at).filter(is_empty).map(|at| doc.raw(at)))?
            }
            Kind::Object(object) => self.structs(object, data_type, column)?,
        })
    }

    fn nulls(&self, column: &[u32]) -> Result<ArrayRef, Halt> {
        match column.iter().all(|at| self.doc.is_null(*at)) {
            true => Ok(Arc::new(NullArray::new(column.len()))),
            false => Err(Halt::New),
        }
    }

    fn booleans(&self, hold: Hold, column: &[u32]) -> Result<ArrayRef, Halt> {
        let mut values = Vec::with_capacity(column.len());
        for at in column {
            match self.doc.is_null(*at) {
                true => values.push(None),
                false => values.push(Some(self.doc.boolean(*at, hold).ok_or(Halt::New)?)),
            }
        }
        Ok(Arc::new(BooleanArray::from(values)))
    }

    fn primitives<T: ArrowPrimitiveType>(
        &self,
        column: &[u32],
        read: impl Fn(u32) -> Option<T::Native>,
    ) -> Result<PrimitiveArray<T>, Halt> {
        let mut values = Vec::with_capacity(column.len());
        let mut nulls = NullBufferBuilder::new(column.len());
        for places in column.chunks(FETCHED) {
            self.doc.fetch(places);
            for at in places {
                if self.doc.is_null(*at) {
                    values.push(T::Native::default());
                    nulls.append_null();
                } else {
                    values.push(read(*at).ok_or(Halt::New)?);
                    nulls.append_non_null();
                }
            }
        }
        Ok(PrimitiveArray::try_new(values.into(), nulls.finish())?)
    }

    fn timestamps(&self, column: &[u32], read: impl Fn(u32) -> Option<i64>) -> Result<ArrayRef, Halt> {
        let array: TimestampMicrosecondArray = self.primitives(column, read)?;
        Ok(Arc::new(array.with_timezone("UTC")))
    }

    fn texts<'t>(&self, column: &[u32], read: impl Fn(u32) -> Option<&'t str>) -> Result<ArrayRef, Halt> {
        let mut builder = StringViewBuilder::with_capacity(column.len());
        for places in column.chunks(FETCHED) {
            self.doc.fetch(places);
            for at in places {
                match self.doc.is_null(*at) {
                    true => builder.append_null(),
                    false => builder.try_append_value(read(*at).ok_or(Halt::New)?)?,
                }
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    fn lists(&self, item: &Node, data_type: &DataType, column: &[u32]) -> Result<ArrayRef, Halt> {
        let DataType::LargeList(field) = data_type else { return Err(mismatch("list", data_type)) };
        let mut lengths = Vec::with_capacity(column.len());
        let mut items = Vec::new();
        for at in column {
            let before = items.len();
            match self.doc.item(*at) {
                Item::List(_) => items.extend(self.doc.items(*at)),
                Item::Null => {}
                _ => return Err(Halt::New),
            }
            lengths.push(items.len() - before);
        }
        let values = self.column(&item.kind, item.hold, field.data_type(), &items)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(LargeListArray::try_new(Arc::clone(field), offsets, values, self.validity(column))?))
    }

    fn structs(&self, object: &Object, data_type: &DataType, column: &[u32]) -> Result<ArrayRef, Halt> {
        let DataType::Struct(fields) = data_type else { return Err(mismatch("struct", data_type)) };
        let columns = split(self.doc, object, column)?;
        let arrays = self.columns(object, fields, columns)?;
        Ok(Arc::new(StructArray::try_new(fields.clone(), arrays, self.validity(column))?))
    }

    /// `None` where nothing is null.
    fn validity(&self, column: &[u32]) -> Option<NullBuffer> {
        let valid = BooleanBuffer::collect_bool(column.len(), |row| !self.doc.is_null(column[row]));
        Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0)
    }
}

fn mismatch(kind: &str, data_type: &DataType) -> Halt {
    Halt::Arrow(ArrowError::SchemaError(format!("a {kind} stands in a column of type {data_type}")))
}
