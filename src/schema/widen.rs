//! Which types can become which: one lattice for the pages of a slice and one rule against committed files.

use super::{ColumnType, Field};

/// How far a type may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Widening {
    /// Nothing is committed yet: any two types have a common one, JSON text at the top.
    Free,
    /// Files are committed: only what every reader can read together - null to anything, a narrower to a wider integer, a decimal to
    /// one of its scale, a new nullable field.
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
        // Of computed ones with all digits that there are; what does not fit is told by whoever writes it.
        (Decimal { scale, .. }, Decimal { scale: other, .. }) if rule == Widening::Committed && scale == other => {
            Some(known.clone())
        }
        _ if rule == Widening::Committed => None,
        // Uint64 is not among them: text holds it, and a float would bend most of its values.
        (Float64, other) | (other, Float64) if fits_int64(other) => Some(Float64),
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

fn fits_int64(column_type: &ColumnType) -> bool {
    integer_rank(column_type).is_some_and(|rank| rank != (false, 64))
}

/// The smallest integer type that holds both; there is none above both a signed type and Uint64.
fn wider_integer(known: &ColumnType, found: &ColumnType, rule: Widening) -> Option<ColumnType> {
    let ((known_signed, known_bits), (found_signed, found_bits)) = (integer_rank(known)?, integer_rank(found)?);
    if known_signed == found_signed {
        return Some(if found_bits > known_bits { found.clone() } else { known.clone() });
    }
    let (signed_bits, unsigned_bits) = if known_signed { (known_bits, found_bits) } else { (found_bits, known_bits) };
    match signed_bits.max(unsigned_bits.saturating_mul(2)) {
        16 => Some(ColumnType::Int16),
        32 => Some(ColumnType::Int32),
        64 => Some(ColumnType::Int64),
        _ if rule == Widening::Free => Some(ColumnType::Text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn types() -> impl Strategy<Value = ColumnType> {
        use ColumnType::*;
        let leaf = prop::sample::select(vec![
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
            Text,
            Json,
            Timestamp,
            Date,
            Decimal { precision: 10, scale: 2 },
        ]);
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|item| List(Box::new(Field::new("item", item)))),
                // Names in one order, so that types can be compared without looking at the order of fields.
                prop::collection::btree_map("[ab]", inner, 1..3)
                    .prop_map(|fields| Struct(fields.into_iter().map(|(name, inner)| Field::new(name, inner)).collect())),
            ]
        })
    }

    fn sorted(column_type: ColumnType) -> ColumnType {
        match column_type {
            ColumnType::Struct(mut fields) => {
                fields.sort_by(|one, other| one.name.cmp(&other.name));
                fields.iter_mut().for_each(|field| field.column_type = sorted(field.column_type.clone()));
                ColumnType::Struct(fields)
            }
            ColumnType::List(item) => ColumnType::List(Box::new(Field { column_type: sorted(item.column_type), ..*item })),
            other => other,
        }
    }

    fn free(one: &ColumnType, other: &ColumnType) -> ColumnType {
        sorted(widen(one, other, Widening::Free).unwrap())
    }

    proptest! {
        #[test]
        fn free_widening_knows_no_order(a in types(), b in types(), c in types()) {
            prop_assert_eq!(free(&a, &b), free(&b, &a));
            prop_assert_eq!(free(&free(&a, &b), &c), free(&a, &free(&b, &c)));
            prop_assert_eq!(free(&a, &a), sorted(a));
        }

        #[test]
        fn what_is_committed_moves_only_as_far_as_the_free_rule(a in types(), b in types()) {
            if let Some(wider) = widen(&a, &b, Widening::Committed) {
                prop_assert_eq!(sorted(wider.clone()), free(&a, &b));
                prop_assert_eq!(widen(&wider, &b, Widening::Committed), Some(wider.clone()), "it holds both");
                prop_assert_eq!(widen(&wider, &a, Widening::Committed), Some(wider));
            }
        }
    }

    #[test]
    fn committed_columns_take_only_what_all_readers_read() {
        use ColumnType::*;
        let committed = |known, found| widen(&known, &found, Widening::Committed);
        assert_eq!(committed(Null, Text), Some(Text));
        assert_eq!(committed(Int32, Int64), Some(Int64));
        assert_eq!(committed(Int64, Int8), Some(Int64));
        assert_eq!(committed(Int8, Uint8), Some(Int16));
        // What was computed with decimals has 38 digits, and stands in the column that was there.
        let decimal = |precision, scale| Decimal { precision, scale };
        assert_eq!(committed(decimal(12, 2), decimal(38, 2)), Some(decimal(12, 2)));
        assert_eq!(committed(decimal(38, 2), decimal(12, 2)), Some(decimal(38, 2)));
        assert_eq!(committed(decimal(12, 2), decimal(12, 3)), None);
        for (known, found) in
            [(Int64, Float64), (Float64, Int64), (Text, Int64), (Date, Timestamp), (Int64, Uint64), (Json, Text)]
        {
            assert_eq!(widen(&known, &found, Widening::Committed), None, "{known} {found}");
        }
    }
}
