//! A column that grows by a few rows at a time.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, LargeListArray, NullArray,
    NullBufferBuilder, StringViewBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::error::ArrowError;

use super::build::Halt;
use super::kind::{EpochUnit, Hold, Kind, Object};
use super::split::check_cells;

pub struct Column<'t> {
    pub hold: Hold,
    pub form: Form<'t>,
}

/// What a kind's values are gathered in.
pub enum Form<'t> {
    /// How many there are.
    Null(usize),
    Boolean(BooleanBuilder),
    Int {
        wide: bool,
        values: Int64Builder,
    },
    Float(Float64Builder),
    Decimal {
        precision: u8,
        scale: i8,
        values: Decimal128Builder,
    },
    Epoch(EpochUnit, TimestampMicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Text(StringViewBuilder),
    Json(StringViewBuilder),
    /// Objects without a field, as JSON.
    Empty(StringViewBuilder),
    List {
        field: &'t FieldRef,
        item: Box<Column<'t>>,
        lengths: Vec<usize>,
        nulls: NullBufferBuilder,
    },
    Object {
        object: &'t Object,
        fields: &'t Fields,
        columns: Vec<Column<'t>>,
        nulls: NullBufferBuilder,
    },
}

impl<'t> Column<'t> {
    /// The columns of an object's fields, and behind them those of values that fit none; `fields` are their types.
    pub fn of_members(object: &'t Object, fields: &'t Fields, rows: usize) -> Result<Vec<Column<'t>>, Halt> {
        check_cells(object, rows)?;
        let own = object.nodes.iter().map(|node| (&node.kind, node.hold));
        let misfits = object.with_misfits().map(|place| (&object.nodes[place].misfits, Hold::Open));
        own.chain(misfits).zip(fields).map(|((kind, hold), field)| Column::of(kind, hold, field.data_type(), rows)).collect()
    }

    /// `rows` is how many will come, as far as is known.
    fn of(kind: &'t Kind, hold: Hold, data_type: &'t DataType, rows: usize) -> Result<Column<'t>, Halt> {
        let instants = || TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC");
        let texts = || StringViewBuilder::with_capacity(rows);
        let form = match kind {
            Kind::Null => Form::Null(0),
            Kind::Boolean => Form::Boolean(BooleanBuilder::with_capacity(rows)),
            Kind::Int { wide } => Form::Int { wide: *wide, values: Int64Builder::with_capacity(rows) },
            Kind::Float => Form::Float(Float64Builder::with_capacity(rows)),
            Kind::Decimal { precision, scale } => {
                let values = Decimal128Builder::with_capacity(rows).with_precision_and_scale(*precision, *scale)?;
                Form::Decimal { precision: *precision, scale: *scale, values }
            }
            Kind::Epoch(unit) => Form::Epoch(*unit, instants()),
            Kind::Timestamp => Form::Timestamp(instants()),
            Kind::Date => Form::Date(Date32Builder::with_capacity(rows)),
            Kind::Text => Form::Text(texts()),
            Kind::Json => Form::Json(texts()),
            Kind::List(item) => {
                let DataType::LargeList(field) = data_type else { return Err(mismatch("list", data_type)) };
                let item = Box::new(Column::of(&item.kind, item.hold, field.data_type(), 0)?);
                Form::List { field, item, lengths: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) }
            }
            Kind::Object(object) if object.nodes.is_empty() => Form::Empty(texts()),
            Kind::Object(object) => {
                let DataType::Struct(fields) = data_type else { return Err(mismatch("struct", data_type)) };
                let columns = Column::of_members(object, fields, rows)?;
                Form::Object { object, fields, columns, nulls: NullBufferBuilder::new(rows) }
            }
        };
        Ok(Column { hold, form })
    }

    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self.form {
            Form::Null(rows) => Arc::new(NullArray::new(rows)),
            Form::Boolean(mut values) => Arc::new(values.finish()),
            Form::Int { mut values, .. } => Arc::new(values.finish()),
            Form::Float(mut values) => Arc::new(values.finish()),
            Form::Decimal { mut values, .. } => Arc::new(values.finish()),
            Form::Epoch(_, mut values) | Form::Timestamp(mut values) => Arc::new(values.finish()),
            Form::Date(mut values) => Arc::new(values.finish()),
            Form::Text(mut values) | Form::Json(mut values) | Form::Empty(mut values) => Arc::new(values.finish()),
            Form::List { field, item, lengths, mut nulls } => {
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(LargeListArray::try_new(Arc::clone(field), offsets, item.finish()?, nulls.finish())?)
            }
            Form::Object { fields, columns, mut nulls, .. } => {
                let arrays = columns.into_iter().map(Column::finish).collect::<Result<_, _>>()?;
                Arc::new(StructArray::try_new(fields.clone(), arrays, nulls.finish())?)
            }
        })
    }
}

fn mismatch(kind: &str, data_type: &DataType) -> Halt {
    ArrowError::SchemaError(format!("a {kind} stands in a column of type {data_type}")).into()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;
    use crate::decode::split::CELLS_MAX;

    /// An object with an object in it that has two fields.
    fn nested() -> (Object, Fields) {
        let (mut inner, mut outer) = (Object::default(), Object::default());
        for name in ["a", "b"] {
            let place = inner.place_or_new(name);
            inner.nodes[place].kind = Kind::Float;
        }
        let types: Fields = ["a", "b"].map(|name| Field::new(name, DataType::Float64, true)).to_vec().into();
        let place = outer.place_or_new("inner");
        outer.nodes[place].kind = Kind::Object(inner);
        (outer, vec![Field::new("inner", DataType::Struct(types), true)].into())
    }

    #[test]
    fn what_an_object_in_each_row_would_take_is_bounded_before_it_is_taken() {
        let (object, fields) = nested();
        assert!(Column::of_members(&object, &fields, 10).is_ok());
        assert!(matches!(Column::of_members(&object, &fields, CELLS_MAX), Err(Halt::TooLarge)));
    }
}
