//! Where the values of a column stand that are not of its type: in a column beside it, its sibling.

use super::ColumnType;

/// `amount__float64` for the numbers of `amount`. Where the source has a field of that name, underscores are put behind it.
pub fn sibling_name(base: &str, column_type: &ColumnType) -> String {
    format!("{base}__{column_type}")
}

/// Whether a column of this name and type is a sibling of another one.
pub fn is_sibling(base: &str, name: &str, column_type: &ColumnType) -> bool {
    // Nothing is made for the many columns that do not even begin so.
    name.strip_prefix(base).is_some_and(|rest| rest.starts_with("__"))
        && name.strip_prefix(&sibling_name(base, column_type)).is_some_and(|rest| rest.bytes().all(|byte| byte == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sibling_has_its_columns_name_and_its_own_type() {
        let of_amount = |name: &str, column_type| is_sibling("amount", name, &column_type);
        assert!(of_amount("amount__float64", ColumnType::Float64));
        assert!(of_amount("amount__float64__", ColumnType::Float64));
        assert!(of_amount("amount__decimal(10,2)", ColumnType::Decimal { precision: 10, scale: 2 }));
        for (name, column_type) in [
            ("amount", ColumnType::Float64),
            ("amount__float64", ColumnType::Text),
            ("amount__float64x", ColumnType::Float64),
            ("amount_float64", ColumnType::Float64),
            ("total__float64", ColumnType::Float64),
        ] {
            assert!(!of_amount(name, column_type.clone()), "{name} {column_type}");
        }
    }
}
