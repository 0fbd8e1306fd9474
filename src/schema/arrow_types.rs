//! Our column types as Arrow's and back.
//!
//! Text is Utf8View and lists are LargeList: what polars takes and gives without a copy. Instants carry the zone "UTC".

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Fields, Schema, SchemaRef, TimeUnit};

use super::{ColumnType, Field, TableSchema};

/// The metadata key that tells a column of JSON text from other text.
const JSON_MARK: &str = "highwater.json";
/// The metadata key from which the Parquet writer takes a field's id.
const FIELD_ID: &str = "PARQUET:field_id";

impl TableSchema {
    /// The Arrow schema of a batch of this table. Columns that were always null are part of it, with Arrow's Null type.
    pub fn to_arrow(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields.iter().map(Field::to_arrow).collect::<Fields>()))
    }

    /// Reads an Arrow schema; the error names a column whose type no file of ours can hold, and that type.
    pub fn from_arrow(schema: &Schema) -> Result<Self, String> {
        let fields = schema.fields().iter().map(|field| Field::from_arrow(field)).collect::<Result<_, _>>()?;
        Ok(TableSchema { fields })
    }
}

impl Field {
    pub fn to_arrow(&self) -> ArrowField {
        let mut metadata = std::collections::HashMap::new();
        if self.id != 0 {
            metadata.insert(FIELD_ID.to_owned(), self.id.to_string());
        }
        if self.column_type == ColumnType::Json {
            metadata.insert(JSON_MARK.to_owned(), "1".to_owned());
        }
        ArrowField::new(&self.name, self.column_type.to_arrow(), true).with_metadata(metadata)
    }

    pub fn from_arrow(field: &ArrowField) -> Result<Self, String> {
        let column_type = match ColumnType::from_arrow(field.data_type()) {
            Ok(ColumnType::Text) if field.metadata().contains_key(JSON_MARK) => ColumnType::Json,
            Ok(column_type) => column_type,
            Err(found) => return Err(format!("column `{}` has the type `{found}`, which no file can hold", field.name())),
        };
        let id = field.metadata().get(FIELD_ID).and_then(|id| id.parse().ok()).unwrap_or(0);
        Ok(Field { id, name: field.name().clone(), column_type })
    }
}

impl ColumnType {
    pub fn to_arrow(&self) -> DataType {
        match self {
            ColumnType::Null => DataType::Null,
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::Int8 => DataType::Int8,
            ColumnType::Int16 => DataType::Int16,
            ColumnType::Int32 => DataType::Int32,
            ColumnType::Int64 => DataType::Int64,
            ColumnType::Uint8 => DataType::UInt8,
            ColumnType::Uint16 => DataType::UInt16,
            ColumnType::Uint32 => DataType::UInt32,
            ColumnType::Uint64 => DataType::UInt64,
            ColumnType::Float32 => DataType::Float32,
            ColumnType::Float64 => DataType::Float64,
            ColumnType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            ColumnType::Text | ColumnType::Json => DataType::Utf8View,
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ColumnType::LocalTimestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            ColumnType::Date => DataType::Date32,
            ColumnType::Time => DataType::Time64(TimeUnit::Nanosecond),
            ColumnType::List(item) => DataType::LargeList(Arc::new(item.to_arrow())),
            ColumnType::Struct(fields) => DataType::Struct(fields.iter().map(Field::to_arrow).collect()),
        }
    }

    /// The error is the Arrow type that has no counterpart.
    pub fn from_arrow(data_type: &DataType) -> Result<Self, DataType> {
        Ok(match data_type {
            DataType::Null => ColumnType::Null,
            DataType::Boolean => ColumnType::Boolean,
            DataType::Int8 => ColumnType::Int8,
            DataType::Int16 => ColumnType::Int16,
            DataType::Int32 => ColumnType::Int32,
            DataType::Int64 => ColumnType::Int64,
            DataType::UInt8 => ColumnType::Uint8,
            DataType::UInt16 => ColumnType::Uint16,
            DataType::UInt32 => ColumnType::Uint32,
            DataType::UInt64 => ColumnType::Uint64,
            DataType::Float32 => ColumnType::Float32,
            DataType::Float64 => ColumnType::Float64,
            DataType::Decimal128(precision, scale) => ColumnType::Decimal { precision: *precision, scale: *scale },
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::Text,
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" || &**zone == "+00:00" => {
                ColumnType::Timestamp
            }
            DataType::Timestamp(TimeUnit::Microsecond, None) => ColumnType::LocalTimestamp,
            DataType::Date32 => ColumnType::Date,
            DataType::Time64(TimeUnit::Nanosecond) => ColumnType::Time,
            DataType::List(item) | DataType::LargeList(item) => {
                ColumnType::List(Box::new(Field::from_arrow(item).map_err(|_| data_type.clone())?))
            }
            DataType::Struct(fields) => {
                let fields = fields.iter().map(|field| Field::from_arrow(field)).collect::<Result<_, _>>();
                ColumnType::Struct(fields.map_err(|_| data_type.clone())?)
            }
            other => return Err(other.clone()),
        })
    }
}
