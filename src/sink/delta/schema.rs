//! A table's columns in Delta's types, and what a Delta table lacks of them.

use delta_kernel::schema::{ArrayType, DataType, PrimitiveType, StructField, StructType};

use crate::config::catalog::{PartitionColumn, PartitionUnit};
use crate::schema::{ColumnType, Field, TableSchema};
use crate::sink::{SinkError, table};

/// Characters that Parquet readers of Delta tables refuse in a column's name.
const REFUSED: [char; 9] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t'];

/// The columns that a Delta table must have for a record's files: those of the rows, our own, and those that stand in the path.
pub(super) fn wanted(schema: &TableSchema, own: &[Field], by: &[PartitionColumn]) -> Result<StructType, SinkError> {
    let mut fields = Vec::new();
    for field in table::written(schema).fields.iter().chain(own) {
        fields.push(to_delta(field)?);
    }
    for column in by {
        let key = column.key();
        let stands = fields.iter().any(|field: &StructField| *field.name() == key);
        match column.unit {
            PartitionUnit::Value if stands => {}
            PartitionUnit::Value => {
                return Err(SinkError::data(format!(
                    "the partition column `{key}` was null in every row, so its type is not known: declare it under [columns]"
                )));
            }
            _ if stands => {
                return Err(SinkError::data(format!(
                    "the rows have a column `{key}`, as the partitions of `{}` are called: rename it in a step",
                    column.column
                )));
            }
            _ => fields.push(StructField::nullable(key, DataType::STRING)),
        }
    }
    one_of_each(&fields)?;
    StructType::try_new(fields).map_err(|error| SinkError::data(format!("the columns make no Delta table: {error}")))
}

/// Delta tells columns apart by their letters alone, whatever their case.
fn one_of_each(fields: &[StructField]) -> Result<(), SinkError> {
    let mut seen = std::collections::HashMap::new();
    for field in fields {
        if let Some(other) = seen.insert(field.name().to_lowercase(), field.name()) {
            return Err(SinkError::data(format!(
                "the columns `{other}` and `{}` differ in case only, which Delta takes for one: rename one in a step",
                field.name()
            )));
        }
    }
    Ok(())
}

fn to_delta(field: &Field) -> Result<StructField, SinkError> {
    if field.name.is_empty() || field.name.contains(REFUSED) || field.name.contains('=') {
        return Err(SinkError::data(format!(
            "the column `{}` has a name that Delta refuses (spaces, `=` and ,;{{}}()): rename it in a step",
            field.name
        )));
    }
    Ok(StructField::nullable(&field.name, delta_type(&field.name, &field.column_type)?))
}

fn delta_type(name: &str, column_type: &ColumnType) -> Result<DataType, SinkError> {
    let refused = |instead: &str| {
        Err(SinkError::data(format!("the column `{name}` is {column_type}, which Delta has not: cast it to {instead} in a step")))
    };
    Ok(match column_type {
        ColumnType::Boolean => DataType::BOOLEAN,
        ColumnType::Int8 => DataType::BYTE,
        ColumnType::Int16 => DataType::SHORT,
        ColumnType::Int32 => DataType::INTEGER,
        ColumnType::Int64 => DataType::LONG,
        ColumnType::Float32 => DataType::FLOAT,
        ColumnType::Float64 => DataType::DOUBLE,
        ColumnType::Decimal { precision, scale } => {
            let scale = u8::try_from(*scale).map_err(|_| SinkError::bug("a decimal of a negative scale"))?;
            DataType::decimal(*precision, scale).map_err(|error| SinkError::bug(error.to_string()))?
        }
        ColumnType::Text | ColumnType::Json => DataType::STRING,
        ColumnType::Timestamp => DataType::TIMESTAMP,
        ColumnType::Date => DataType::DATE,
        ColumnType::List(item) => ArrayType::new(delta_type(name, &item.column_type)?, true).into(),
        ColumnType::Struct(fields) => {
            let fields = fields.iter().map(to_delta).collect::<Result<Vec<_>, _>>()?;
            one_of_each(&fields)?;
            let inner = StructType::try_new(fields).map_err(|error| SinkError::data(error.to_string()))?;
            inner.into()
        }
        ColumnType::LocalTimestamp => return refused("timestamp or text"),
        ColumnType::Time => return refused("text"),
        ColumnType::Uint64 => return refused("decimal or text"),
        ColumnType::Uint8 | ColumnType::Uint16 | ColumnType::Uint32 => return refused("int64"),
        ColumnType::Null => return Err(SinkError::bug(format!("the column `{name}` has no type yet"))),
    })
}

/// A column that a Delta table lacks, and the path of the struct it belongs to.
#[derive(Debug, PartialEq)]
pub(super) struct Addition {
    pub parent: Vec<String>,
    pub field: StructField,
}

