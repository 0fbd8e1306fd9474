//! The types of columns: what a stream's records hold, and what a table's files hold.

mod arrow_types;
mod sibling;
mod widen;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use sibling::{is_sibling, sibling_name};
pub use widen::{Widening, widen};

/// The type of a column or of a part of one. Everything that can stand in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Only nulls were seen: the column waits and is not written.
    Null,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float32,
    Float64,
    /// Exact decimal: precision 1 to 38, scale 0 to precision.
    Decimal {
        precision: u8,
        scale: i8,
    },
    Text,
    /// The source's own JSON text of a value, as a text column: what no narrower type can hold.
    Json,
    /// An instant, UTC, microseconds.
    Timestamp,
    /// A wall-clock time without a zone, microseconds; only steps make it.
    LocalTimestamp,
    Date,
    /// Time of day, nanoseconds; only steps make it.
    Time,
    List(Box<Field>),
    Struct(Vec<Field>),
}

/// A named, nullable part of a table or struct. Every field is nullable: an API promises nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Stable across records of a dataset's log; 0 until the sink gives one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub id: u32,
    pub name: String,
    #[serde(rename = "type")]
    pub column_type: ColumnType,
}

fn is_zero(id: &u32) -> bool {
    *id == 0
}

impl Field {
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        Field { id: 0, name: name.into(), column_type }
    }
}

/// The fields of a stream's records or of a table, in order of first appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableSchema {
    pub fields: Vec<Field>,
}

impl TableSchema {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The largest field id in use, nested fields included; 0 if none was given yet.
    pub fn last_id(&self) -> u32 {
        fn last(fields: &[Field]) -> u32 {
            fields.iter().map(|field| field.id.max(last_in(&field.column_type))).max().unwrap_or(0)
        }
        fn last_in(column_type: &ColumnType) -> u32 {
            match column_type {
                ColumnType::List(item) => item.id.max(last_in(&item.column_type)),
                ColumnType::Struct(fields) => last(fields),
                _ => 0,
            }
        }
        last(&self.fields)
    }
}

impl ColumnType {
    /// Lists and structs that stand in each other, at most; 0 for a scalar.
    pub fn levels(&self) -> usize {
        match self {
            ColumnType::List(item) => 1 + item.column_type.levels(),
            ColumnType::Struct(fields) => 1 + fields.iter().map(|field| field.column_type.levels()).max().unwrap_or(0),
            _ => 0,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            ColumnType::List(item) => write!(f, "list({})", item.column_type),
            ColumnType::Struct(fields) => {
                f.write_str("struct(")?;
                for (index, field) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} {}", field.name, field.column_type)?;
                }
                f.write_str(")")
            }
            ColumnType::Null => f.write_str("null"),
            ColumnType::Boolean => f.write_str("boolean"),
            ColumnType::Int8 => f.write_str("int8"),
            ColumnType::Int16 => f.write_str("int16"),
            ColumnType::Int32 => f.write_str("int32"),
            ColumnType::Int64 => f.write_str("int64"),
            ColumnType::Uint8 => f.write_str("uint8"),
            ColumnType::Uint16 => f.write_str("uint16"),
            ColumnType::Uint32 => f.write_str("uint32"),
            ColumnType::Uint64 => f.write_str("uint64"),
            ColumnType::Float32 => f.write_str("float32"),
            ColumnType::Float64 => f.write_str("float64"),
            ColumnType::Text => f.write_str("text"),
            ColumnType::Json => f.write_str("json"),
            ColumnType::Timestamp => f.write_str("timestamp"),
            ColumnType::LocalTimestamp => f.write_str("local_timestamp"),
            ColumnType::Date => f.write_str("date"),
            ColumnType::Time => f.write_str("time"),
        }
    }
}
