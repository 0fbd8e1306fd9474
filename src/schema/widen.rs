//! Which types can become which: one lattice for the pages of a slice and one rule against committed files.

use super::{ColumnType, Field};

/// How far a type may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Widening {
    /// Nothing is committed yet: any two types have a common one, JSON text at the top.
    Free,
    /// Files are committed: only what every reader can read together - null to anything, a narrower to a wider integer, a new
    /// nullable field.
    Committed,
}

/// The narrowest type that holds the values of both, or `None` where `rule` has none.
///
/// `Widening::Free` is commutative and associative, so the order of pages never changes the result (fields keep the order of
/// first appearance). Exactness of single values (a whole number that no float holds) is the decoder's to see: it asks for
/// `Text` itself.
pub fn widen(known: &ColumnType, found: &ColumnType, rule: Widening) -> Option<ColumnType> {
    use ColumnType::*;
    if known == found {
        return Some(known.clone());
    }
    match (known, found) {
        (Null, other) | (other, Null) => Some(other.clone()),
        (Struct(known), Struct(found)) => merge_fields(known, found, rule).map(Struct),
        (List(known), List(found)) => {
            let item = widen(&known.column_type, &found.column_type, rule)?;
            Some(List(Box::new(Field { id: known.id, name: known.name.clone(), column_type: item })))
        }
        (known, found) if integer_rank(known).is_some() && integer_rank(found).is_some() => wider_integer(known, found, rule),
        _ if rule == Widening::Committed => None,
        (Int64, Float64) | (Float64, Int64) => Some(Float64),
        (known, found) if is_scalar(known) && is_scalar(found) => Some(Text),
        _ => Some(Json),
    }
}

fn merge_fields(known: &[Field], found: &[Field], rule: Widening) -> Option<Vec<Field>> {
    let mut merged = known.to_vec();
    for field in found {
        match merged.iter_mut().find(|other| other.name == field.name) {
            Some(other) => other.column_type = widen(&other.column_type, &field.column_type, rule)?,
            None => merged.push(field.clone()),
        }
    }
    Some(merged)
}

fn is_scalar(column_type: &ColumnType) -> bool {
    !matches!(column_type, ColumnType::Json | ColumnType::List(_) | ColumnType::Struct(_))
}

fn integer_rank(column_type: &ColumnType) -> Option<(bool, u8)> {
    Some(match column_type {
        ColumnType::Int8 => (true, 8),
        ColumnType::Int16 => (true, 16),
        ColumnType::Int32 => (true, 32),
        ColumnType::Int64 => (true, 64),
        ColumnType::Uint8 => (false, 8),
        ColumnType::Uint16 => (false, 16),
        ColumnType::Uint32 => (false, 32),
        ColumnType::Uint64 => (false, 64),
        _ => return None,
    })
}

fn wider_integer(known: &ColumnType, found: &ColumnType, rule: Widening) -> Option<ColumnType> {
    let ((known_signed, known_bits), (found_signed, found_bits)) = (integer_rank(known)?, integer_rank(found)?);
    if known_signed == found_signed {
        return match rule {
            Widening::Committed if found_bits < known_bits => Some(known.clone()),
            _ => Some(if found_bits > known_bits { found.clone() } else { known.clone() }),
        };
    }
    // A signed type holds an unsigned one of fewer bits.
    let (signed, signed_bits, unsigned_bits) =
        if known_signed { (known, known_bits, found_bits) } else { (found, found_bits, known_bits) };
    match signed_bits > unsigned_bits {
        true => Some(signed.clone()),
        false if unsigned_bits < 64 => Some(ColumnType::Int64),
        false if rule == Widening::Free => Some(ColumnType::Text),
        false => None,
    }
}