/// What must be added to `there` so that it holds `wanted`. Columns are added and nothing else: a table of another type is refused.
pub(super) fn additions(there: &StructType, wanted: &StructType) -> Result<Vec<Addition>, SinkError> {
    let mut found = Vec::new();
    compare_fields(&mut Vec::new(), there, wanted, &mut found)?;
    Ok(found)
}

fn compare_fields(
    path: &mut Vec<String>,
    there: &StructType,
    wanted: &StructType,
    found: &mut Vec<Addition>,
) -> Result<(), SinkError> {
    for field in wanted.fields() {
        match there.field(field.name()) {
            None => found.push(Addition { parent: path.clone(), field: field.clone() }),
            Some(known) => {
                path.push(field.name().clone());
                compare(path, known.data_type(), field.data_type(), found)?;
                path.pop();
            }
        }
    }
    Ok(())
}

fn compare(path: &mut Vec<String>, there: &DataType, wanted: &DataType, found: &mut Vec<Addition>) -> Result<(), SinkError> {
    match (there, wanted) {
        (DataType::Struct(there), DataType::Struct(wanted)) => compare_fields(path, there, wanted, found),
        (DataType::Array(there), DataType::Array(wanted)) => {
            path.push("element".to_owned());
            compare(path, there.element_type(), wanted.element_type(), found)?;
            path.pop();
            Ok(())
        }
        (there, wanted) if there == wanted => Ok(()),
        (there, wanted) => Err(SinkError::data(format!(
            "the column `{}` is {there} in the Delta table and {wanted} in these rows, and a Delta table's column keeps its type: give it its type back with a cast step, or load into another table",
            path.join(".")
        ))),
    }
}

/// The type of a partition's values, which stand in the log as text.
pub(super) fn partition_type(schema: &StructType, key: &str) -> Option<PrimitiveType> {
    match schema.field(key)?.data_type() {
        DataType::Primitive(primitive) => Some(primitive.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fields: &[(&str, ColumnType)]) -> TableSchema {
        TableSchema { fields: fields.iter().map(|(name, column_type)| Field::new(*name, column_type.clone())).collect() }
    }

    fn by(column: &str, unit: PartitionUnit) -> PartitionColumn {
        PartitionColumn { column: column.to_owned(), unit }
    }

    #[test]
    fn partitions_cut_by_time_are_a_text_column_of_the_table() {
        let schema = table(&[("at", ColumnType::Timestamp), ("kind", ColumnType::Text), ("later", ColumnType::Null)]);
        let own = [Field::new("_hw_commit", ColumnType::Text)];
        let columns = [by("at", PartitionUnit::Month), by("kind", PartitionUnit::Value)];
        let delta = wanted(&schema, &own, &columns).unwrap();
        let names: Vec<&str> = delta.fields().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["at", "kind", "_hw_commit", "at_month"]);
        let error = wanted(&schema, &own, &[by("later", PartitionUnit::Value)]).unwrap_err();
        assert!(error.to_string().contains("`later` was null in every row"), "{error}");
    }

    #[test]
    fn what_delta_cannot_hold_is_refused_with_a_way_out() {
        for (name, column_type, says) in [
            ("a b", ColumnType::Text, "rename it in a step"),
            ("n", ColumnType::Uint32, "cast it to int64 in a step"),
            ("t", ColumnType::Time, "cast it to text in a step"),
        ] {
            let error = wanted(&table(&[(name, column_type)]), &[], &[]).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        let twins = table(&[("Id", ColumnType::Int64), ("id", ColumnType::Int64)]);
        assert!(wanted(&twins, &[], &[]).unwrap_err().to_string().contains("differ in case only"));
    }

    #[test]
    fn columns_are_added_at_every_depth_and_types_stay() {
        // C-66
        let item = |fields: &[(&str, ColumnType)]| {
            let inner = ColumnType::Struct(table(fields).fields);
            ColumnType::List(Box::new(Field::new("item", inner)))
        };
        let before = wanted(&table(&[("lines", item(&[("sku", ColumnType::Text)]))]), &[], &[]).unwrap();
        let lines = item(&[("sku", ColumnType::Text), ("count", ColumnType::Int64)]);
        let after = wanted(&table(&[("lines", lines), ("note", ColumnType::Text)]), &[], &[]).unwrap();
        let found = additions(&before, &after).unwrap();
        assert_eq!(
            found,
            [
                Addition {
                    parent: vec!["lines".to_owned(), "element".to_owned()],
                    field: StructField::nullable("count", DataType::LONG)
                },
                Addition { parent: Vec::new(), field: StructField::nullable("note", DataType::STRING) },
            ]
        );
        let other = wanted(&table(&[("lines", ColumnType::Text)]), &[], &[]).unwrap();
        let error = additions(&before, &other).unwrap_err();
        assert!(error.to_string().contains("`lines` is"), "{error}");
    }
}
