//! The tree a decoder starts with: what is committed, and what the user declares over it.

use crate::config::catalog::DeclaredType;
use crate::error::ErrorKind;
use crate::page::{join_path, split_path};
use crate::schema::{ColumnType, TableSchema};

use super::kind::{EpochUnit, Hold, Kind, Object};
use super::{DecodeError, DecodeSpec};

/// Builds the tree of the records' fields. An error of kind `Config` names the declaration that cannot hold.
pub fn plant(spec: &DecodeSpec, committed: Option<&TableSchema>) -> Result<Object, DecodeError> {
    let fields = committed.map_or(&[][..], |schema| &schema.fields);
    let mut root = Object::committed(fields).map_err(|found| {
        DecodeError::new(ErrorKind::Bug, format!("a committed column has a type that no page can fill: `{found}`"))
    })?;
    for (path, declared) in &spec.declared {
        let steps = split_path(path).map_err(|reason| config_error(format!("the declared column is not a path: {reason}")))?;
        declare(&mut root, &steps, declared).map_err(|reason| config_error(format!("the declaration of {reason}: `{path}`")))?;
    }
    Ok(root)
}

fn config_error(message: String) -> DecodeError {
    DecodeError::new(ErrorKind::Config, message)
}

fn declare(root: &mut Object, steps: &[String], declared: &DeclaredType) -> Result<(), String> {
    let Some((last, outer)) = steps.split_last() else { return Err("a column names none".to_owned()) };
    let mut object = root;
    for (depth, step) in outer.iter().enumerate() {
        let place = object.place_or_new(step);
        let node = &mut object.nodes[place];
        if matches!(node.kind, Kind::Null) {
            node.kind = Kind::Object(Object::default());
        }
        node.hold = Hold::Declared;
        let found = node.kind.column_type();
        object = node
            .kind
            .object()
            .ok_or_else(|| format!("a field inside of `{}`, which is {found}, cannot hold", join_path(&outer[..=depth])))?;
    }
    let place = object.place_or_new(last);
    let node = &mut object.nodes[place];
    let (kind, column_type) = declared_kind(declared)?;
    let found = node.kind.column_type();
    let is_narrower_integer = column_type == ColumnType::Int64 && matches!(node.kind, Kind::Int { .. });
    if !matches!(node.kind, Kind::Null) && found != column_type && !is_narrower_integer {
        return Err(format!("{column_type} does not go with {found}, which the column has"));
    }
    node.kind = kind;
    node.hold = Hold::Declared;
    node.siblings.clear();
    Ok(())
}

pub fn declared_kind(declared: &DeclaredType) -> Result<(Kind, ColumnType), String> {
    let kind = match declared {
        DeclaredType::EpochS => Kind::Epoch(EpochUnit::Seconds),
        DeclaredType::EpochMs => Kind::Epoch(EpochUnit::Millis),
        DeclaredType::EpochUs => Kind::Epoch(EpochUnit::Micros),
        DeclaredType::Column(column_type) => match column_type {
            ColumnType::Boolean => Kind::Boolean,
            ColumnType::Int64 => Kind::Int { wide: true },
            ColumnType::Float64 => Kind::Float,
            ColumnType::Decimal { precision: precision @ 1..=38, scale } if (0..=*precision as i8).contains(scale) => {
                Kind::Decimal { precision: *precision, scale: *scale }
            }
            ColumnType::Text => Kind::Text,
            ColumnType::Json => Kind::Json,
            ColumnType::Timestamp => Kind::Timestamp,
            ColumnType::Date => Kind::Date,
            other => return Err(format!("{other} is not a type a field can be declared as")),
        },
    };
    let column_type = kind.column_type();
    Ok((kind, column_type))
}
